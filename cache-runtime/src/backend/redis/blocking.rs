//! The connections of blocking callers.

use std::convert::identity;
use std::pin::pin;
use std::time::Instant;

use super::exchange::{Question, log_in};
use super::reply::of_io;
use super::url::Server;
use super::{Reply, Request, Span, Versioned};
use crate::backend::large_values::LargeValues;
use crate::common::wait::block_on;
use crate::error::Error;
use crate::net::dial::dial;
use crate::net::pool::idle::Connection;
use crate::net::pool::{Permit, Pool};
use crate::net::shared_reads::SharedReads;
use crate::net::stream::Stream;

pub(super) struct Connections {
    pool: Pool<Stream>,
    reads: SharedReads<Versioned>,
}

impl Connections {
    pub(super) fn new(server: &Server) -> Self {
        Self { pool: Pool::new(&server.options), reads: SharedReads::default() }
    }

    /// Reads one value. If all connections are busy, the read shares a request with others.
    pub(super) fn get(
        &self,
        server: &Server,
        large: &LargeValues,
        key: &[u8],
        span: Span,
    ) -> Result<Reply, Error> {
        if let Some(permit) = self.pool.try_permit(span) {
            return ask_on(permit, server, &Request::Get(key), span);
        }
        if large.travels_alone(key) {
            return self.ask(server, &Request::Get(key), span);
        }
        let read = |permit: Permit<'_, Stream>, keys: &[&[u8]]| -> Result<_, Error> {
            let request = Request::GetMany(keys);
            match large.note_shared(&request, ask_on(permit, server, &request, span))? {
                Reply::Each(replies) => Ok(replies.into_iter().map(|reply| reply?.value()).collect()),
                reply => Ok(reply.values()?.into_iter().map(Ok).collect()),
            }
        };
        self.reads.get(&self.pool, key, span, read).map(Reply::Value)
    }

    pub(super) fn ask<Q: Question>(
        &self,
        server: &Server,
        question: &Q,
        span: Span,
    ) -> Result<Q::Answer, Error> {
        ask_on(self.pool.permit(span)?, server, question, span)
    }
}

fn ask_on<Q: Question>(
    permit: Permit<'_, Stream>,
    server: &Server,
    question: &Q,
    span: Span,
) -> Result<Q::Answer, Error> {
    let call = |stream: &mut Stream| block_on(pin!(question.ask(stream, server)));
    permit.run(question.retry(), || connect(server, span.end), call).and_then(identity)
}

/// A new connection, logged in.
pub(super) fn connect(server: &Server, deadline: Instant) -> Result<Stream, Error> {
    let mut stream = dial(&server.address, server.tls.as_ref(), deadline).map_err(of_io)?;
    stream.begin(deadline);
    block_on(pin!(log_in(&mut stream, server)))?;
    Ok(stream)
}
