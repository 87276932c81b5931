//! The async side: a pool of connections for each runtime.

use super::*;
use crate::backend::{AsyncBackend, BoxFuture};
use crate::net::stream::AsyncWire;
use crate::net::tokio::pool::{self as async_pool, Exchange};

async fn ask(wire: &mut AsyncWire, request: &[u8]) -> Result<Reply, Error> {
    wire.send(request).await.map_err(|error| failure(error.into()))?;
    wire.receive(reply).await.map_err(|error| failure(error.into()))?
}

/// A command for a server.
struct Asked<'s, R> {
    server: &'s Server,
    request: Vec<u8>,
    read: R,
}

impl<T: Send, R: Fn(Reply) -> Result<T, Error> + Sync> Exchange for Asked<'_, R> {
    type Answer = Result<T, Error>;

    async fn connect(&self, deadline: Instant) -> Result<AsyncWire, Error> {
        let mut wire = self.server.dial_async(deadline).await.map_err(|error| failure(error.into()))?;
        for command in &self.server.login {
            welcome(ask(&mut wire, &command.get_packed_command()).await)?;
        }
        Ok(wire)
    }

    async fn ask(&self, wire: &mut AsyncWire) -> Judged<T> {
        judge(ask(wire, &self.request).await?, &self.read)
    }
}

impl Server {
    async fn dial_async(&self, deadline: Instant) -> io::Result<AsyncWire> {
        match &self.address {
            ConnectionAddr::Tcp(host, port) => AsyncWire::dial(host, *port, deadline).await,
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Ok(AsyncWire::new(::tokio::net::UnixStream::connect(path).await?)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Redis {
    async fn ask_async<T: Send>(
        &self,
        request: Vec<u8>,
        redo: Redo,
        read: impl Fn(Reply) -> Result<T, Error> + Sync,
        deadline: Instant,
    ) -> Result<T, Error> {
        let limits = &self.server.limits;
        let span = limits.span(deadline)?;
        let make = || Arc::new(AsyncPool::new(limits.pool(async_pool::USUAL)));
        let pool = self.shared.with(make, |pool| pool.clone())?;
        let asked = Asked { server: &self.server, request, read };
        let answer = pool.run(redo, span, asked).await.unwrap_or_else(|| Err(limits.timed_out()));
        answer.and_then(identity).map_err(|error| error.at(&limits.place))
    }
}

impl AsyncBackend for Redis {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move { self.ask_async(get(key), Redo::Once, one, deadline).await })
    }

    fn get_many<'a>(
        &'a self,
        keys: &'a [&'a [u8]],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            self.ask_async(get_many(keys), Redo::Once, many(keys.len()), deadline).await
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.server.limits.admit(&value)?;
            self.ask_async(set(key, &value, ttl), Redo::Once, stored, deadline).await.map(drop)
        })
    }

    /// Once only, as the blocking `add` says.
    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.server.limits.admit(&value)?;
            if self.ask_async(exists(key), Redo::Once, any, deadline).await? {
                return Ok(false);
            }
            self.ask_async(add(key, &value, ttl), Redo::Never, stored, deadline).await
        })
    }

    /// Once only, like `add`.
    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.server.limits.admit(&new)?;
            if !self.ask_async(exists(key), Redo::Once, any, deadline).await? {
                return Ok(false);
            }
            self.ask_async(replace(key, old, &new, ttl), Redo::Never, stored, deadline).await
        })
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.ask_async(delete(key), Redo::Once, any, deadline).await })
    }

    fn max_value_len(&self) -> usize {
        self.server.limits.max_value
    }
}
