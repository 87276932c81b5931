//! The async side: a pool of connections for each runtime and server.

use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::backend::{AsyncBackend, BoxFuture};
use crate::net::stream::AsyncWire;
use crate::net::tokio::pool::{self as async_pool, Exchange};

/// Requests that go to one server together.
struct Asked<'r, 'k, T> {
    server: &'r Server,
    requests: &'r [Request<'k>],
    read: Read<T>,
}

impl<T: Send> Exchange for Asked<'_, '_, T> {
    type Answer = Vec<T>;

    async fn connect(&self, deadline: Instant) -> Result<AsyncWire, Error> {
        AsyncWire::dial(&self.server.host, self.server.port, deadline).await.map_err(failure)
    }

    async fn ask(&self, wire: &mut AsyncWire) -> Result<Vec<T>, Error> {
        send_many(wire, self.requests, self.read).await
    }
}

async fn send_many<T>(
    wire: &mut AsyncWire,
    requests: &[Request<'_>],
    read: Read<T>,
) -> Result<Vec<T>, Error> {
    let mut values = Vec::with_capacity(requests.len());
    for requests in requests.chunks(CHUNK) {
        wire.send(&encoded(requests)).await.map_err(failure)?;
        for request in requests {
            let answer = wire.receive(|cursor| answer(cursor, &request.key)).await.map_err(failure)??;
            values.push(read(answer)?);
        }
    }
    Ok(values)
}

impl Memcached {
    async fn ask_async<T: Send>(
        &self,
        request: Request<'_>,
        redo: Redo,
        read: Read<T>,
        deadline: Instant,
    ) -> Result<T, Error> {
        let span = self.limits.span(deadline)?;
        let (index, pools) = (self.route(&request.key), self.pools()?);
        let asked = Asked { server: &self.servers[index], requests: slice::from_ref(&request), read };
        let mut values = self.ended(pools[index].run(redo, span, asked).await)?;
        values.pop().ok_or_else(unexpected)
    }

    async fn ask_many_async<'k, T: Send>(
        &self,
        requests: impl IntoIterator<Item = Request<'k>>,
        redo: Redo,
        read: Read<T>,
        deadline: Instant,
    ) -> Result<Vec<T>, Error> {
        let span = self.limits.span(deadline)?;
        let (pools, batches) = (self.pools()?, self.batches(requests));
        let asked = batches.iter().map(|Batch { server: index, requests, .. }| {
            pools[*index].run(redo, span, Asked { server: &self.servers[*index], requests, read })
        });
        let mut values = Vec::new();
        for (batch, answer) in batches.iter().zip(all(asked.collect()).await) {
            values.extend(batch.placed(self.ended(answer)?));
        }
        Ok(in_order(values))
    }

    fn pools(&self) -> Result<Arc<[AsyncPool]>, Error> {
        let size = self.limits.pool(async_pool::USUAL);
        let make = || self.servers.iter().map(|_| AsyncPool::new(size)).collect();
        self.shared.with(make, |pools| pools.clone())
    }

    fn ended<T>(&self, answer: Option<Result<T, Error>>) -> Result<T, Error> {
        let answer = answer.unwrap_or_else(|| Err(self.limits.timed_out()));
        answer.map_err(|error| error.at(&self.limits.place))
    }
}

/// Awaits all at once: several servers take one round trip's time.
async fn all<T>(calls: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut calls: Vec<_> = calls.into_iter().map(|call| (Box::pin(call), None)).collect();
    poll_fn(|context| {
        for (call, output) in calls.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = call.as_mut().poll(context) {
                *output = Some(ready);
            }
        }
        if calls.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    calls.into_iter().filter_map(|(_, output)| output).collect()
}

impl AsyncBackend for Memcached {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(self.ask_async(get(key), Redo::Once, value, deadline))
    }

    fn get_many<'a>(
        &'a self,
        keys: &'a [&'a [u8]],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(self.ask_many_async(keys.iter().map(|key| get(key)), Redo::Once, value, deadline))
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.limits.admit(&value)?;
            self.ask_async(set(key, value, ttl), Redo::Once, done, deadline).await.map(drop)
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
            self.limits.admit(&value)?;
            if self.ask_async(exists(key), Redo::Once, done, deadline).await? {
                return Ok(false);
            }
            self.ask_async(add(key, value, ttl), Redo::Never, done, deadline).await
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
            self.limits.admit(&new)?;
            match self.ask_async(get_version(key), Redo::Once, versioned, deadline).await? {
                Some((value, version)) if value == old => {
                    self.ask_async(replace(key, new, ttl, version), Redo::Never, done, deadline).await
                }
                _ => Ok(false),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.ask_async(delete(key), Redo::Once, done, deadline))
    }

    fn max_value_len(&self) -> usize {
        self.limits.max_value
    }

    fn servers(&self) -> usize {
        self.servers.len()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        self.route(&wire_key(key))
    }
}
