//! The one list of backends: their names, schemes and variables, and how a URL is opened.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::sync::Arc;
use std::time::Duration;

use super::adapt::{FromAsyncBackend, FromBackend};
use super::request::Service;
use super::{AsyncBackend, Backend};
use crate::common::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::net::url::{Url, split_scheme};

/// A backend that a URL can name.
pub(crate) struct Kind {
    /// The alias that attributes use, which has `CACHE_<ALIAS>_URL` and a default.
    pub(crate) alias: &'static str,
    /// The variable that is read after `CACHE_<ALIAS>_URL`, if there is one.
    pub(crate) common_variable: Option<&'static str>,
    pub(crate) default_url: &'static str,
    schemes: &'static [&'static str],
    /// Whether a server stands behind it, which can be down.
    pub(crate) is_server: bool,
    /// Opens a URL, with a timeout for URLs that have none; `None` if the feature of this name is not compiled in.
    open: Option<Open>,
}

type Open = fn(Url, Duration, &Clock) -> Result<Box<dyn Service>, Error>;

pub(crate) const KINDS: [Kind; 3] = [
    Kind {
        alias: "memory",
        common_variable: None,
        default_url: "memory://",
        schemes: &["memory"],
        is_server: false,
        #[cfg(feature = "memory")]
        open: Some(|url, _, clock| Ok(Box::new(super::memory::Memory::open(url)?.with_clock(clock.clone())))),
        #[cfg(not(feature = "memory"))]
        open: None,
    },
    Kind {
        alias: "redis",
        common_variable: Some("REDIS_URL"),
        default_url: "redis://127.0.0.1:6379",
        schemes: &[
            "redis",
            "rediss",
            "valkey",
            "valkeys",
            "redis+cluster",
            "rediss+cluster",
            "valkey+cluster",
            "valkeys+cluster",
            "redis+sentinel",
            "rediss+sentinel",
            "valkey+sentinel",
            "valkeys+sentinel",
            "unix",
            "redis+unix",
            "valkey+unix",
        ],
        is_server: true,
        #[cfg(feature = "redis")]
        open: Some(|url, timeout, _| Ok(batched(super::redis::Redis::open(url, timeout)?))),
        #[cfg(not(feature = "redis"))]
        open: None,
    },
    Kind {
        alias: "memcached",
        common_variable: Some("MEMCACHED_URL"),
        default_url: "memcached://127.0.0.1:11211",
        schemes: &["memcached", "memcacheds", "memcached+unix"],
        is_server: true,
        #[cfg(feature = "memcached")]
        open: Some(|url, timeout, _| Ok(batched(super::memcached::Memcached::open(url, timeout)?))),
        #[cfg(not(feature = "memcached"))]
        open: None,
    },
];

impl Kind {
    /// The backend that an alias names without any settings.
    pub(crate) fn of_alias(alias: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.alias == alias)
    }

    fn of_scheme(scheme: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.schemes.contains(&scheme))
    }

    /// The backend that `url` names by its scheme.
    ///
    /// # Errors
    /// The scheme belongs to no backend. This is checked before the rest of the URL, which may be nothing like ours.
    pub(crate) fn of_url(url: &str) -> Result<Option<&'static Self>, Error> {
        let Some((scheme, _)) = split_scheme(url) else { return Ok(None) };
        let unknown = || {
            let message = format!(
                "unknown URL scheme `{scheme}://`; known are `redis`, `rediss`, `redis+cluster`, `redis+sentinel`, `unix`, `memcached`, `memcacheds` \
                 and `memory`"
            );
            Error::new(ErrorKind::Config, message)
        };
        Self::of_scheme(&scheme).ok_or_else(unknown).map(Some)
    }

    pub(crate) fn is_compiled_in(&self) -> bool {
        self.open.is_some()
    }
}

/// Opens the backend at `url`; nothing connects yet. `timeout` applies if the URL has none, and `clock` is for memory:
/// servers have their own.
pub(crate) fn open(url: Url, timeout: Duration, clock: &Clock) -> Result<Box<dyn Service>, Error> {
    let scheme = &url.scheme;
    let Some(kind) = Kind::of_scheme(scheme) else {
        return Err(Error::new(ErrorKind::Config, format!("unknown URL scheme `{scheme}://`")));
    };
    let Some(open) = kind.open else {
        let message = format!(
            "`{scheme}://` needs the feature `{}` of cache-runtime, which is not compiled in",
            kind.alias
        );
        return Err(Error::new(ErrorKind::Config, message));
    };
    open(url, timeout, clock)
}

/// Memory, as a backend of bytes. Nothing in it waits.
pub(crate) fn open_memory(clock: &Clock) -> Result<Box<dyn Service>, Error> {
    open(Url::parse("memory://")?, Duration::MAX, clock)
}

/// A user's backend.
pub(crate) fn blocking(backend: impl Backend) -> Arc<dyn Service> {
    Arc::new(FromBackend(Arc::new(backend)))
}

/// A user's async backend.
pub(crate) fn asynchronous(backend: impl AsyncBackend) -> Arc<dyn Service> {
    Arc::new(FromAsyncBackend(Arc::new(backend)))
}

/// A server's backend whose async reads share requests.
#[cfg(all(feature = "tokio", any(feature = "redis", feature = "memcached")))]
fn batched(server: impl Service) -> Box<dyn Service> {
    Box::new(super::batched::Batched::over(Arc::new(server)))
}

#[cfg(all(not(feature = "tokio"), any(feature = "redis", feature = "memcached")))]
fn batched(server: impl Service) -> Box<dyn Service> {
    Box::new(server)
}
