//! The connections of blocking callers.

use std::convert::identity;
use std::time::Instant;

use super::command::Command;
use super::reply::{Resp, check_login, judge, of_io, parse};
use super::url::Server;
use super::{Reply, Span, Versioned};
use crate::error::Error;
use crate::net::dial::dial;
use crate::net::pool::{self, Permit, Pool};
use crate::net::shared_reads::SharedReads;
use crate::net::stream::Stream;

pub(super) struct Connections {
    pool: Pool<Stream>,
    reads: SharedReads<Versioned>,
}

impl Connections {
    pub(super) fn new(server: &Server) -> Self {
        let pool = Pool::new(server.options.pool(pool::DEFAULT_SIZE));
        Self { pool, reads: SharedReads::default() }
    }

    /// Reads one value. If all connections are busy, the read shares a request with others.
    pub(super) fn get(&self, server: &Server, key: &[u8], span: Span) -> Result<Reply, Error> {
        if let Some(permit) = self.pool.try_permit(span) {
            return ask_on(permit, server, &Command::get(key), span);
        }
        let read = |permit: Permit<'_, Stream>, keys: &[&[u8]]| -> Result<Vec<Option<Versioned>>, Error> {
            ask_on(permit, server, &Command::get_many(keys), span)?.values()
        };
        self.reads.get(&self.pool, key, span, read).map(Reply::Value)
    }

    pub(super) fn ask(&self, server: &Server, command: &Command, span: Span) -> Result<Reply, Error> {
        ask_on(self.pool.permit(span)?, server, command, span)
    }
}

fn ask_on(
    permit: Permit<'_, Stream>,
    server: &Server,
    command: &Command,
    span: Span,
) -> Result<Reply, Error> {
    let connect = || connect(server, span.end);
    let call = |stream: &mut Stream| judge(exchange(stream, &command.packed, span.end)?, command.expected);
    permit.run(command.retry, connect, call).and_then(identity)
}

/// A new connection, logged in.
fn connect(server: &Server, deadline: Instant) -> Result<Stream, Error> {
    let mut stream = dial(&server.address, deadline).map_err(of_io)?;
    for command in &server.login {
        check_login(exchange(&mut stream, &command.get_packed_command(), deadline))?;
    }
    Ok(stream)
}

fn exchange(stream: &mut Stream, request: &[u8], deadline: Instant) -> Result<Resp, Error> {
    stream.send(request, deadline).map_err(of_io)?;
    stream.receive(parse).map_err(of_io)?
}
