//! Redis: commands, replies and connections, and the ways to the server that has a key.
//!
//! Blocking callers share a few connections, and so do the async callers of each runtime. Both send the same commands and
//! read the replies with the same functions. Of redis-rs this uses the encoder, the parser and the error types; none of
//! them is public here.

mod abilities;
mod blocking;
mod cluster;
mod command;
mod exchange;
mod node;
mod refusal;
mod reply;
mod sentinel;
#[cfg(feature = "tokio")]
mod tokio;
mod topology;
mod url;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    pub(crate) use super::reply::fuzz::replies;
    pub(crate) use super::topology::fuzz::topology;
}

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::cluster::Cluster;
use self::node::{Call, Node};
use self::sentinel::Sentinels;
use self::url::Target;
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
use crate::net::options::{DEFAULT_TIMEOUT, Options, Span};
use crate::net::url::Url;

/// Redis, or a server that speaks its protocol, such as Valkey: one server, a cluster, or the primary that sentinels name.
///
/// Making one doesn't connect. Blocking callers share up to `pool` connections to each server, and so do the async callers of
/// each tokio runtime. Blocking reads that find all connections busy share a request.
///
/// | URL | |
/// |---|---|
/// | `redis://[user:password@]host[:port][/db]`, `unix:///path/to.sock` | one server |
/// | `redis+cluster://[user:password@]host[:port][,host[:port]…]` | some nodes of a cluster, which lead to the others |
/// | `redis+sentinel://[user:password@]host[:port][,host[:port]…]/name[/db]` | sentinels, and their name of the primary |
///
/// | URL parameter | meaning | default |
/// |---|---|---|
/// | `timeout` | the longest that an operation may take, connecting included | `250ms` |
/// | `pool` | connections | 16 for blocking callers, 64 for async ones |
/// | `max_value` | the longest value | `512MiB`, the server's own limit |
/// | `db` | the database; URLs of one server can also give it as their path. A cluster has none | 0 |
/// | `sentinel_user`, `sentinel_password` | the login of the sentinels | none |
///
/// `rediss`, with one `s` more, is TLS, and needs the feature `tls`. `valkey` and `valkeys` mean the same as `redis` and `rediss`. URLs
/// with TLS also take:
///
/// | URL parameter | meaning | default |
/// |---|---|---|
/// | `ca` | a file with the certificates of the authorities to trust | the system's |
/// | `cert`, `key` | files with the certificate of this client and its key | none |
/// | `server_name` | the name in the server's certificate | the host |
/// | `verify` | whether the certificate is checked at all | `true` |
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
    options: Arc<Options>,
    large: LargeValues,
    route: Route,
}

/// The way to the server that has a key.
enum Route {
    Alone(Box<Node>),
    Cluster(Cluster),
    Primary(Sentinels),
}

impl Redis {
    /// What `url` names: see [above](Self).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the URL has another form.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Self::open(Url::parse(url)?, DEFAULT_TIMEOUT)
    }

    /// `timeout` applies if the URL has none.
    pub(crate) fn open(url: Url, timeout: Duration) -> Result<Self, Error> {
        let (access, target) = url::target(url, timeout)?;
        let options = access.options.clone();
        let route = match target {
            Target::Alone(address) => Route::Alone(Box::new(Node::new(access.server(address)))),
            Target::Cluster(seeds) => Route::Cluster(Cluster::new(access, seeds)),
            Target::Primary { sentinels, name } => Route::Primary(Sentinels::new(access, sentinels, name)),
        };
        Ok(Self { options, large: LargeValues::default(), route })
    }

    async fn perform(&self, request: Request<'_>, deadline: Instant, caller: Caller) -> Result<Reply, Error> {
        if let Request::Set { value, .. } = &request {
            self.options.check_size(value)?;
        }
        match &request {
            Request::GetMany([]) => return Ok(Reply::Values(Vec::new())),
            Request::SetMany { entries: [], .. } => return Ok(Reply::SetEach(Vec::new())),
            Request::DeleteMany([]) => return Ok(Reply::Count(0)),
            Request::GetMany(keys) if self.large.splits(keys) => {
                return get_each(self, keys, deadline, caller).await;
            }
            Request::SetMany { entries, .. } => {
                entries.iter().try_for_each(|(_, value)| self.options.check_size(value))?;
            }
            _ => {}
        }
        let answer = match (self.large.check(&request), self.options.span(deadline)) {
            (Ok(()), Ok(span)) => {
                let answer = self.ask(&request, span, caller).await;
                self.large.note(&request, answer)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        answer.map_err(|error| error.at(&self.options.place))
    }

    async fn ask(&self, request: &Request<'_>, span: Span, caller: Caller) -> Result<Reply, Error> {
        let call = Call { span, caller, large: &self.large };
        match &self.route {
            Route::Alone(server) => server.perform(request, call).await,
            Route::Cluster(cluster) => cluster.perform(request, call).await,
            Route::Primary(sentinels) => sentinels.perform(request, call).await,
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.options.place).finish()
    }
}

impl Service for Redis {
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        MaybeReady::of(self.perform(request, deadline, caller), caller)
    }

    fn max_value_len(&self) -> usize {
        self.options.max_value
    }

    fn servers(&self) -> usize {
        match &self.route {
            Route::Cluster(_) => cluster::SERVERS,
            Route::Alone(_) | Route::Primary(_) => 1,
        }
    }

    fn server_of(&self, key: &[u8]) -> usize {
        match &self.route {
            Route::Cluster(cluster) => cluster.server_of(key),
            Route::Alone(_) | Route::Primary(_) => 0,
        }
    }

    fn groups(&self) -> usize {
        match &self.route {
            Route::Cluster(_) => cluster::GROUPS,
            Route::Alone(_) | Route::Primary(_) => 1,
        }
    }

    fn group_of(&self, key: &[u8]) -> usize {
        match &self.route {
            Route::Cluster(_) => cluster::group_of(key),
            Route::Alone(_) | Route::Primary(_) => 0,
        }
    }

    #[cfg(feature = "tokio")]
    fn travels_alone(&self, key: &[u8]) -> bool {
        self.large.travels_alone(key)
    }
}

backend_of_service!(Redis);
#[cfg(feature = "tokio")]
async_backend_of_service!(Redis);
