//! The connections of async callers: a pool for each runtime and server.

use std::sync::Arc;
use std::time::Instant;

use super::command::Command;
use super::exchange::{log_in, perform};
use super::reply::{Read, of_io};
use super::routing::Batch;
use super::url::Server;
use super::{Memcached, Span};
use crate::common::wait::join_all;
use crate::error::Error;
use crate::net::pool::idle::Retry;
use crate::net::tokio::per_runtime::PerRuntime;
use crate::net::tokio::pool::{AsyncPool, Exchange};
use crate::net::tokio::stream::AsyncStream;

pub(super) struct Connections(PerRuntime<Arc<[AsyncPool]>>);

impl Connections {
    pub(super) fn new() -> Self {
        Self(PerRuntime::new())
    }

    /// Asks all servers at the same time, so that several take no longer than one.
    pub(super) async fn ask<T: Send>(
        &self,
        memcached: &Memcached,
        batches: &[Batch<'_>],
        read: Read<T>,
        span: Span,
    ) -> Vec<Result<Vec<T>, Error>> {
        let make = || memcached.servers.iter().map(|_| AsyncPool::new(&memcached.options)).collect();
        let pools = match self.0.with(make, |pools: &mut Arc<[AsyncPool]>| pools.clone()) {
            Ok(pools) => pools,
            Err(error) => return batches.iter().map(|_| Err(error.clone())).collect(),
        };
        let calls = batches.iter().map(|Batch { server, commands, .. }| {
            let retry = commands.first().map_or(Retry::Once, |command| command.retry);
            let call = Call { server: &memcached.servers[*server], commands, read };
            pools[*server].run(retry, span, call)
        });
        join_all(calls.collect()).await
    }
}

/// Commands for one server.
struct Call<'r, 'k, T> {
    server: &'r Server,
    commands: &'r [Command<'k>],
    read: Read<T>,
}

impl<T: Send> Exchange for Call<'_, '_, T> {
    type Answer = Vec<T>;

    async fn connect(&self, deadline: Instant) -> Result<AsyncStream, Error> {
        let Server { address, tls, .. } = self.server;
        let mut stream = AsyncStream::dial(address, tls.as_ref(), deadline).await.map_err(of_io)?;
        log_in(&mut stream, self.server).await?;
        Ok(stream)
    }

    async fn ask(&self, stream: &mut AsyncStream) -> Result<Vec<T>, Error> {
        perform(stream, self.commands, self.read).await
    }
}
