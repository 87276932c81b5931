//! Settings: from the environment and from code, to a [`Context`](context::Context) that calls read.
//!
//! Every error names the variable or the call that it came from. Knows nothing of functions or values.

pub(crate) mod context;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::connected::Connected;
use crate::backend::registry::{KINDS, Kind};
use crate::backend::{AsyncBackend, Backend, Service, registry};
use crate::codec::ChosenCodec;
use crate::common::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::net::url::{Url, parse_duration};

/// The total time that a call may spend on the cache, unless configured.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(250);
/// Longer timeouts are cut to this, because time so far away overflows. For a call it is as good as forever.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

/// The settings of the whole process, made before the first use of a cache.
///
/// Settings in code override the environment. [`from_env`](Config::from_env) starts from the environment and
/// [`new`](Config::new) ignores it. Without [`install`](Config::install) the environment alone decides.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::Config;
///
/// # #[cfg(feature = "redis")]
/// Config::from_env()
///     .url("redis", "redis://127.0.0.1:6379/2?pool=16")
///     .url("sessions", "memory://?capacity=1000")
///     .prefix("shop:")
///     .default_ttl(Duration::from_secs(300))
///     .install()?;
/// # Ok::<(), cache_runtime::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "settings do nothing until `install` is called"]
pub struct Config {
    sources: BTreeMap<String, Source>,
    prefix: String,
    default_ttl: Option<Duration>,
    timeout: Option<Duration>,
    disabled: bool,
    memory_only: bool,
    reads_environment: bool,
    /// Wrong settings that concern all functions, and those that don't concern entries in memory.
    problems: Vec<Error>,
    problems_with_servers: Vec<Error>,
}

/// Where a backend comes from.
#[derive(Clone)]
enum Source {
    /// A URL, and the variable or call that it came from.
    Url { text: String, place: String },
    /// A backend that the user made.
    Service(Arc<dyn Service>),
}

impl Config {
    /// Defaults only: the environment is not read.
    pub fn new() -> Self {
        Self::default()
    }

    /// The settings in the environment. [`install`](Self::install) and [`check`](crate::check) report bad values; those of
    /// `REDIS_URL` and `MEMCACHED_URL`, which other libraries read too, only `check`. White space around a value is ignored,
    /// and an empty value counts as unset.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `CACHE_REDIS_URL`, `REDIS_URL` | Redis; `redis://127.0.0.1:6379` without either |
    /// | `CACHE_MEMCACHED_URL`, `MEMCACHED_URL` | Memcached; `memcached://127.0.0.1:11211` without either |
    /// | `CACHE_<ALIAS>_URL` | any other backend |
    /// | `CACHE_BACKEND=memory` | every remote function uses memory |
    /// | `CACHE_ENABLED=0` | bodies always run |
    /// | `CACHE_PREFIX`, `CACHE_DEFAULT_TTL`, `CACHE_TIMEOUT` | as the methods of the same names |
    pub fn from_env() -> Self {
        let mut config = Self { reads_environment: true, ..Self::default() };
        config.prefix = config.text("CACHE_PREFIX").unwrap_or_default();
        config.default_ttl = config.read("CACHE_DEFAULT_TTL", "a duration like `60` or `5m`", parse_duration);
        config.timeout = config.read("CACHE_TIMEOUT", "a duration like `250ms`", parse_duration);
        config.disabled = !config.read("CACHE_ENABLED", "`1` or `0`", parse_switch).unwrap_or(true);
        config.memory_only = config
            .read("CACHE_BACKEND", "`memory`", |text| (text == "memory").then_some(true))
            .unwrap_or(false);
        config
    }

    fn read<T>(&mut self, name: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = parse(&self.text(name)?);
        if value.is_none() {
            // The value is not shown, because it may be a URL with a password.
            self.add_problem(
                Error::new(ErrorKind::Config, format!("the value is not {what}")).at(name),
                name,
            );
        }
        value
    }

    fn text(&mut self, name: &str) -> Option<String> {
        variable(name).unwrap_or_else(|problem| {
            self.add_problem(problem, name);
            None
        })
    }

    fn add_problem(&mut self, problem: Error, name: &str) {
        match name {
            "CACHE_ENABLED" | "CACHE_DEFAULT_TTL" => self.problems.push(problem),
            _ => self.problems_with_servers.push(problem),
        }
    }

