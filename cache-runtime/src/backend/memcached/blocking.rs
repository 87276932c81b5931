//! The connections of blocking callers to one server.

use std::pin::pin;

use super::command::Command;
use super::exchange::{log_in, perform};
use super::reply::{Read, of_io, unexpected, value};
use super::url::Server;
use super::{Request, Span, Versioned};
use crate::backend::large_values::LargeValues;
use crate::common::wait::block_on;
use crate::error::Error;
use crate::net::dial::dial;
use crate::net::options::Options;
use crate::net::pool::idle::{Connection, Retry};
use crate::net::pool::{Permit, Pool};
use crate::net::shared_reads::SharedReads;
use crate::net::stream::Stream;

pub(super) struct Connections {
    pool: Pool<Stream>,
    reads: SharedReads<Versioned>,
}

impl Connections {
    pub(super) fn new(options: &Options) -> Self {
        Self { pool: Pool::new(options), reads: SharedReads::default() }
    }

    /// Reads one value. If all connections are busy, the read shares a request with others.
    pub(super) fn get(
        &self,
        server: &Server,
        large: &LargeValues,
        key: &[u8],
        span: Span,
    ) -> Result<Option<Versioned>, Error> {
        let permit = self.pool.try_permit(span);
        if permit.is_some() || large.travels_alone(key) {
            let permit = permit.map_or_else(|| self.pool.permit(span), Ok)?;
            let mut values = ask_on(permit, server, &[Command::get(key)], value, span)?;
            return values.pop().ok_or_else(unexpected);
        }
        self.reads.get(&self.pool, key, span, |permit, keys| {
            let commands: Vec<_> = keys.iter().map(|key| Command::get(key)).collect();
            let values = ask_on(permit, server, &commands, value, span);
            Ok(large.note_shared(&Request::GetMany(keys), values)?.into_iter().map(Ok).collect())
        })
    }

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
    let connect = || {
        let mut stream = dial(&server.address, server.tls.as_ref(), span.end).map_err(of_io)?;
        stream.begin(span.end);
        block_on(pin!(log_in(&mut stream, server)))?;
        Ok(stream)
    };
    let retry = commands.first().map_or(Retry::Once, |command| command.retry);
    permit.run(retry, connect, |stream| block_on(pin!(perform(stream, commands, read))))
}
