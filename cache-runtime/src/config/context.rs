//! Where calls happen: the process's settings with what grew from them, or a test's own.
//!
//! A [`Context`] owns connected backends and the state of every function used in it. There is one
//! for the process; a [testing scope](crate::testing) has another, current on the threads that
//! entered it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backend::AsyncBackend;
use crate::backend::adapt::Prompt;
use crate::backend::breaker::{Guard, Guarded, Watched};
use crate::common::clock::Clock;
use crate::common::wait::Io;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::function::State;

/// Settings, and everything that lives as long as they do.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    backends: Mutex<HashMap<String, Result<Arc<Connected>, Error>>>,
    /// By the address of the function's site.
    functions: Mutex<HashMap<usize, Arc<State>>>,
}

/// A backend as calls use it; the name says what it is for, a connection is made at first use.
pub(crate) struct Connected {
    pub(crate) blocking: Arc<dyn Prompt>,
    pub(crate) asynchronous: Arc<dyn AsyncBackend>,
    /// None around what can't be down.
    pub(crate) guard: Option<Arc<Guard>>,
    pub(crate) prefix: String,
    pub(crate) default_ttl: Option<Duration>,
    /// The total time a call may spend on this backend.
    pub(crate) timeout: Duration,
}

impl Connected {
    pub(crate) fn of(&self, io: Io) -> &dyn AsyncBackend {
        match io {
            Io::Blocking => &*self.blocking,
            Io::Async => &*self.asynchronous,
        }
    }

    /// The same, not asked while it is down. `place` says where it is, without a password.
    pub(crate) fn guarded(self, place: String) -> Self {
        let (sides, guard) = Guarded::pair(self.blocking, self.asynchronous, place, self.timeout);
        let [blocking, asynchronous] = sides.map(Arc::new);
        Self { blocking, asynchronous, guard: Some(guard), ..self }
    }

    /// As [`AsyncBackend::get`] for async callers, begun at `start`.
    pub(crate) fn get<'a>(
        &'a self,
        key: &'a [u8],
        start: Instant,
        deadline: Instant,
    ) -> Result<Watched<'a, Option<Bytes>>, Error> {
        match &self.guard {
            Some(guard) => guard.get(key, start, deadline),
            None => Ok(Watched::unwatched(self.asynchronous.get(key, deadline))),
        }
    }

    /// The same for blocking callers.
    pub(crate) fn get_now(
        &self,
        key: &[u8],
        start: Instant,
        deadline: Instant,
    ) -> Result<Option<Bytes>, Error> {
        match &self.guard {
            Some(guard) => guard.get_now(key, start, deadline),
            None => self.blocking.get_now(key, deadline),
        }
    }

    /// How many servers keys are spread over; at least one.
    pub(crate) fn servers(&self) -> usize {
        self.guard.as_ref().map_or(1, |guard| guard.servers())
    }

    /// Which of them has `key`.
    pub(crate) fn server_of(&self, key: &[u8]) -> usize {
        self.guard.as_ref().map_or(0, |guard| guard.server_of(key))
    }

    /// Why operations on `key` fail at once now, if they do.
    pub(crate) fn refusal(&self, key: &[u8]) -> Option<Error> {
        self.guard.as_ref()?.refusal(key)
    }

    /// Asks the server for something, so that mistakes show.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.timeout;
        self.blocking.get_now(b"cache-runtime:probe", deadline).map(drop)
    }
}

impl Context {
    pub(crate) fn new(config: Config, clock: Clock) -> Self {
        Self { config, clock, backends: Mutex::default(), functions: Mutex::default() }
    }

    /// The backend named `alias`; opened once, and a mistake in its settings stays.
    pub(crate) fn connected(&self, alias: &str) -> Result<Arc<Connected>, Error> {
        match self.config.first_problem() {
            Some(problem) => Err(problem.clone()),
            None => self.opened(alias),
        }
    }

    /// The same, whatever else is wrong.
    pub(crate) fn opened(&self, alias: &str) -> Result<Arc<Connected>, Error> {
        let mut backends = lock(&self.backends);
        if let Some(known) = backends.get(alias) {
            return known.clone();
        }
        let opened = self.config.open(alias).map(Arc::new);
        backends.insert(alias.to_owned(), opened.clone());
        opened
    }

