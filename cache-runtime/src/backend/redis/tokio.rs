//! The connections of async callers: a pool for each runtime.

use std::convert::identity;
use std::sync::Arc;
use std::time::Instant;

use super::command::Command;
use super::reply::{Resp, check_login, judge, of_io, parse};
use super::url::Server;
use super::{Reply, Span};
use crate::error::Error;
use crate::net::options::timed_out;
use crate::net::tokio::per_runtime::PerRuntime;
use crate::net::tokio::pool::{self, AsyncPool, Exchange};
use crate::net::tokio::stream::AsyncStream;

pub(super) struct Connections(PerRuntime<Arc<AsyncPool>>);

impl Connections {
    pub(super) fn new() -> Self {
        Self(PerRuntime::new())
    }

    pub(super) async fn ask(&self, server: &Server, command: Command, span: Span) -> Result<Reply, Error> {
        let make = || Arc::new(AsyncPool::new(server.options.pool(pool::DEFAULT_SIZE)));
        let pool = self.0.with(make, |pool| pool.clone())?;
        let retry = command.retry;
        let answer = pool.run(retry, span, Call { server, command }).await;
        answer.unwrap_or_else(|| Err(timed_out())).and_then(identity)
    }
}

/// A command for a server.
struct Call<'s> {
    server: &'s Server,
    command: Command,
}

impl Exchange for Call<'_> {
    type Answer = Result<Reply, Error>;

    async fn connect(&self, deadline: Instant) -> Result<AsyncStream, Error> {
        let mut stream = AsyncStream::dial(&self.server.address, deadline).await.map_err(of_io)?;
        for command in &self.server.login {
            check_login(exchange(&mut stream, &command.get_packed_command()).await)?;
        }
        Ok(stream)
    }

    async fn ask(&self, stream: &mut AsyncStream) -> Result<Self::Answer, Error> {
        judge(exchange(stream, &self.command.packed).await?, self.command.expected)
    }
}

async fn exchange(stream: &mut AsyncStream, request: &[u8]) -> Result<Resp, Error> {
    stream.send(request).await.map_err(of_io)?;
    stream.receive(parse).await.map_err(of_io)?
}
