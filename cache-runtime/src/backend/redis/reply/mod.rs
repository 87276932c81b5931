//! The server's replies ([RESP2](https://redis.io/docs/latest/develop/reference/protocol-spec/)), as far as the commands
//! of this crate get them, and what its errors mean.
//!
//! The parser of redis-rs takes 8,200 instructions for a value of 100 bytes, most of them to clear a buffer before each
//! read; this one takes 800. It leaves errors and numbers to redis-rs.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::time::Duration;

use ::redis::{ErrorKind as Cause, RedisError, ServerErrorKind, Value, parse_redis_value};
use bytes::Bytes;

use super::command::Expected;
use super::refusal::refusal;
use super::{Reply, Version, Versioned};
use crate::backend::request::not_a_number;
use crate::error::{Effect, Error, ErrorKind, Reason};
use crate::net::read_buffer::{Cursor, ParseError, number};
use crate::net::tls;

/// Values that arrive together share one allocation up to this length. One value that is kept keeps the others.
const SHARED: usize = 32 << 10;

/// A reply as it is on the wire.
#[derive(Debug, PartialEq)]
pub(super) enum Resp {
    Bulk(Option<Bytes>),
    Array(Vec<Option<Bytes>>),
    /// Anything that is not a value.
    Other(Value),
}

/// Parses the next reply.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Resp, ParseError> {
    let line = cursor.line()?;
    parse_after(line, cursor)
}

/// Parses the reply that begins with `line`.
fn parse_after(line: &[u8], cursor: &mut Cursor<'_>) -> Result<Resp, ParseError> {
    match line {
        [b'$', len @ ..] => {
            let value = bulk(cursor, len)?;
            Ok(Resp::Bulk(value.map(|range| Bytes::copy_from_slice(cursor.at(range)))))
        }
        [b'*', count @ ..] => Ok(Resp::Array(array(cursor, length(count)?)?)),
        b"+OK" => Ok(Resp::Other(Value::Okay)),
        [b'+' | b'-' | b':', ..] => {
            Ok(Resp::Other(parse_redis_value(&[line, b"\r\n"].concat()).map_err(of_redis)?))
        }
        _ => Err(unexpected().into()),
    }
}

/// How deep the lists of a [nested](parse_nested) reply may be. Those that are asked for have four levels.
const MAX_DEPTH: usize = 8;

/// Parses a reply that may hold lists of lists.
pub(super) fn parse_nested(cursor: &mut Cursor<'_>) -> Result<Value, ParseError> {
    nested(cursor, MAX_DEPTH)
}

