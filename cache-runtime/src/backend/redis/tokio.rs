//! The connections of async callers: a pool for each runtime.

use std::convert::identity;
use std::sync::Arc;
use std::time::Instant;

use super::exchange::{Answer, log_in, perform};
use super::reply::of_io;
use super::url::Server;
use super::{Reply, Request, Span};
use crate::error::Error;
use crate::net::tokio::per_runtime::PerRuntime;
use crate::net::tokio::pool::{AsyncPool, Exchange};
use crate::net::tokio::stream::AsyncStream;

pub(super) struct Connections(PerRuntime<Arc<AsyncPool>>);

impl Connections {
    pub(super) fn new() -> Self {
        Self(PerRuntime::new())
    }

    pub(super) async fn ask(
        &self,
        server: &Server,
        request: &Request<'_>,
        span: Span,
    ) -> Result<Reply, Error> {
        let make = || Arc::new(AsyncPool::new(&server.options));
        let pool = self.0.with(make, |pool| pool.clone())?;
        pool.run(request.retry(), span, Call { server, request }).await.and_then(identity)
    }
}

/// A request to a server.
struct Call<'s> {
    server: &'s Server,
    request: &'s Request<'s>,
}

impl Exchange for Call<'_> {
    type Answer = Result<Reply, Error>;

    async fn connect(&self, deadline: Instant) -> Result<AsyncStream, Error> {
        let mut stream = AsyncStream::dial(&self.server.address, deadline).await.map_err(of_io)?;
        log_in(&mut stream, self.server).await?;
        Ok(stream)
    }

    async fn ask(&self, stream: &mut AsyncStream) -> Answer<Reply> {
        perform(stream, self.server, self.request).await
    }
}