    /// The backend named `alias` is at `url`. The crate's documentation lists the forms.
    pub fn url(mut self, alias: &str, url: &str) -> Self {
        let place = format!("Config::url(\"{alias}\", …)");
        self.sources.insert(alias.to_owned(), Source::Url { text: url.to_owned(), place });
        self
    }

    /// The backend named `alias` is `backend`. Async functions call it on the runtime's blocking threads (feature
    /// `tokio`).
    pub fn backend(mut self, alias: &str, backend: impl Backend) -> Self {
        self.sources.insert(alias.to_owned(), Source::Service(registry::blocking(backend)));
        self
    }

    /// The backend named `alias` is `backend`. Blocking functions call it on a background runtime (feature `tokio`).
    pub fn async_backend(mut self, alias: &str, backend: impl AsyncBackend) -> Self {
        self.sources.insert(alias.to_owned(), Source::Service(registry::asynchronous(backend)));
        self
    }

    /// Text in front of every key on a server, so that applications can share one. End it with a separator, as in `shop:`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// The lifetime of entries whose function has no `ttl`.
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = Some(ttl);
        self
    }

    /// The total time that one call may spend on its backend; 250 ms by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// With `false`, bodies always run: the kill switch. `CACHE_ENABLED=0` in the environment overrides `true` here.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.disabled = self.disabled || !enabled;
        self
    }

    /// Every remote function uses memory, with the same encoding as on its server, and so does a plain cache. For tests.
    pub fn memory_only(mut self) -> Self {
        self.memory_only = true;
        self
    }

    /// Fails if a setting is wrong, as far as that is known without asking a server.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if let Some(problem) = self.problems().next() {
            return Err(problem.clone());
        }
        let is_given_to_us =
            |alias: &String| self.foreign_variable(alias).is_none() && !self.is_in_common_variable(alias);
        self.aliases()
            .iter()
            .filter(|alias| is_given_to_us(alias))
            .try_for_each(|alias| self.open(alias, &Clock::system()).map(drop))
    }

    /// Whether the URL of `alias` is in a variable that other libraries read too, such as `REDIS_URL`.
    fn is_in_common_variable(&self, alias: &str) -> bool {
        let common = Kind::of_alias(alias).and_then(|kind| kind.common_variable);
        !self.sources.contains_key(alias)
            && matches!(self.source_in_environment(alias), Ok(Source::Url { place, .. }) if Some(&*place) == common)
    }

    /// The problems with settings that don't belong to one backend.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Error> {
        self.problems.iter().chain(&self.problems_with_servers)
    }

    /// The first of [`problems`](Self::problems) that concerns entries in memory.
    pub(crate) fn problem_in_memory(&self) -> Option<&Error> {
        self.problems.first()
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The default lifetime of functions without a backend that has its own.
    pub(crate) fn common_ttl(&self) -> Option<Duration> {
        self.default_ttl
    }

    /// A warning that the variable of `alias` seems to be for something else: other programs use names like
    /// `CACHE_<ALIAS>_URL` too, unless `alias` is a built-in one.
    fn foreign_variable(&self, alias: &str) -> Option<String> {
        if self.sources.contains_key(alias) || Kind::of_alias(alias).is_some_and(|kind| kind.is_server) {
            return None;
        }
        match self.source_in_environment(alias) {
            Ok(Source::Url { text, place }) => {
                let error = Kind::of_url(&text).err()?;
                let message = error.message();
                Some(format!("{place} is ignored unless a function uses it: {message}"))
            }
            _ => None,
        }
    }

    /// Every backend that code or the environment names.
    fn aliases(&self) -> Vec<String> {
        let mut aliases: Vec<String> = self.sources.keys().cloned().collect();
        if self.reads_environment {
            let named = std::env::vars_os().filter_map(|(name, _)| {
                let name = name.into_string().ok().filter(|name| !matches!(variable(name), Ok(None)))?;
                match KINDS.iter().find(|kind| kind.common_variable == Some(&name)) {
                    // Without the feature, no function can use it.
                    Some(kind) => kind.is_compiled_in().then(|| kind.alias.to_owned()),
                    None => Some(name.strip_prefix("CACHE_")?.strip_suffix("_URL")?.to_ascii_lowercase()),
                }
            });
            aliases.extend(named);
        }
        aliases.sort();
        aliases.dedup();
        aliases
    }

    /// Opens the backend named `alias`; nothing connects yet.
    fn open(&self, alias: &str, clock: &Clock) -> Result<Connected, Error> {
        let source = match self.sources.get(alias) {
            _ if self.memory_only => return Ok(self.connected(registry::open_memory(clock)?)),
            Some(source) => source.clone(),
            None => self.source_in_environment(alias)?,
        };
        match source {
            Source::Service(service) => {
                Ok(self.connected(Box::new(service)).with_breaker(format!("`{alias}`")))
            }
            Source::Url { text, place } => self.open_url(&text, clock).map_err(|error| error.at(place)),
        }
    }

    /// Whether memory stands in for the server at `url`.
    pub(crate) fn replaces_server(&self, url: &str) -> bool {
        self.memory_only && matches!(Kind::of_url(url), Ok(Some(kind)) if kind.is_server)
    }

    /// Opens the backend at `url`, or memory in its stead.
    pub(crate) fn open_url(&self, url: &str, clock: &Clock) -> Result<Connected, Error> {
        let is_server = Kind::of_url(url)?.is_some_and(|kind| kind.is_server);
        let is_replaced = self.replaces_server(url);
        let mut url = Url::parse(url)?;
        let prefix: Option<String> = url.take("prefix", "text")?;
        let ttl = url.take_duration("ttl")?;
        let codec: Option<String> = url.take("codec", "a name")?;
        let timeout = url.take_duration("timeout")?.or(self.timeout).unwrap_or(DEFAULT_TIMEOUT);
        let place = url.to_string();
        let service = registry::open(url, timeout, clock)?;
        let service = if is_replaced { registry::open_memory(clock)? } else { service };
        let mut connected = self.connected(service);
        connected.timeout = timeout.min(MAX_TIMEOUT);
        connected.default_ttl = ttl.or(connected.default_ttl);
        if let Some(codec) = codec {
            connected.codec = ChosenCodec::named(&codec)?;
        }
        if let Some(prefix) = prefix {
            connected.prefix = prefix;
        }
        Ok(if is_server && !is_replaced { connected.with_breaker(place) } else { connected })
    }

    fn connected(&self, service: Box<dyn Service>) -> Connected {
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT).min(MAX_TIMEOUT);
        Connected::new(service, self.prefix.clone(), self.default_ttl, timeout)
    }

    /// The URL that the environment gives `alias`, or its default.
    fn source_in_environment(&self, alias: &str) -> Result<Source, Error> {
        let own = format!("CACHE_{}_URL", alias.to_ascii_uppercase().replace('-', "_"));
        let kind = Kind::of_alias(alias);
        if self.reads_environment {
            let common = kind.and_then(|kind| kind.common_variable);
            let for_all = kind.is_none_or(|kind| kind.is_server).then_some("CACHE_URL");
            for name in [own.as_str()].into_iter().chain(common).chain(for_all) {
                if let Some(text) = variable(name)? {
                    return Ok(Source::Url { text, place: name.to_owned() });
                }
            }
        }
        let Some(kind) = kind else {
            let message = format!(
                "no backend is named `{alias}`: set {own} or CACHE_URL, or call Config::url or Config::backend before the first cached call"
            );
            return Err(Error::new(ErrorKind::Config, message));
        };
        Ok(Source::Url { text: kind.default_url.to_owned(), place: format!("the default of {own}") })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the aliases are shown, because URLs contain passwords.
        f.debug_struct("Config")
            .field("backends", &self.sources.keys())
            .field("prefix", &self.prefix)
            .field("default_ttl", &self.default_ttl)
            .field("timeout", &self.timeout)
            .field("enabled", &!self.disabled)
            .finish_non_exhaustive()
    }
}

/// An environment variable without surrounding white space, which files leave behind. An empty one counts as unset.
fn variable(name: &str) -> Result<Option<String>, Error> {
    let Some(text) = std::env::var_os(name) else { return Ok(None) };
    match text.to_str().map(str::trim) {
        Some("") => Ok(None),
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Error::new(ErrorKind::Config, "the value is not UTF-8").at(name)),
    }
}

fn parse_switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Some(true),
        "0" | "false" | "off" | "no" => Some(false),
        _ => None,
    }
}
