//! The [meta protocol](https://docs.memcached.org/protocols/meta/): what is asked, and what the answers mean.
//!
//! Answers are parsed by the memcache crate, without its clients and connections: they have one timeout for all calls,
//! so none could keep a call's deadline, and set it by four system calls per request.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memcache::exp::{Error as Cause, MetaCommandResult, MetaResponse, ReturnCode, parse_meta_result};

use super::unexpected;
use crate::error::{Error, ErrorKind};
use crate::net::read_buffer::{Cursor, Stop, number};

/// What the server itself takes as a key is shorter than the contract's, and no white space.
const MAX_KEY: usize = 250;

/// Starts the keys that are hashed. A key that starts with it is hashed too, so none can pose as one.
const HASHED: u8 = b'~';

/// The longest lifetime that is sent. From 2038 on the server takes moments to be past, and for a
/// cache a year is as good as for ever.
const MAX_TTL: u64 = 365 * 86_400;

/// Up to here a lifetime is sent as such; the server takes larger numbers to be moments.
const MAX_RELATIVE: u64 = 30 * 86_400;

/// Room for a command with its key.
const USUAL_LEN: usize = 160;

/// A command, and the key that its answer has to be for.
///
/// Written here: the crate's encoder looks at each byte of a key twice, and takes as long as all else that a hit does.
pub(super) struct Request<'k> {
    pub(super) key: Cow<'k, [u8]>,
    line: Vec<u8>,
    value: Option<Bytes>,
}

impl<'k> Request<'k> {
    /// Every command asks for its key in the answer.
    fn new(name: &[u8], key: &'k [u8], value: Option<Bytes>) -> Self {
        let (key, mut line) = (wire_key(key), Vec::with_capacity(USUAL_LEN));
        line.extend_from_slice(name);
        line.push(b' ');
        line.extend_from_slice(&key);
        let request = Self { key, line, value };
        match request.value.as_ref().map(Bytes::len) {
            Some(len) => request.flag(&len.to_string()),
            None => request,
        }
        .flag("k")
    }

    fn flag(mut self, flag: &str) -> Self {
        self.line.push(b' ');
        self.line.extend_from_slice(flag.as_bytes());
        self
    }
}

pub(super) fn get(key: &[u8]) -> Request<'_> {
    exists(key).flag("v")
}

/// Asks for the value's version too, by which the server knows whether it is still there.
pub(super) fn get_version(key: &[u8]) -> Request<'_> {
    get(key).flag("c")
}

pub(super) fn exists(key: &[u8]) -> Request<'_> {
    Request::new(b"mg", key, None)
}

pub(super) fn set(key: &[u8], value: Bytes, ttl: Option<Duration>) -> Request<'_> {
    let request = Request::new(b"ms", key, Some(value));
    match ttl {
        Some(ttl) => request.flag(&format!("T{}", expiry(ttl, SystemTime::now()))),
        None => request,
    }
}

pub(super) fn add(key: &[u8], value: Bytes, ttl: Option<Duration>) -> Request<'_> {
    set(key, value, ttl).flag("ME")
}

pub(super) fn replace(key: &[u8], new: Bytes, ttl: Option<Duration>, version: u64) -> Request<'_> {
    set(key, new, ttl).flag(&format!("C{version}"))
}

pub(super) fn delete(key: &[u8]) -> Request<'_> {
    Request::new(b"md", key, None)
}

