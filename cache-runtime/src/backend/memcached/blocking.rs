//! The connections of blocking callers to one server.

use std::time::Instant;

use super::command::{Command, pack};
use super::reply::{Read, of_io, parse, unexpected, value};
use super::url::Server;
use super::{Span, Versioned};
use crate::error::Error;
use crate::net::dial::dial;
use crate::net::options::Options;
use crate::net::pool::{self, Permit, Pool, Retry};
use crate::net::shared_reads::SharedReads;
use crate::net::stream::Stream;

/// The most commands that are written before their answers are read. With more, the buffers of both ends might fill up, and
/// each end would wait for the other to read.
pub(super) const CHUNK: usize = 256;

pub(super) struct Connections {
    pool: Pool<Stream>,
    reads: SharedReads<Versioned>,
}

impl Connections {
    pub(super) fn new(options: &Options) -> Self {
        Self { pool: Pool::new(options.pool(pool::DEFAULT_SIZE)), reads: SharedReads::default() }
    }

    /// Reads one value. If all connections are busy, the read shares a request with others.
    pub(super) fn get(&self, server: &Server, key: &[u8], span: Span) -> Result<Option<Versioned>, Error> {
        if let Some(permit) = self.pool.try_permit(span) {
            let mut values = ask_on(permit, server, &[Command::get(key)], value, span)?;
            return values.pop().ok_or_else(unexpected);
        }
        self.reads.get(&self.pool, key, span, |permit, keys| {
            let commands: Vec<_> = keys.iter().map(|key| Command::get(key)).collect();
            ask_on(permit, server, &commands, value, span)
        })
    }

    /// Sends commands together and reads their answers in order.
    pub(super) fn ask<T>(
        &self,
        server: &Server,
        commands: &[Command<'_>],
        read: Read<T>,
        span: Span,
    ) -> Result<Vec<T>, Error> {
        ask_on(self.pool.permit(span)?, server, commands, read, span)
    }
}

fn ask_on<T>(
    permit: Permit<'_, Stream>,
    server: &Server,
    commands: &[Command<'_>],
    read: Read<T>,
    span: Span,
) -> Result<Vec<T>, Error> {
    let connect = || dial(&server.address, span.end).map_err(of_io);
    let retry = commands.first().map_or(Retry::Once, |command| command.retry);
    permit.run(retry, connect, |stream| exchange(stream, commands, read, span.end))
}

fn exchange<T>(
    stream: &mut Stream,
    commands: &[Command<'_>],
    read: Read<T>,
    deadline: Instant,
) -> Result<Vec<T>, Error> {
    let mut values = Vec::with_capacity(commands.len());
    for commands in commands.chunks(CHUNK) {
        stream.send(&pack(commands), deadline).map_err(of_io)?;
        for command in commands {
            let answer = stream.receive(|cursor| parse(cursor, &command.key)).map_err(of_io)??;
            values.push(read(answer)?);
        }
    }
    Ok(values)
}
