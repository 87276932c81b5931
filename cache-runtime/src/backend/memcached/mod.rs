//! Memcached: commands, replies and connections, and which of several servers has which key.

mod blocking;
mod command;
mod exchange;
mod number;
mod refusal;
mod reply;
mod routing;
#[cfg(feature = "tokio")]
mod tokio;
mod url;

#[cfg(any(test, fuzzing))]
pub(crate) use self::reply::fuzz;

use std::fmt;
use std::slice;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::command::{Command, wire_key};
use self::reply::{Read, done, stored, sum, ttl, unexpected, value};
use self::routing::{Batch, batches, in_order, route, to_each};
use self::url::Server;
use super::SetOptions;
#[cfg(feature = "tokio")]
use super::derived::async_backend_of_service;
use super::derived::{backend_of_service, bytes_of};
use super::large_values::LargeValues;
use super::request::{
    Answer, Condition, Reply, Request, Service, Version, Versioned, get_each, not_a_number,
};
#[cfg(feature = "tokio")]
use crate::common::wait::BoxFuture;
use crate::common::wait::{Caller, MaybeReady};
use crate::error::Error;
use crate::net::options::{DEFAULT_TIMEOUT, Options, Span};
use crate::net::url::Url;

/// One or several Memcached servers, version 1.6 or newer.
///
/// Making one doesn't connect. Each key lives on one of the servers; adding or removing a server moves only that server's
/// keys. Blocking callers share up to `pool` connections to each server, and so do the async callers of each tokio
/// runtime. Blocking reads that find all connections busy share a request.
///
/// | URL parameter | meaning | default |
/// |---|---|---|
/// | `timeout` | the longest that an operation may take, connecting included | `250ms` |
/// | `pool` | connections to each server | 16 for blocking callers, 64 for async ones |
/// | `max_value` | the longest value; raise it if the server runs with `-I` | 1 MiB less 512 bytes |
///
/// A user and a password are for servers that run with `-Y`. `memcacheds://` is TLS, needs the feature `tls`, and takes `ca`, `cert`,
/// `key`, `server_name` and `verify` as [`Redis`](crate::Redis) does.
///
/// # Example
///
/// ```no_run
/// use std::time::{Duration, Instant};
/// use cache_runtime::{Backend, Memcached, SetOptions};
///
/// let memcached = Memcached::from_url("memcached://cache1,cache2:11212?timeout=100ms")?;
/// let soon = Instant::now() + Duration::from_millis(100);
/// memcached.set(b"greeting", "hello".into(), SetOptions::new().ttl(Duration::from_secs(60)), soon)?;
/// assert_eq!(memcached.get(b"greeting", soon)?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), cache_runtime::Error>(())
/// ```
pub struct Memcached {
    options: Options,
    servers: Vec<Server>,
    large: LargeValues,
    #[cfg(feature = "tokio")]
    tokio: tokio::Connections,
}

