//! The server's answers in the [meta protocol](https://docs.memcached.org/protocols/meta/), and what its errors mean.
//!
//! The memcache crate parses lines. Its clients and connections are not used: they have one timeout for all calls, so none
//! could keep a call's deadline, and they set it with four system calls per request.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use memcache::exp::{Error as Cause, MetaCommandResult, MetaResponse, ReturnCode, parse_meta_result};

use super::refusal::refusal;
use super::{Version, Versioned, number};
use crate::backend::request::not_a_number;
use crate::error::{Error, ErrorKind, Reason};
use crate::net::read_buffer::{Cursor, ParseError, number};
use crate::net::tls;

/// Parses the answer to the command of `key`. An answer for another key shows that the connection has lost step, and
/// neither is used.
pub(super) fn parse(cursor: &mut Cursor<'_>, key: &[u8]) -> Result<MetaCommandResult, ParseError> {
    let line = cursor.line()?;
    let parsed = MetaResponse::parse_header(line).and_then(parse_meta_result);
    let mut answer = parsed.map_err(|cause| of_server(&cause, line))?;
    match &answer.key {
        Some(echo) if echo == key => {}
        // Older servers say nothing but `EN` on a miss.
        None if answer.rc == ReturnCode::En => {}
        _ => return Err(unexpected().into()),
    }
    if answer.rc == ReturnCode::Va {
        let value = cursor.value(length(line)?)?;
        answer.value = Some(cursor.at(value).to_vec());
    }
    Ok(answer)
}

/// The length of the value after a `VA` line. The crate checks it but doesn't return it.
fn length(line: &[u8]) -> Result<usize, Error> {
    let length = line.split(|byte| *byte == b' ').nth(1).and_then(number);
    length.and_then(|length| usize::try_from(length).ok()).ok_or_else(unexpected)
}

/// What an answer means to the caller.
pub(super) type Read<T> = fn(MetaCommandResult) -> Result<T, Error>;

pub(super) fn value(answer: MetaCommandResult) -> Result<Option<Versioned>, Error> {
    let version = answer.cas.map_or(Version::UNKNOWN, Version);
    match (answer.rc, answer.value) {
        (ReturnCode::Va, Some(bytes)) => {
            let flags = answer.client_flags.unwrap_or(number::RAW);
            let bytes = number::loaded(bytes, flags).ok_or_else(unexpected)?;
            Ok(Some(Versioned { bytes, version }))
        }
        (ReturnCode::En, _) => Ok(None),
        _ => Err(unexpected()),
    }
}

/// The version of a stored value; `None` if the condition did not hold.
#[expect(clippy::needless_pass_by_value, reason = "one signature for all readers")]
pub(super) fn stored(answer: MetaCommandResult) -> Result<Option<Version>, Error> {
    match answer.rc {
        ReturnCode::Hd => Ok(Some(answer.cas.map_or(Version::UNKNOWN, Version))),
        // Something is there, nothing is there, or another version.
        ReturnCode::Ns | ReturnCode::Nf | ReturnCode::Ex => Ok(None),
        _ => Err(unexpected()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "one signature for all readers")]
pub(super) fn done(answer: MetaCommandResult) -> Result<bool, Error> {
    match answer.rc {
        ReturnCode::Hd => Ok(true),
        ReturnCode::Nf | ReturnCode::En => Ok(false),
        _ => Err(unexpected()),
    }
}

/// The time that is left.
#[expect(clippy::needless_pass_by_value, reason = "one signature for all readers")]
pub(super) fn ttl(answer: MetaCommandResult) -> Result<Option<Duration>, Error> {
    match (answer.rc, answer.ttl) {
        (ReturnCode::Hd, Some(-1)) => Ok(Some(Duration::MAX)),
        (ReturnCode::Hd, Some(left)) => Ok(Some(Duration::from_secs(left.try_into().unwrap_or(0)))),
        (ReturnCode::En, _) => Ok(None),
        _ => Err(unexpected()),
    }
}

/// The number after it was added to, with its offset.
pub(super) fn sum(answer: MetaCommandResult) -> Result<Option<u64>, Error> {
    match (answer.rc, answer.value) {
        (ReturnCode::Va, Some(text)) => number::number(&text).map(Some).ok_or_else(unexpected),
        (ReturnCode::Nf, _) => Ok(None),
        _ => Err(unexpected()),
    }
}

/// Checks the answer to a login. Errors don't repeat what the server says: it may be the password.
pub(super) fn check_login(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    match cursor.line()? {
        b"STORED" => Ok(()),
        line if line.starts_with(b"CLIENT_ERROR") => {
            Err(Error::new(ErrorKind::Denied, "the server refused the user or the password").into())
        }
        _ => Err(unexpected().into()),
    }
}

pub(super) fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer doesn't fit the command")
}

/// The error for a broken connection.
pub(super) fn of_io(error: io::Error) -> Error {
    if let Some(explained) = tls::explain(&error) {
        return explained;
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Error::new(ErrorKind::Timeout, "no answer within the deadline").with_source(error)
        }
        _ => Error::new(ErrorKind::Unavailable, error.to_string()).with_source(error),
    }
}

/// The error for a line that is not the outcome of a command.
fn of_server(cause: &Cause, line: &[u8]) -> Error {
    if let Some(refusal) = refusal(&String::from_utf8_lossy(line)) {
        let message = format!("{}; {}", refusal.code, refusal.advice);
        return Error::new(ErrorKind::Server, message).because(Reason::Refusal(refusal));
    }
    let kind = match cause {
        Cause::Server(message) if message.contains("too large") => ErrorKind::TooLarge,
        Cause::Rejected(message) if message.contains("non-numeric") => return not_a_number(),
        Cause::Rejected(message) if message.contains("unauthenticated") => {
            let message = "the server wants a user and a password: `memcached://user:password@host`";
            return Error::new(ErrorKind::Denied, message);
        }
        // The answer of servers without the meta commands, and of other servers.
        Cause::Rejected(message) if message == "ERROR" => ErrorKind::Protocol,
        Cause::Server(_) | Cause::Rejected(_) => ErrorKind::Server,
        _ => ErrorKind::Protocol,
    };
    let mut message = cause.to_string();
    if kind == ErrorKind::Protocol {
        message = format!("{}; the meta commands of Memcached 1.6 are needed", abridged(&message));
    }
    Error::new(kind, message)
}

fn abridged(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}
