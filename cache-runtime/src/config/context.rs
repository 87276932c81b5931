//! Settings in use: a [`Config`] with its clock and its opened backends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use log::Level;

use super::Config;
use crate::backend::connected::Connected;
use crate::common::clock::Clock;
use crate::common::report::report;
use crate::common::sync::lock;
use crate::error::Error;

pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    /// By alias, or by URL where memory stands in for a server.
    backends: Mutex<HashMap<String, Result<Arc<Connected>, Error>>>,
}

impl Context {
    pub(crate) fn new(config: Config, clock: Clock) -> Self {
        Self { config, clock, backends: Mutex::default() }
    }

    /// The same settings in a child of `fork`.
    pub(crate) fn in_child(&self) -> Self {
        let backends = self.backends.try_lock().map_or_else(|_| HashMap::new(), |backends| backends.clone());
        Self { backends: Mutex::new(backends), ..Self::new(self.config.clone(), self.clock.clone()) }
    }

    /// The backend named `alias`, unless a setting that concerns all backends is wrong.
    pub(crate) fn connected(&self, alias: &str) -> Result<Arc<Connected>, Error> {
        match self.config.problems().next() {
            Some(problem) => Err(problem.clone()),
            None => self.open(alias),
        }
    }

    /// The backend named `alias`. It is opened once, and an error in its settings is permanent.
    fn open(&self, alias: &str) -> Result<Arc<Connected>, Error> {
        self.open_once(alias, || self.config.open(alias, &self.clock))
    }

    /// The backend at `url`. Memory in a server's stead is opened once, because all that name a server share it.
    pub(crate) fn open_url(&self, url: &str) -> Result<Arc<Connected>, Error> {
        match self.config.replaces_server(url) {
            true => self.open_once(url, || self.config.open_url(url, &self.clock)),
            false => self.config.open_url(url, &self.clock).map(Arc::new),
        }
    }

    fn open_once(
        &self,
        name: &str,
        open: impl FnOnce() -> Result<Connected, Error>,
    ) -> Result<Arc<Connected>, Error> {
        let mut backends = lock(&self.backends);
        if let Some(known) = backends.get(name) {
            return known.clone();
        }
        let opened = open().map(Arc::new);
        backends.insert(name.to_owned(), opened.clone());
        opened
    }

    /// Everything that is wrong with the settings. Servers are asked, so that a wrong password shows; a server that is down
    /// is not an error in the settings and is only logged.
    pub(crate) fn problems(&self) -> Vec<Error> {
        let mut problems: Vec<Error> = self.config.problems().cloned().collect();
        for alias in self.config.aliases() {
            if let Some(message) = self.config.foreign_variable(&alias) {
                log::warn!("{message}");
                continue;
            }
            match self.open(&alias).and_then(|connected| connected.check()) {
                Err(error) if error.is_temporary() => {
                    report(Level::Warn, format_args!("cache backend `{alias}`: {error}"));
                }
                Err(error) => problems.push(error),
                Ok(()) => {}
            }
        }
        problems
    }
}