    /// The state of the function at `site`, made by `make` at first use.
    pub(crate) fn function(&self, site: usize, make: impl FnOnce() -> State) -> Arc<State> {
        if let Some(state) = lock(&self.functions).get(&site) {
            return state.clone();
        }
        // Made without the lock: tracing a type runs the user's `Deserialize`.
        let made = make();
        let mut functions = lock(&self.functions);
        let clash = functions.iter().any(|(other, state)| *other != site && made.clashes_with(state));
        let made = if clash { made.broken_by_clash() } else { made };
        functions.entry(site).or_insert_with(|| Arc::new(made)).clone()
    }

    /// Every function used so far.
    pub(crate) fn functions(&self) -> Vec<Arc<State>> {
        lock(&self.functions).values().cloned().collect()
    }

    /// Makes `config` the process's settings, unless some are in use.
    pub(crate) fn install(config: Config) -> Result<(), Error> {
        let context = Arc::new(Self::new(config, Clock::system()));
        GLOBAL.set(context).map_err(|_| {
            let message = "settings are already in use: install them once, before the first use of a cache";
            Error::new(ErrorKind::Config, message)
        })
    }

    /// The process's context.
    pub(crate) fn global() -> &'static Arc<Self> {
        GLOBAL.get_or_init(|| Arc::new(Self::new(Config::from_env(), Clock::system())))
    }

    /// The context that this thread is in.
    pub(crate) fn current() -> Arc<Self> {
        Self::scoped().unwrap_or_else(|| Self::global().clone())
    }

    /// Whether any thread of the process has been in a scope: a relaxed load, and mostly all that scopes cost.
    #[inline]
    pub(crate) fn has_scopes() -> bool {
        SCOPES_USED.load(Ordering::Relaxed)
    }

    /// The testing scope that this thread is in.
    pub(crate) fn scoped() -> Option<Arc<Self>> {
        if !Self::has_scopes() {
            return None;
        }
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Makes `context` this thread's scope; returns the one before.
    pub(crate) fn enter(context: Option<Arc<Self>>) -> Option<Arc<Self>> {
        SCOPES_USED.store(true, Ordering::Relaxed);
        CURRENT.try_with(|current| current.replace(context)).ok().flatten()
    }
}

static GLOBAL: OnceLock<Arc<Context>> = OnceLock::new();
static SCOPES_USED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Context>>> = const { RefCell::new(None) };
}

/// Locks, also after a panic elsewhere: what is locked here is never left half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything wrong with the settings in use: bad variables, bad URLs, refused passwords and databases, and, of
/// functions called so far, aliases without a URL and values that their codec can't serve. Call it at start-up; it
/// connects to each backend that [`Config`] or a variable names, for at most the timeout of each. A companion makes a
/// function known to it as a call does: `user::stats()` is one that asks no server.
///
/// Two things are no error but logged as warnings: a server that is merely down, because it may come back; and a variable
/// `CACHE_<X>_URL` whose scheme no backend has, because it may be for something else, until a function uses the alias.
///
/// ```
/// fn main() -> Result<(), cache_runtime::CheckError> {
///     cache_runtime::check()?;
///     // …
///     Ok(())
/// }
/// ```
///
/// # Errors
/// One [`CheckError`] that lists every mistake.
pub fn check() -> Result<(), CheckError> {
    let context = Context::current();
    let mut problems = context.config.problems(&context);
    // A setting that concerns all functions keeps each from being cached, and is there already.
    if context.config.first_problem().is_none() {
        problems.extend(context.functions().iter().flat_map(|state| state.misuse()));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(CheckError(problems)),
    }
}

/// All that [`check`] found wrong; `Display` prints a line for each.
#[derive(Clone)]
pub struct CheckError(Vec<Error>);

impl CheckError {
    /// The mistakes, one by one.
    pub fn errors(&self) -> &[Error] {
        &self.0
    }
}

impl std::fmt::Display for CheckError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for CheckError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CheckError {}
