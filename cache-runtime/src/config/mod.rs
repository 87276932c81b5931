//! Settings: from the environment and from code, to one [`Context`] that calls read.
//!
//! Every error names the variable or the call it came from. This module opens backends by URL;
//! it knows nothing of functions or values.

pub(crate) mod context;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::adapt::{Bridged, Inline, Prompt, Spawned};
use crate::backend::memory::Memory;
use crate::backend::{AsyncBackend, Backend};
use crate::config::context::{Connected, Context};
use crate::error::{Error, ErrorKind};
use crate::net::url::{Url, parse_duration, split_scheme};

/// Total time a call may spend on the cache, unless configured.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(250);
/// Longer ones have no end for a call either, and moments so far away can't be reckoned with.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);

/// The schemes of backend URLs; some are known only to say that they aren't supported yet.
const SCHEMES: [&str; 8] =
    ["memory", "redis", "rediss", "unix", "redis+unix", "redis+cluster", "redis+sentinel", "memcached"];

/// The settings of the whole process, made before the first use of a cache.
///
/// What is set here wins over the environment; [`from_env`](Config::from_env) starts from the
/// environment and [`new`](Config::new) ignores it. Without [`install`](Config::install) the
/// environment alone decides.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::Config;
///
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
    all_memory: bool,
    reads_environment: bool,
    problems: Vec<Error>,
}

/// Where a backend comes from.
#[derive(Clone)]
enum Source {
    /// A URL, and the variable or call that gave it.
    Url {
        text: String,
        place: String,
    },
    Blocking(Arc<dyn Backend>),
    Async(Arc<dyn AsyncBackend>),
}

