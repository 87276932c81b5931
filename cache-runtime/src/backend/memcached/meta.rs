//! The [meta protocol](https://docs.memcached.org/protocols/meta/): requests, answers, and what the answers mean.
//!
//! The memcache crate's clients have one timeout for all calls, so none could keep a call's deadline. Its wire layer sets
//! socket timeouts by four system calls per request, and allocates for each flag of an answer.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::unexpected;
use crate::backend::inbox::{Cursor, Stop, number};
use crate::error::{Error, ErrorKind};

/// What the server itself takes as a key is shorter than the contract's, and no white space.
const MAX_KEY: usize = 250;

/// Starts the keys that are hashed. A key that starts with it is hashed too, so none can pose as one.
const HASHED: u8 = b'~';

/// The longest lifetime that is sent. From 2038 on the server takes moments to be past, and for a
/// cache a year is as good as for ever.
const MAX_TTL: u64 = 365 * 86_400;

/// Up to here a lifetime is sent as such; the server takes larger numbers to be moments.
const MAX_RELATIVE: u64 = 30 * 86_400;

/// A request as it is sent.
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    key: Range<usize>,
}

impl Request {
    /// Every request asks for its key in the answer.
    fn new(command: &str, key: &[u8], value: Option<&[u8]>, flags: Arguments<'_>) -> Self {
        let key = wire_key(key);
        let mut bytes = Vec::with_capacity(key.len() + value.map_or(0, <[u8]>::len) + 48);
        bytes.extend_from_slice(command.as_bytes());
        let start = bytes.len();
        bytes.extend_from_slice(&key);
        let key = start..bytes.len();
        // Writing to a vector can't fail.
        let _ = match value {
            Some(value) => write!(bytes, " {} k{flags}\r\n", value.len()),
            None => write!(bytes, " k{flags}\r\n"),
        };
        if let Some(value) = value {
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        Self { bytes, key }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[self.key.clone()]
    }
}

pub(super) fn get(key: &[u8]) -> Request {
    Request::new("mg ", key, None, format_args!(" v"))
}

/// Asks for the value's version too, by which the server knows whether it is still there.
pub(super) fn get_version(key: &[u8]) -> Request {
    Request::new("mg ", key, None, format_args!(" v c"))
}

pub(super) fn exists(key: &[u8]) -> Request {
    Request::new("mg ", key, None, format_args!(""))
}

pub(super) fn set(key: &[u8], value: &[u8], ttl: Option<Duration>) -> Request {
    store(key, value, ttl, format_args!(""))
}

pub(super) fn add(key: &[u8], value: &[u8], ttl: Option<Duration>) -> Request {
    store(key, value, ttl, format_args!(" ME"))
}

pub(super) fn replace(key: &[u8], new: &[u8], ttl: Option<Duration>, version: u64) -> Request {
    store(key, new, ttl, format_args!(" C{version}"))
}

pub(super) fn delete(key: &[u8]) -> Request {
    Request::new("md ", key, None, format_args!(""))
}

fn store(key: &[u8], value: &[u8], ttl: Option<Duration>, mode: Arguments<'_>) -> Request {
    match ttl.map(|ttl| expiry(ttl, SystemTime::now())) {
        Some(expiry) => Request::new("ms ", key, Some(value), format_args!(" T{expiry}{mode}")),
        None => Request::new("ms ", key, Some(value), mode),
    }
}

pub(super) fn wire_key(key: &[u8]) -> Cow<'_, [u8]> {
    let fits = (1..=MAX_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if fits && key[0] != HASHED {
        return key.into();
    }
    let mut hashed = vec![HASHED];
    hashed.extend_from_slice(blake3::hash(key).to_hex().as_bytes());
    hashed.into()
}

/// One second more than asked: the server's clock ticks once a second, and its next tick may be near.
fn expiry(ttl: Duration, now: SystemTime) -> u64 {
    let rounded_up = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    let seconds = rounded_up.saturating_add(1).min(MAX_TTL);
    if seconds <= MAX_RELATIVE {
        return seconds;
    }
    now.duration_since(UNIX_EPOCH).map_or(MAX_RELATIVE, |now| now.as_secs() + seconds)
}

/// What the server answered to a request.
#[derive(Debug)]
pub(super) struct Answer {
    outcome: Outcome,
    version: Option<u64>,
}

#[derive(Debug)]
enum Outcome {
    Value(Bytes),
    Done,
    /// Nothing is there, or not what the request expects there.
    Not,
}

/// The answer to the request of `key`. One to another key shows that the connection has lost step, and neither
/// is used.
pub(super) fn answer(cursor: &mut Cursor<'_>, key: &[u8]) -> Result<Answer, Stop> {
    let line = cursor.line()?;
    let mut words = line.split(|byte| *byte == b' ');
    let code = words.next().unwrap_or_default();
    let value = match code {
        b"VA" => Some(length(words.next())?),
        b"HD" | b"EN" | b"NF" | b"NS" | b"EX" => None,
        _ => return Err(refusal(line).into()),
    };
    let (mut echo, mut version) = (None, None);
    for word in words {
        match word {
            [b'k', key @ ..] => echo = Some(key),
            [b'c', digits @ ..] => version = number(digits),
            _ => {}
        }
    }
    match echo {
        Some(echo) if echo == key => {}
        // Older servers say nothing but `EN` on a miss.
        None if code == b"EN" => {}
        _ => return Err(unexpected().into()),
    }
    let outcome = match (value, code) {
        (Some(len), _) => {
            let value = cursor.value(len)?;
            Outcome::Value(Bytes::copy_from_slice(cursor.at(value)))
        }
        (None, b"HD") => Outcome::Done,
        (None, _) => Outcome::Not,
    };
    Ok(Answer { outcome, version })
}

fn length(word: Option<&[u8]>) -> Result<usize, Stop> {
    let length = word.and_then(number).and_then(|length| usize::try_from(length).ok());
    length.ok_or_else(|| unexpected().into())
}

/// What a line says that is no outcome of a command.
fn refusal(line: &[u8]) -> Error {
    let message = String::from_utf8_lossy(line).into_owned();
    let kind = match message.split(' ').next().unwrap_or_default() {
        "SERVER_ERROR" if message.contains("too large") => ErrorKind::TooLarge,
        "CLIENT_ERROR" if message.contains("unauthenticated") => ErrorKind::Denied,
        "SERVER_ERROR" | "CLIENT_ERROR" => ErrorKind::Server,
        _ => {
            // How servers without the meta commands, and other servers, answer one.
            let message = format!("{:?}; the meta commands of Memcached 1.6 are needed", abridged(&message));
            return Error::new(ErrorKind::Protocol, message);
        }
    };
    Error::new(kind, message)
}

fn abridged(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}

/// What an answer means to the one who asked.
pub(super) type Read<T> = fn(Answer) -> Result<T, Error>;

pub(super) fn value(answer: Answer) -> Result<Option<Bytes>, Error> {
    match answer.outcome {
        Outcome::Value(value) => Ok(Some(value)),
        Outcome::Not => Ok(None),
        Outcome::Done => Err(unexpected()),
    }
}

pub(super) fn versioned(answer: Answer) -> Result<Option<(Bytes, u64)>, Error> {
    let version = answer.version;
    let Some(value) = value(answer)? else { return Ok(None) };
    Ok(Some((value, version.ok_or_else(unexpected)?)))
}

pub(super) fn done(answer: Answer) -> Result<bool, Error> {
    match answer.outcome {
        Outcome::Done => Ok(true),
        Outcome::Not => Ok(false),
        Outcome::Value(_) => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::inbox::Inbox;

    #[test]
    fn keys_that_fit_go_as_they_are() {
        let longest = [b'k'; 250];
        for key in [&b"user:1"[..], b"!", b"a~b", &longest] {
            assert_eq!(&*wire_key(key), key);
        }
    }

    #[test]
    fn other_keys_are_hashed_and_never_meet() {
        let too_long = [b'k'; 251];
        let pretender = wire_key(b"");
        assert_eq!(&*pretender, b"~af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        let keys = [&b""[..], &pretender, b"~", b" ", b"a b", b"a\r\nb", b"\0", &[0xff], &too_long];
        let mut hashed: Vec<_> = keys.iter().map(|key| wire_key(key)).collect();
        assert!(hashed.iter().all(|key| key.len() == 65 && key[0] == HASHED));
        hashed.sort();
        hashed.dedup();
        assert_eq!(hashed.len(), keys.len());
    }

    #[test]
    fn lifetimes_are_rounded_up_and_bounded() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(expiry(Duration::ZERO, now), 1);
        assert_eq!(expiry(Duration::from_millis(1), now), 2);
        assert_eq!(expiry(Duration::from_secs(60), now), 61);
        assert_eq!(expiry(Duration::from_secs(MAX_RELATIVE - 1), now), MAX_RELATIVE);
        assert_eq!(expiry(Duration::from_secs(MAX_RELATIVE), now), 1_000_000_000 + MAX_RELATIVE + 1);
        assert_eq!(expiry(Duration::MAX, now), 1_000_000_000 + MAX_TTL);
    }

    #[test]
    fn requests_are_what_the_protocol_says() {
        let wire = |request: Request| {
            assert_eq!(request.key(), b"a");
            String::from_utf8(request.bytes).unwrap()
        };
        assert_eq!(wire(get(b"a")), "mg a k v\r\n");
        assert_eq!(wire(exists(b"a")), "mg a k\r\n");
        assert_eq!(wire(set(b"a", b"", None)), "ms a 0 k\r\n\r\n");
        assert_eq!(wire(add(b"a", b"xy", Some(Duration::from_secs(9)))), "ms a 2 k T10 ME\r\nxy\r\n");
        assert_eq!(wire(get_version(b"a")), "mg a k v c\r\n");
        assert_eq!(wire(replace(b"a", b"xy", None, 7)), "ms a 2 k C7\r\nxy\r\n");
        assert_eq!(wire(delete(b"a")), "md a k\r\n");
    }

    /// The answer to a request of the key `a`, if it is there whole.
    fn read<T>(bytes: &[u8], read: Read<T>) -> Result<Option<T>, ErrorKind> {
        let mut inbox = Inbox::default();
        inbox.space()[..bytes.len()].copy_from_slice(bytes);
        inbox.fill(bytes.len());
        let answer = inbox.take(|cursor| answer(cursor, b"a"));
        answer.and_then(|answer| answer.map(read).transpose()).map_err(|error| error.kind())
    }

    #[test]
    fn answers_are_what_the_protocol_says() {
        assert_eq!(read(b"VA 2 ka\r\nxy\r\n", value), Ok(Some(Some("xy".into()))));
        assert_eq!(read(b"VA 2 ka c7\r\nxy\r\n", versioned), Ok(Some(Some(("xy".into(), 7)))));
        assert_eq!(read(b"VA 4 ka\r\nxy", value), Ok(None), "the rest is on its way");
        assert_eq!(read(b"EN\r\n", value), Ok(Some(None)));
        assert_eq!(read(b"HD ka\r\n", done), Ok(Some(true)));
        for line in [&b"EN\r\n"[..], b"EN ka\r\n", b"NF ka\r\n", b"NS ka\r\n", b"EX ka\r\n"] {
            assert_eq!(read(line, done), Ok(Some(false)));
        }
    }

    #[test]
    fn answers_of_another_shape_or_for_another_key_are_refused() {
        for line in
            [&b"HD kb\r\n"[..], b"EN kb\r\n", b"HD\r\n", b"VA 0 ka\r\n\r\n", b"VA -1 ka\r\n", b"VA\r\n"]
        {
            assert_eq!(read(line, done), Err(ErrorKind::Protocol), "{}", line.escape_ascii());
        }
        assert_eq!(read(b"HD ka\r\n", value), Err(ErrorKind::Protocol));
        assert_eq!(read(b"VA 0 ka\r\n\r\n", versioned).unwrap_err(), ErrorKind::Protocol);
    }

    #[test]
    fn errors_have_their_kinds() {
        for (line, kind) in [
            ("SERVER_ERROR object too large for cache", ErrorKind::TooLarge),
            ("SERVER_ERROR out of memory storing object", ErrorKind::Server),
            ("CLIENT_ERROR bad data chunk", ErrorKind::Server),
            ("CLIENT_ERROR unauthenticated", ErrorKind::Denied),
            ("ERROR", ErrorKind::Protocol),
            ("HTTP/1.1 400 Bad Request", ErrorKind::Protocol),
        ] {
            assert_eq!(read(format!("{line}\r\n").as_bytes(), done), Err(kind), "{line}");
        }
    }
}