impl Memcached {
    /// The servers at `memcached://[user:password@]host[:port][,host[:port]…]`, or `memcached+unix:///path/to.sock`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the URL has another form.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Self::open(Url::parse(url)?, DEFAULT_TIMEOUT)
    }

    /// `timeout` applies if the URL has none.
    pub(crate) fn open(url: Url, timeout: Duration) -> Result<Self, Error> {
        let (options, servers) = url::servers(url, timeout)?;
        Ok(Self {
            options,
            servers,
            large: LargeValues::default(),
            #[cfg(feature = "tokio")]
            tokio: tokio::Connections::new(),
        })
    }

    async fn perform(&self, request: Request<'_>, deadline: Instant, caller: Caller) -> Result<Reply, Error> {
        match &request {
            Request::Set { value, .. } => self.options.check_size(value)?,
            Request::SetMany { entries, .. } => {
                entries.iter().try_for_each(|(_, value)| self.options.check_size(value))?;
            }
            _ => {}
        }
        if let Request::GetMany(keys) = &request
            && self.large.splits(keys)
        {
            return get_each(self, keys, deadline, caller).await;
        }
        let answer = match (self.large.check(&request), self.options.span(deadline)) {
            (Ok(()), Ok(span)) => {
                let answer = self.answer(&request, span, caller).await;
                self.large.note(&request, answer)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        answer.map_err(|error| error.at(&self.options.place))
    }

    async fn answer<'r>(&self, request: &Request<'r>, span: Span, caller: Caller) -> Result<Reply, Error> {
        match request {
            Request::Get(key) if caller == Caller::Blocking => {
                let server = &self.servers[route(&self.servers, &wire_key(key))];
                server.blocking.get(server, &self.large, key, span).map(Reply::Value)
            }
            Request::Get(key) => self.ask(Command::get(key), value, span, caller).await.map(Reply::Value),
            Request::GetMany(keys) => self.get_many(keys, span, caller).await.map(Reply::Values),
            Request::Set { key, value, options, condition } => {
                self.set(key, value.clone(), *options, *condition, span, caller).await.map(Reply::Set)
            }
            Request::SetMany { entries, options } => {
                let set = |(key, value): &(&'r [u8], Bytes)| Command::set(key, value.clone(), *options);
                let batches = batches(&self.servers, entries.iter().map(set));
                let answers = self.ask_all(&batches, stored, span, caller).await;
                let results = to_each(&batches, answers).into_iter().map(|result| result.map(drop));
                Ok(Reply::SetEach(results.collect()))
            }
            Request::Delete(key) => self.ask(Command::delete(key), done, span, caller).await.map(Reply::Done),
            Request::DeleteMany(keys) => {
                let batches = batches(&self.servers, keys.iter().map(|key| Command::delete(key)));
                let deleted = in_order(&batches, self.ask_all(&batches, done, span, caller).await)?;
                Ok(Reply::Count(deleted.into_iter().filter(|deleted| *deleted).count()))
            }
            Request::Contains(key) => {
                self.ask(Command::contains(key), done, span, caller).await.map(Reply::Done)
            }
            Request::Touch { key, ttl } => {
                self.ask(Command::touch(key, *ttl), done, span, caller).await.map(Reply::Done)
            }
            Request::Incr { key, by } => self.incr(key, *by, span, caller).await.map(Reply::Number),
            Request::Ttl(key) => self.ask(Command::ttl(key), ttl, span, caller).await.map(Reply::Ttl),
        }
    }

    /// The server wraps around past the end of the numbers, which is undone.
    async fn incr(&self, key: &[u8], by: i64, span: Span, caller: Caller) -> Result<Option<i64>, Error> {
        let Some(stored) = self.ask(Command::incr(key, by), sum, span, caller).await? else {
            return Ok(None);
        };
        if let Some(sum) = number::sum(stored, by) {
            return Ok(Some(sum));
        }
        self.ask(Command::incr(key, by.wrapping_neg()), sum, span, caller).await?;
        Err(not_a_number())
    }

    async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        options: SetOptions,
        condition: Condition<'_>,
        span: Span,
        caller: Caller,
    ) -> Result<Option<Version>, Error> {
        let command = Command::set(key, value, options);
        let command = match condition {
            Condition::Always => command,
            Condition::Absent => command.if_absent(),
            Condition::Equals { bytes, version: Version::UNKNOWN } => {
                match self.ask(Command::get(key), reply::value, span, caller).await? {
                    Some(found) if found.bytes == bytes => command.if_version(found.version),
                    _ => return Ok(None),
                }
            }
            Condition::Equals { version, .. } => command.if_version(version),
        };
        self.ask(command, stored, span, caller).await
    }

    async fn get_many(
        &self,
        keys: &[&[u8]],
        span: Span,
        caller: Caller,
    ) -> Result<Vec<Option<Versioned>>, Error> {
        let batches = batches(&self.servers, keys.iter().map(|key| Command::get(key)));
        in_order(&batches, self.ask_all(&batches, value, span, caller).await)
    }

    async fn ask_all<T: Send>(
        &self,
        batches: &[Batch<'_>],
        read: Read<T>,
        span: Span,
        caller: Caller,
    ) -> Vec<Result<Vec<T>, Error>> {
        match caller {
            Caller::Blocking => batches.iter().map(|batch| self.ask_blocking(batch, read, span)).collect(),
            Caller::Async => self.ask_async(batches, read, span).await,
        }
    }

    async fn ask<T: Send>(
        &self,
        command: Command<'_>,
        read: Read<T>,
        span: Span,
        caller: Caller,
    ) -> Result<T, Error> {
        let server = route(&self.servers, &command.key);
        let batch = Batch { server, places: vec![0], commands: vec![command] };
        let values = match caller {
            Caller::Blocking => self.ask_blocking(&batch, read, span),
            Caller::Async => {
                self.ask_async(slice::from_ref(&batch), read, span).await.pop().ok_or_else(unexpected)?
            }
        };
        values?.pop().ok_or_else(unexpected)
    }

    fn ask_blocking<T>(&self, batch: &Batch<'_>, read: Read<T>, span: Span) -> Result<Vec<T>, Error> {
        let server = &self.servers[batch.server];
        server.blocking.ask(server, &batch.commands, read, span)
    }

    /// Asks all servers at the same time.
    #[cfg(feature = "tokio")]
    async fn ask_async<T: Send>(
        &self,
        batches: &[Batch<'_>],
        read: Read<T>,
        span: Span,
    ) -> Vec<Result<Vec<T>, Error>> {
        self.tokio.ask(self, batches, read, span).await
    }

    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_async, reason = "the same signature as with tokio")]
    async fn ask_async<T: Send>(
        &self,
        batches: &[Batch<'_>],
        _: Read<T>,
        _: Span,
    ) -> Vec<Result<Vec<T>, Error>> {
        batches.iter().map(|_| Err(super::adapt::needs_tokio("an async caller of Memcached"))).collect()
    }
}

impl fmt::Debug for Memcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memcached").field(&self.options.place).finish()
    }
}

impl Service for Memcached {
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        MaybeReady::of(self.perform(request, deadline, caller), caller)
    }

    fn max_value_len(&self) -> usize {
        self.options.max_value
    }

    fn servers(&self) -> usize {
        self.servers.len()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        route(&self.servers, &wire_key(key))
    }

    #[cfg(feature = "tokio")]
    fn travels_alone(&self, key: &[u8]) -> bool {
        self.large.travels_alone(key)
    }
}

backend_of_service!(Memcached);
#[cfg(feature = "tokio")]
async_backend_of_service!(Memcached);