impl Config {
    /// Defaults only: the environment is not read.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the environment says; a bad value is reported by [`install`](Self::install) and
    /// [`check`](crate::check). White space around a value doesn't count, and an empty one is none.
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
        config.all_memory = config
            .read("CACHE_BACKEND", "`memory`", |text| (text == "memory").then_some(true))
            .unwrap_or(false);
        config
    }

    fn read<T>(&mut self, name: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = parse(&self.text(name)?);
        if value.is_none() {
            // Not shown: it may be a URL.
            self.problems.push(Error::new(ErrorKind::Config, format!("the value is not {what}")).at(name));
        }
        value
    }

    fn text(&mut self, name: &str) -> Option<String> {
        variable(name).unwrap_or_else(|problem| {
            self.problems.push(problem);
            None
        })
    }

    /// The backend named `alias` is at `url`: see the crate's documentation for the forms.
    pub fn url(mut self, alias: &str, url: &str) -> Self {
        let place = format!("Config::url(\"{alias}\", …)");
        self.sources.insert(alias.to_owned(), Source::Url { text: url.to_owned(), place });
        self
    }

    /// The backend named `alias` is this one. Async functions reach it on the runtime's blocking
    /// threads (feature `tokio`).
    pub fn backend(mut self, alias: &str, backend: impl Backend) -> Self {
        self.sources.insert(alias.to_owned(), Source::Blocking(Arc::new(backend)));
        self
    }

    /// The backend named `alias` is this one, for async functions. Blocking functions reach it
    /// through a background runtime (feature `tokio`).
    pub fn async_backend(mut self, alias: &str, backend: impl AsyncBackend) -> Self {
        self.sources.insert(alias.to_owned(), Source::Async(Arc::new(backend)));
        self
    }

    /// Text in front of every key on a server, so that applications can share one. End it with a
    /// separator, like `shop:`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// The lifetime of entries whose function has no `ttl`.
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = Some(ttl);
        self
    }

    /// The time one call may spend on its backend in total; 250 ms by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// With `false`, bodies always run: the kill switch. `CACHE_ENABLED=0` in the environment stays
    /// stronger than `true` here.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.disabled = self.disabled || !enabled;
        self
    }

    /// Every remote function uses memory, through the same encoding as on its server: for tests.
    pub fn all_memory(mut self) -> Self {
        self.all_memory = true;
        self
    }

    /// Makes these the settings of the process.
    ///
    /// # Errors
    /// A setting is wrong, or a cached call, a [`Cache`](crate::Cache) or another `install` came first.
    pub fn install(self) -> Result<(), Error> {
        if let Some(problem) = self.problems.first() {
            return Err(problem.clone());
        }
        Context::install(self)
    }

    /// Everything that is wrong with these settings. Servers are asked, so that a wrong password
    /// shows; one that is down is no mistake in the settings and is only logged.
    pub(crate) fn problems(&self, context: &Context) -> Vec<Error> {
        let mut problems = self.problems.clone();
        for alias in self.aliases() {
            if let Some(message) = self.foreign(&alias) {
                log::warn!("{message}");
                continue;
            }
            match context.opened(&alias).and_then(|connected| connected.probe()) {
                Err(error) if error.is_temporary() => log::warn!("cache backend `{alias}`: {error}"),
                Err(error) => problems.push(error),
                Ok(()) => {}
            }
        }
        problems
    }

    /// The first thing wrong with the settings that concern all functions.
    pub(crate) fn first_problem(&self) -> Option<&Error> {
        self.problems.first()
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The default lifetime outside any backend's own.
    pub(crate) fn common_ttl(&self) -> Option<Duration> {
        self.default_ttl
    }

    /// Says that the variable of `alias` is for something else, if it seems so: a name like `CACHE_<ALIAS>_URL` is not
    /// ours alone, unless `alias` is a built-in one.
    fn foreign(&self, alias: &str) -> Option<String> {
        if self.sources.contains_key(alias) || matches!(alias, "redis" | "memcached") {
            return None;
        }
        match self.in_environment(alias) {
            Ok(Source::Url { text, place }) => {
                let error = known_scheme(&text).err()?;
                Some(format!("{place} is no backend's, unless a function uses it: {}", error.message()))
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
                match name.as_str() {
                    // Without the feature no function can use it.
                    "REDIS_URL" if cfg!(feature = "redis") => Some("redis".to_owned()),
                    "MEMCACHED_URL" if cfg!(feature = "memcached") => Some("memcached".to_owned()),
                    _ => Some(name.strip_prefix("CACHE_")?.strip_suffix("_URL")?.to_ascii_lowercase()),
                }
            });
            aliases.extend(named);
        }
        aliases.sort();
        aliases.dedup();
        aliases
    }

    /// Opens the backend named `alias`; nothing connects yet.
    pub(crate) fn open(&self, alias: &str) -> Result<Connected, Error> {
        let source = match self.sources.get(alias) {
            _ if self.all_memory => return Ok(self.pair(Memory::default())),
            Some(source) => source.clone(),
            None => self.in_environment(alias)?,
        };
        match source {
            Source::Blocking(backend) => {
                let connected = self.connected(Arc::new(Inline(backend.clone())), Arc::new(Spawned(backend)));
                Ok(connected.guarded(format!("`{alias}`")))
            }
            Source::Async(backend) => {
                let connected = self.connected(Arc::new(Bridged(backend.clone())), backend);
                Ok(connected.guarded(format!("`{alias}`")))
            }
            Source::Url { text, place } => self.open_url(&text).map_err(|error| error.at(place)),
        }
    }

    /// Opens the backend at `url`.
    pub(crate) fn open_url(&self, url: &str) -> Result<Connected, Error> {
        known_scheme(url)?;
        let mut url = Url::parse(url)?;
        let prefix: Option<String> = url.take("prefix", "text")?;
        let ttl = url.take_duration("ttl")?;
        let timeout = url.take_duration("timeout")?.or(self.timeout).unwrap_or(DEFAULT_TIMEOUT);
        let (place, can_be_down) = (url.to_string(), url.scheme != "memory");
        let mut connected = match url.scheme.as_str() {
            "memory" => self.pair(Memory::open(url)?),
            #[cfg(feature = "redis")]
            "redis" | "rediss" | "unix" | "redis+unix" | "redis+cluster" | "redis+sentinel" => {
                self.server(crate::backend::redis::Redis::open(url, timeout)?)
            }
            #[cfg(feature = "memcached")]
            "memcached" => self.server(crate::backend::memcached::Memcached::open(url, timeout)?),
            scheme => return Err(not_compiled_in(scheme)),
        };
        connected.timeout = timeout.min(LONGEST_TIMEOUT);
        connected.default_ttl = ttl.or(connected.default_ttl);
        if let Some(prefix) = prefix {
            connected.prefix = prefix;
        }
        Ok(if can_be_down { connected.guarded(place) } else { connected })
    }

    /// One of our own backends: it serves both kinds of callers itself.
    fn pair<B: Backend + AsyncBackend>(&self, backend: B) -> Connected {
        let backend = Arc::new(backend);
        self.connected(Arc::new(Inline(backend.clone())), backend)
    }

    /// A server's backend, which serves async callers itself if tokio is there: their reads travel together.
    #[cfg(all(feature = "tokio", any(feature = "redis", feature = "memcached")))]
    fn server<B: Backend + AsyncBackend>(&self, backend: B) -> Connected {
        let backend = Arc::new(backend);
        let batched = crate::backend::batched::Batched::over(backend.clone());
        self.connected(Arc::new(Inline(backend)), Arc::new(batched))
    }

    #[cfg(all(not(feature = "tokio"), any(feature = "redis", feature = "memcached")))]
    fn server<B: Backend>(&self, backend: B) -> Connected {
        let backend = Arc::new(backend);
        self.connected(Arc::new(Inline(backend.clone())), Arc::new(Spawned(backend)))
    }

    fn connected(&self, blocking: Arc<dyn Prompt>, asynchronous: Arc<dyn AsyncBackend>) -> Connected {
        Connected {
            blocking,
            asynchronous,
            guard: None,
            prefix: self.prefix.clone(),
            default_ttl: self.default_ttl,
            timeout: self.timeout.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT),
        }
    }

    fn in_environment(&self, alias: &str) -> Result<Source, Error> {
        let own = format!("CACHE_{}_URL", alias.to_ascii_uppercase().replace('-', "_"));
        let (common, default) = match alias {
            "redis" => ("REDIS_URL", "redis://127.0.0.1:6379"),
            "memcached" => ("MEMCACHED_URL", "memcached://127.0.0.1:11211"),
            "memory" => ("", "memory://"),
            _ => ("", ""),
        };
        for name in [own.as_str(), common] {
            if !self.reads_environment || name.is_empty() {
                continue;
            }
            if let Some(text) = variable(name)? {
                return Ok(Source::Url { text, place: name.to_owned() });
            }
        }
        if default.is_empty() {
            let message = format!(
                "no backend is named `{alias}`: set {own}, or call Config::url or Config::backend before the first cached call"
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(Source::Url { text: default.to_owned(), place: format!("the default of {own}") })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs hold passwords: only the aliases are shown.
        f.debug_struct("Config")
            .field("backends", &self.sources.keys())
            .field("prefix", &self.prefix)
            .field("default_ttl", &self.default_ttl)
            .field("timeout", &self.timeout)
            .field("enabled", &!self.disabled)
            .finish_non_exhaustive()
    }
}

/// An environment variable without the white space around it, which files leave; empty counts as unset.
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

/// Refuses a URL that, by its scheme, is for something else. First, because such a URL may be like none of ours.
fn known_scheme(url: &str) -> Result<(), Error> {
    match split_scheme(url) {
        Some((scheme, _)) if !SCHEMES.contains(&scheme.as_str()) => {
            let message = format!(
                "unknown URL scheme `{scheme}://`; known are `redis`, `unix`, `memcached` and `memory`"
            );
            Err(Error::new(ErrorKind::Config, message))
        }
        _ => Ok(()),
    }
}

fn not_compiled_in(scheme: &str) -> Error {
    let feature = if scheme == "memcached" { scheme } else { "redis" };
    let message =
        format!("`{scheme}://` needs the feature `{feature}` of cache-runtime, which is not compiled in");
    Error::new(ErrorKind::Config, message)
}
