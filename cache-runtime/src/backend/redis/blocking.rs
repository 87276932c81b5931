//! The connections of blocking callers.

use std::convert::identity;
use std::pin::pin;
use std::time::Instant;

use super::exchange::{log_in, perform};
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
        let read = |permit: Permit<'_, Stream>, keys: &[&[u8]]| -> Result<Vec<Option<Versioned>>, Error> {
            let request = Request::GetMany(keys);
            large.note_shared(&request, ask_on(permit, server, &request, span))?.values()
        };
        self.reads.get(&self.pool, key, span, read).map(Reply::Value)
    }

    pub(super) fn ask(&self, server: &Server, request: &Request<'_>, span: Span) -> Result<Reply, Error> {
        ask_on(self.pool.permit(span)?, server, request, span)
    }
}

fn ask_on(
    permit: Permit<'_, Stream>,
    server: &Server,
    request: &Request<'_>,
    span: Span,
) -> Result<Reply, Error> {
    let call = |stream: &mut Stream| block_on(pin!(perform(stream, server, request)));
    permit.run(request.retry(), || connect(server, span.end), call).and_then(identity)
}

/// A new connection, logged in.
fn connect(server: &Server, deadline: Instant) -> Result<Stream, Error> {
    let mut stream = dial(&server.address, deadline).map_err(of_io)?;
    stream.begin(deadline);
    block_on(pin!(log_in(&mut stream, server)))?;
    Ok(stream)
}
