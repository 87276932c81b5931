//! One server and the connections to it.

use std::time::Instant;

use super::exchange::Question;
use super::url::Server;
use super::{Reply, Request, Span, blocking};
use crate::backend::large_values::LargeValues;
use crate::common::wait::Caller;
use crate::error::Error;
use crate::net::dial::Address;
use crate::net::stream::Stream;

/// Who asks, in what time.
#[derive(Clone, Copy)]
pub(super) struct Call<'c> {
    pub(super) span: Span,
    pub(super) caller: Caller,
    /// The values that are too large for the line.
    pub(super) large: &'c LargeValues,
}

pub(super) struct Node {
    server: Server,
    blocking: blocking::Connections,
    #[cfg(feature = "tokio")]
    tokio: super::tokio::Connections,
}

impl Node {
    pub(super) fn new(server: Server) -> Self {
        Self {
            blocking: blocking::Connections::new(&server),
            #[cfg(feature = "tokio")]
            tokio: super::tokio::Connections::new(),
            server,
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.server.address
    }

    /// Performs `request`. A read of one value may share its way with others.
    pub(super) async fn perform(&self, request: &Request<'_>, call: Call<'_>) -> Result<Reply, Error> {
        match (call.caller, request) {
            (Caller::Blocking, Request::Get(key)) => {
                self.blocking.get(&self.server, call.large, key, call.span)
            }
            _ => self.ask(request, call.span, call.caller).await,
        }
    }

    /// A connection outside of the pool.
    pub(super) fn connect(&self, deadline: Instant) -> Result<Stream, Error> {
        blocking::connect(&self.server, deadline)
    }

    pub(super) async fn ask<Q: Question>(
        &self,
        question: &Q,
        span: Span,
        caller: Caller,
    ) -> Result<Q::Answer, Error> {
        match caller {
            Caller::Blocking => self.blocking.ask(&self.server, question, span),
            Caller::Async => self.ask_async(question, span).await,
        }
    }

    #[cfg(feature = "tokio")]
    async fn ask_async<Q: Question>(&self, question: &Q, span: Span) -> Result<Q::Answer, Error> {
        self.tokio.ask(&self.server, question, span).await
    }

    #[cfg(not(feature = "tokio"))]
    #[expect(clippy::unused_async, reason = "the same signature as with tokio")]
    async fn ask_async<Q: Question>(&self, _: &Q, _: Span) -> Result<Q::Answer, Error> {
        Err(crate::backend::adapt::needs_tokio("an async caller of Redis"))
    }
}