fn nested(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, ParseError> {
    match cursor.line()? {
        b"*-1" => Ok(Value::Nil),
        [b'*', count @ ..] if depth > 0 => {
            // Grows as items arrive, whatever count the server announces.
            let mut items = Vec::new();
            for _ in 0..length(count)? {
                items.push(nested(cursor, depth - 1)?);
            }
            Ok(Value::Array(items))
        }
        line => match parse_after(line, cursor)? {
            Resp::Bulk(Some(bytes)) => Ok(Value::BulkString(bytes.to_vec())),
            Resp::Bulk(None) => Ok(Value::Nil),
            Resp::Other(value) => Ok(value),
            Resp::Array(_) => Err(unexpected().into()),
        },
    }
}

/// Parses the reply to the `EXEC` of a transaction with one command: that command's reply, or nil if a watched key has
/// changed.
pub(super) fn parse_exec(cursor: &mut Cursor<'_>) -> Result<Resp, ParseError> {
    match cursor.line()? {
        b"*-1" => Ok(Resp::Bulk(None)),
        b"*1" => parse(cursor),
        line => parse_after(line, cursor),
    }
}

/// The range of the value whose length the line announces; `None` for nil.
fn bulk(cursor: &mut Cursor<'_>, len: &[u8]) -> Result<Option<Range<usize>>, ParseError> {
    match len {
        b"-1" => Ok(None),
        len => cursor.value(length(len)?).map(Some),
    }
}

fn array(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Option<Bytes>>, ParseError> {
    let (start, arrived) = (cursor.position(), cursor.rest());
    // Bounded by the bytes that have arrived, whatever count the server announces.
    let mut ranges = Vec::with_capacity(count.min(arrived / b"$-1\r\n".len()));
    for _ in 0..count {
        match cursor.line()? {
            [b'$', len @ ..] => ranges.push(bulk(cursor, len)?),
            _ => return Err(unexpected().into()),
        }
    }
    let whole = cursor.at(start..cursor.position());
    let within = |range: Range<usize>| range.start - start..range.end - start;
    let ranges = ranges.into_iter().map(|range| range.map(within));
    if whole.len() > SHARED {
        return Ok(ranges.map(|range| range.map(|range| Bytes::copy_from_slice(&whole[range]))).collect());
    }
    let whole = Bytes::copy_from_slice(whole);
    Ok(ranges.map(|range| range.map(|range| whole.slice(range))).collect())
}

fn length(text: &[u8]) -> Result<usize, ParseError> {
    let length = number(text).and_then(|length| usize::try_from(length).ok());
    length.ok_or_else(|| unexpected().into())
}

/// What a reply means to the caller. The outer error is the connection's: a reply that doesn't fit the command shows that it
/// has lost step, and some refusals that it leads to the wrong server. The inner error is the server's.
pub(super) fn judge(resp: Resp, expected: Expected) -> Result<Result<Reply, Error>, Error> {
    let said = match resp {
        Resp::Bulk(value) if expected == Expected::Value => {
            return Ok(Ok(Reply::Value(value.map(Versioned::from))));
        }
        Resp::Bulk(None) if expected == Expected::Stored => return Ok(Ok(Reply::Set(None))),
        Resp::Bulk(None) if expected == Expected::Number => return Ok(Ok(Reply::Number(None))),
        Resp::Array(values) if expected == Expected::Values(values.len()) => {
            let values = values.into_iter().map(|value| value.map(Versioned::from));
            return Ok(Ok(Reply::Values(values.collect())));
        }
        Resp::Bulk(_) | Resp::Array(_) => return Err(unexpected()),
        Resp::Other(said) => said,
    };
    match (said.extract_error(), expected) {
        (Err(error), Expected::Number) if is_about_number(&error) => Ok(Err(not_a_number())),
        (Err(error), _) => refused(of_redis(error)),
        (Ok(Value::Okay), Expected::Stored) => Ok(Ok(Reply::Set(Some(Version::UNKNOWN)))),
        (Ok(Value::Int(count)), Expected::Count) => Ok(Ok(Reply::Done(count > 0))),
        (Ok(Value::Int(count)), Expected::Total) => {
            Ok(Ok(Reply::Count(usize::try_from(count).map_err(|_| unexpected())?)))
        }
        (Ok(Value::Int(sum)), Expected::Number) => Ok(Ok(Reply::Number(Some(sum)))),
        (Ok(Value::Int(left)), Expected::Ttl) => Ok(Ok(Reply::Ttl(match left {
            -1 => Some(Duration::MAX),
            left => u64::try_from(left).ok().map(Duration::from_millis),
        }))),
        _ => Err(unexpected()),
    }
}

/// Whether the server refuses to add to what is there. A script quotes the error.
fn is_about_number(error: &RedisError) -> bool {
    let text = error.to_string();
    ["not an integer", "would overflow", "WRONGTYPE"].iter().any(|known| text.contains(known))
}

fn refused<T>(error: Error) -> Result<Result<T, Error>, Error> {
    match error.has_effect(Effect::Connection) || error.has_effect(Effect::NewConnection) {
        true => Err(error),
        false => Ok(Err(error)),
    }
}

/// Checks that the reply is this word.
pub(super) fn check_word(resp: Resp, word: &str) -> Result<(), Error> {
    let said = match resp {
        Resp::Other(said) => said.extract_error().map_err(of_redis)?,
        Resp::Bulk(_) | Resp::Array(_) => return Err(unexpected()),
    };
    match said {
        Value::Okay if word == "OK" => Ok(()),
        Value::SimpleString(text) if text == word => Ok(()),
        _ => Err(unexpected()),
    }
}

/// Checks the reply to an empty transaction, which is nil if a watched key has changed.
pub(super) fn check_nothing_done(resp: Resp) -> Result<(), Error> {
    match resp {
        Resp::Bulk(None) => Ok(()),
        Resp::Array(replies) if replies.is_empty() => Ok(()),
        Resp::Other(said) => Err(said.extract_error().err().map_or_else(unexpected, of_redis)),
        _ => Err(unexpected()),
    }
}

/// Checks the reply to a login command. Errors don't repeat what the server says: servers without `AUTH`, and proxies,
/// reply with the arguments of the command.
pub(super) fn check_login(reply: Result<Resp, Error>) -> Result<(), Error> {
    let said = match reply {
        Ok(Resp::Other(Value::Okay)) => return Ok(()),
        Ok(Resp::Other(said)) => said.extract_error().err(),
        Ok(Resp::Bulk(_) | Resp::Array(_)) => None,
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
            return Err(error);
        }
        // It may quote the password.
        Err(_) => None,
    };
    let Some(error) = said else { return Err(unexpected()) };
    let blames_login =
        ["AUTH", "password", "SELECT", "DB index"].iter().any(|word| error.to_string().contains(word));
    Err(match refusal(&error) {
        Some(refusal) if !blames_login => {
            let message = format!("{}; {}", refusal.code, refusal.advice);
            Error::new(kind(&error), message).because(Reason::Refusal(refusal))
        }
        _ => {
            let kind = if blames_login { ErrorKind::Denied } else { kind(&error) };
            Error::new(kind, "the server refused the user, the password or the database")
        }
    })
}

/// Checks the reply to `ROLE`. Accounts that may not ask are trusted to be at the primary.
pub(super) fn check_role(reply: Value) -> Result<(), Error> {
    let role = match reply.extract_error().map_err(of_redis) {
        Err(error) if error.has_effect(Effect::Command) => return Ok(()),
        reply => reply?,
    };
    let Value::Array(items) = role else { return Err(unexpected()) };
    match items.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => {
            let message = "the sentinels name a server that is not the primary";
            Err(Error::new(ErrorKind::Unavailable, message))
        }
    }
}