/// The bytes of requests that are sent together.
pub(super) fn encoded(requests: &[Request<'_>]) -> Vec<u8> {
    let value = |request: &Request<'_>| request.value.as_ref().map_or(0, |value| value.len() + 2);
    let len = requests.iter().map(|request| request.line.len() + 2 + value(request)).sum();
    let mut bytes = Vec::with_capacity(len);
    for request in requests {
        for part in [Some(&request.line[..]), request.value.as_deref()].into_iter().flatten() {
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

pub(super) fn wire_key(key: &[u8]) -> Cow<'_, [u8]> {
    // All bytes, whatever the first ones are: so the compiler looks at many at once.
    let is_graphic = || key.iter().fold(true, |so_far, byte| so_far & byte.is_ascii_graphic());
    let fits = (1..=MAX_KEY).contains(&key.len()) && is_graphic();
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

/// The answer to the request of `key`. One to another key shows that the connection has lost step, and neither
/// is used.
pub(super) fn answer(cursor: &mut Cursor<'_>, key: &[u8]) -> Result<MetaCommandResult, Stop> {
    let line = cursor.line()?;
    let parsed = MetaResponse::parse_header(line).and_then(parse_meta_result);
    let mut answer = parsed.map_err(|cause| refusal(&cause))?;
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

/// How long the value after a `VA` line is. The crate checks it and keeps it to itself.
fn length(line: &[u8]) -> Result<usize, Error> {
    let length = line.split(|byte| *byte == b' ').nth(1).and_then(number);
    length.and_then(|length| usize::try_from(length).ok()).ok_or_else(unexpected)
}

/// What a line says that is no outcome of a command.
fn refusal(cause: &Cause) -> Error {
    let kind = match cause {
        Cause::Server(message) if message.contains("too large") => ErrorKind::TooLarge,
        Cause::Rejected(message) if message.contains("unauthenticated") => ErrorKind::Denied,
        // How servers without the meta commands, and other servers, answer one.
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

/// What an answer means to the one who asked.
pub(super) type Read<T> = fn(MetaCommandResult) -> Result<T, Error>;

pub(super) fn value(answer: MetaCommandResult) -> Result<Option<Bytes>, Error> {
    match answer.rc {
        ReturnCode::Va => Ok(answer.value.map(Bytes::from)),
        ReturnCode::En => Ok(None),
        _ => Err(unexpected()),
    }
}

pub(super) fn versioned(answer: MetaCommandResult) -> Result<Option<(Bytes, u64)>, Error> {
    let version = answer.cas;
    let Some(value) = value(answer)? else { return Ok(None) };
    Ok(Some((value, version.ok_or_else(unexpected)?)))
}

#[expect(clippy::needless_pass_by_value, reason = "one signature for all readers")]
pub(super) fn done(answer: MetaCommandResult) -> Result<bool, Error> {
    match answer.rc {
        ReturnCode::Hd => Ok(true),
        // Nothing is there, or not what the command expects there.
        ReturnCode::En | ReturnCode::Nf | ReturnCode::Ns | ReturnCode::Ex => Ok(false),
        _ => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use memcache::exp::{MetaCommand, MetaOp};

    use super::*;
    use crate::net::read_buffer::Inbox;

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
        let wire = |request: Request<'_>| {
            assert_eq!(&*request.key, b"a");
            String::from_utf8(encoded(&[request])).unwrap()
        };
        assert_eq!(wire(get(b"a")), "mg a k v\r\n");
        assert_eq!(wire(exists(b"a")), "mg a k\r\n");
        assert_eq!(wire(set(b"a", Bytes::new(), None)), "ms a 0 k\r\n\r\n");
        assert_eq!(wire(add(b"a", "xy".into(), Some(Duration::from_secs(9)))), "ms a 2 k T10 ME\r\nxy\r\n");
        assert_eq!(wire(get_version(b"a")), "mg a k v c\r\n");
        assert_eq!(wire(replace(b"a", "xy".into(), None, 7)), "ms a 2 k C7\r\nxy\r\n");
        assert_eq!(wire(delete(b"a")), "md a k\r\n");
        assert_eq!(encoded(&[delete(b"a"), exists(b" ")]).len(), "md a k\r\nmg  k\r\n".len() + 65);
    }

    #[test]
    fn requests_are_what_the_crate_makes_of_them() {
        let theirs = |op, value: Option<&str>, flags: &[&str]| {
            let command = flags.iter().fold(MetaCommand::new(op, "a"), |command, flag| command.flag(*flag));
            value.into_iter().fold(command, MetaCommand::value).encode().unwrap()
        };
        let ttl = Some(Duration::from_secs(9));
        assert_eq!(encoded(&[get_version(b"a")]), theirs(MetaOp::Get, None, &["k", "v", "c"]));
        assert_eq!(
            encoded(&[add(b"a", "xy".into(), ttl)]),
            theirs(MetaOp::Set, Some("xy"), &["k", "T10", "ME"])
        );
        assert_eq!(encoded(&[delete(b"a")]), theirs(MetaOp::Delete, None, &["k"]));
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
            [&b"HD kb\r\n"[..], b"EN kb\r\n", b"HD\r\n", b"MN\r\n", b"ME ka\r\n", b"\r\n", b"VA 0 ka\r\n\r\n"]
        {
            assert_eq!(read(line, done), Err(ErrorKind::Protocol), "{}", line.escape_ascii());
        }
        for line in [
            &b"HD ka\r\n"[..],
            b"VA 1 kb\r\nx\r\n",
            b"VA 1\r\nx\r\n",
            b"VA +1 ka\r\nx\r\n",
            b"VA  1 ka\r\nx\r\n",
            b"VA 1 ka\r\nxyz",
            b"VA -1 ka\r\n",
            b"VA 1073741825 ka\r\n",
            b"VA\r\n",
        ] {
            assert_eq!(read(line, value), Err(ErrorKind::Protocol), "{}", line.escape_ascii());
        }
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
