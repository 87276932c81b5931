//! The connections of async callers: a pool for each runtime.

use std::convert::identity;
use std::sync::Arc;
use std::time::Instant;

use super::Span;
use super::exchange::{Answer, Question, log_in};
use super::reply::of_io;
use super::url::Server;
use crate::error::Error;
use crate::net::tokio::per_runtime::PerRuntime;
use crate::net::tokio::pool::{AsyncPool, Exchange};
use crate::net::tokio::stream::AsyncStream;

pub(super) struct Connections(PerRuntime<Arc<AsyncPool>>);

impl Connections {
    pub(super) fn new() -> Self {
        Self(PerRuntime::new())
    }

    pub(super) async fn ask<Q: Question>(
        &self,
        server: &Server,
        question: &Q,
        span: Span,
    ) -> Result<Q::Answer, Error> {
        let make = || Arc::new(AsyncPool::new(&server.options));
        let pool = self.0.with(make, |pool| pool.clone())?;
        pool.run(question.retry(), span, Call { server, question }).await.and_then(identity)
    }
}

/// A question to a server.
struct Call<'s, Q> {
    server: &'s Server,
    question: &'s Q,
}

impl<Q: Question> Exchange for Call<'_, Q> {
    type Answer = Result<Q::Answer, Error>;

    async fn connect(&self, deadline: Instant) -> Result<AsyncStream, Error> {
        let mut stream = AsyncStream::dial(&self.server.address, self.server.tls.as_ref(), deadline)
            .await
            .map_err(of_io)?;
        log_in(&mut stream, self.server).await?;
        Ok(stream)
    }

    async fn ask(&self, stream: &mut AsyncStream) -> Answer<Q::Answer> {
        self.question.ask(stream, self.server).await
    }
}
