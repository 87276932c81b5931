//! Redis: commands, replies and connections.
//!
//! Blocking callers share a few connections, and so do the async callers of each runtime. Both send the same commands and
//! read the replies with the same functions. Of redis-rs this uses the encoder, the parser and the error types; none of
//! them is public here.

mod abilities;
mod blocking;
mod command;
mod exchange;
mod refusal;
mod reply;
#[cfg(feature = "tokio")]
mod tokio;
mod url;

#[cfg(any(test, fuzzing))]
pub(crate) use self::reply::fuzz;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::url::Server;
use super::SetOptions;
#[cfg(feature = "tokio")]
use super::derived::async_backend_of_service;
use super::derived::{backend_of_service, bytes_of};
use super::large_values::LargeValues;
use super::request::{Answer, Condition, Reply, Request, Service, Version, Versioned, get_each};
#[cfg(feature = "tokio")]
use crate::common::wait::BoxFuture;
use crate::common::wait::{Caller, MaybeReady};
use crate::error::Error;
use crate::net::options::{DEFAULT_TIMEOUT, Span};
use crate::net::url::Url;

/// Redis, or a server that speaks its protocol, such as Valkey.
///
/// Making one doesn't connect. Blocking callers share up to `pool` connections, and so do the async callers of each tokio
/// runtime. Blocking reads that find all connections busy share one `MGET`.
///
/// | URL parameter | meaning | default |
/// |---|---|---|
/// | `timeout` | the longest that an operation may take, connecting included | `250ms` |
/// | `pool` | connections | 16 for blocking callers, 64 for async ones |
/// | `max_value` | the longest value | `512MiB`, the server's own limit |
/// | `db` | the database; `redis://` URLs can also give it as their path | 0 |
///
/// # Example
///
/// ```no_run
/// use std::time::{Duration, Instant};
/// use cache_runtime::{Backend, Redis, SetOptions};
///
/// let redis = Redis::from_url("redis://:password@localhost:6379/1?timeout=100ms")?;
/// let soon = Instant::now() + Duration::from_millis(100);
/// redis.set(b"greeting", "hello".into(), SetOptions::new().ttl(Duration::from_secs(60)), soon)?;
/// assert_eq!(redis.get(b"greeting", soon)?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), cache_runtime::Error>(())
/// ```
pub struct Redis {
    server: Server,
    large: LargeValues,
    blocking: blocking::Connections,
    #[cfg(feature = "tokio")]
    tokio: tokio::Connections,
}

impl Redis {
    /// The server at `redis://[user:password@]host[:port][/db]` or `unix:///path/to.sock[?db=1]`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the URL has another form.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Self::open(Url::parse(url)?, DEFAULT_TIMEOUT)
    }

    /// `timeout` applies if the URL has none.
    pub(crate) fn open(url: Url, timeout: Duration) -> Result<Self, Error> {
        let server = Server::new(url, timeout)?;
        Ok(Self {
            blocking: blocking::Connections::new(&server),
            #[cfg(feature = "tokio")]
            tokio: tokio::Connections::new(),
            large: LargeValues::default(),
            server,
        })
    }

    async fn perform(&self, request: Request<'_>, deadline: Instant, caller: Caller) -> Result<Reply, Error> {
        if let Request::Set { value, .. } = &request {
            self.server.options.check_size(value)?;
        }
        match &request {
            Request::GetMany([]) => return Ok(Reply::Values(Vec::new())),
            Request::SetMany { entries: [], .. } => return Ok(Reply::SetEach(Vec::new())),
            Request::DeleteMany([]) => return Ok(Reply::Count(0)),
            Request::GetMany(keys) if self.large.splits(keys) => {
                return get_each(self, keys, deadline, caller).await;
            }
            Request::SetMany { entries, .. } => {
                entries.iter().try_for_each(|(_, value)| self.server.options.check_size(value))?;
            }
            _ => {}
        }
        let answer = match (self.large.check(&request), self.server.options.span(deadline)) {
            (Ok(()), Ok(span)) => {
                let answer = self.ask(&request, span, caller).await;
                self.large.note(&request, answer)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        answer.map_err(|error| error.at(&self.server.options.place))
    }

    async fn ask(&self, request: &Request<'_>, span: Span, caller: Caller) -> Result<Reply, Error> {
        match (caller, request) {
            (Caller::Blocking, Request::Get(key)) => self.blocking.get(&self.server, &self.large, key, span),
            (Caller::Blocking, request) => self.blocking.ask(&self.server, request, span),
            (Caller::Async, request) => self.ask_async(request, span).await,
        }
    }

    #[cfg(feature = "tokio")]
    async fn ask_async(&self, request: &Request<'_>, span: Span) -> Result<Reply, Error> {
        self.tokio.ask(&self.server, request, span).await
    }

    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_async, reason = "the same signature as with tokio")]
    async fn ask_async(&self, _: &Request<'_>, _: Span) -> Result<Reply, Error> {
        Err(super::adapt::needs_tokio("an async caller of Redis"))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.server.options.place).finish()
    }
}

impl Service for Redis {
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        MaybeReady::of(self.perform(request, deadline, caller), caller)
    }

    fn max_value_len(&self) -> usize {
        self.server.options.max_value
    }

    #[cfg(feature = "tokio")]
    fn travels_alone(&self, key: &[u8]) -> bool {
        self.large.travels_alone(key)
    }
}

backend_of_service!(Redis);
#[cfg(feature = "tokio")]
async_backend_of_service!(Redis);