pub(super) fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer doesn't fit the command")
}

/// The error for a broken connection.
pub(super) fn of_io(error: io::Error) -> Error {
    tls::explain(&error).unwrap_or_else(|| of_redis(error.into()))
}

pub(super) fn of_redis(error: RedisError) -> Error {
    let kind = kind(&error);
    let refusal = refusal(&error);
    let message = match (kind, refusal) {
        (ErrorKind::Timeout, _) => "no answer within the deadline".to_owned(),
        (_, Some(refusal)) => format!("{error}; {}", refusal.advice),
        _ => error.to_string(),
    };
    let reason = refusal.map_or(Reason::Kind, Reason::Refusal);
    Error::new(kind, message).with_source(error).because(reason)
}

fn kind(error: &RedisError) -> ErrorKind {
    match error.kind() {
        Cause::Io if error.is_timeout() => ErrorKind::Timeout,
        Cause::Io => ErrorKind::Unavailable,
        Cause::AuthenticationFailed | Cause::Server(ServerErrorKind::NoPerm) => ErrorKind::Denied,
        Cause::Server(_) => ErrorKind::Server,
        Cause::Extension => match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "DENIED") => ErrorKind::Denied,
            _ => ErrorKind::Server,
        },
        _ => ErrorKind::Protocol,
    }
}
