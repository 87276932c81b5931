//! Requests as [commands](https://redis.io/docs/latest/commands/), packed as they are sent.

use std::time::Duration;

use ::redis::cmd;

use super::{Condition, Request, SetOptions};
use crate::net::pool::Retry;

/// The longest lifetime that is sent. The server adds it to its clock and rejects an overflow.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A command, packed, with the kind of reply that it gets.
pub(super) struct Command {
    pub(super) packed: Vec<u8>,
    pub(super) expected: Expected,
    /// A set that runs twice may undo what others did between, so it is sent only once.
    pub(super) retry: Retry,
}

/// The replies that fit a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A bulk string or nil.
    Value,
    /// This many bulk strings or nils.
    Values(usize),
    /// `OK`, or nil if the condition did not hold.
    Stored,
    /// A number, of which zero means no.
    Count,
}

impl Command {
    pub(super) fn of(request: &Request<'_>) -> Self {
        match request {
            Request::Get(key) => Self::get(key),
            Request::GetMany(keys) => Self::get_many(keys),
            Request::Set { key, value, options, condition } => Self::set(key, value, *options, *condition),
            Request::Delete(key) => {
                let packed = cmd("DEL").arg(*key).get_packed_command();
                Self { packed, expected: Expected::Count, retry: Retry::Once }
            }
        }
    }

    /// The hot path: everything but the key is constant.
    pub(super) fn get(key: &[u8]) -> Self {
        const HEAD: &[u8] = b"*2\r\n$3\r\nGET\r\n";
        let mut packed = Vec::with_capacity(HEAD.len() + key.len() + USUAL_FRAME);
        packed.extend_from_slice(HEAD);
        push_argument(key, &mut packed);
        Self { packed, expected: Expected::Value, retry: Retry::Once }
    }

    pub(super) fn get_many(keys: &[&[u8]]) -> Self {
        let expected = Expected::Values(keys.len());
        Self { packed: pack(b"MGET", keys), expected, retry: Retry::Once }
    }

    fn set(key: &[u8], value: &[u8], options: SetOptions, condition: Condition<'_>) -> Self {
        let ttl = options.ttl.map(|ttl| millis(ttl).to_string());
        let ttl: &[&[u8]] = match &ttl {
            Some(ttl) => &[b"PX", ttl.as_bytes()],
            None => &[],
        };
        let packed = match condition {
            Condition::Always => pack(b"SET", &[&[key, value], ttl].concat()),
            Condition::Absent => pack(b"SET", &[&[key, value], ttl, &[b"NX"]].concat()),
            Condition::Equals { bytes, .. } => compare_and_set(key, bytes, value, ttl),
        };
        Self { packed, expected: Expected::Stored, retry: Retry::Never }
    }
}

/// The script travels with each call. That costs less than the state and the second round trip that a script known by its
/// digest would need after each restart of the server.
fn compare_and_set(key: &[u8], old: &[u8], new: &[u8], ttl: &[&[u8]]) -> Vec<u8> {
    const SCRIPT: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
        return redis.call('SET', KEYS[1], unpack(ARGV, 2)) end return false";
    cmd("EVAL").arg(SCRIPT).arg(1).arg(key).arg(old).arg(new).arg(ttl).get_packed_command()
}

/// Packs a command that hits and misses use. All others use the encoder of redis-rs, which copies each argument twice and
/// takes four times as long.
fn pack(name: &[u8], args: &[&[u8]]) -> Vec<u8> {
    let parts = || [name].into_iter().chain(args.iter().copied());
    let len = parts().map(|part| part.len() + USUAL_FRAME).sum::<usize>();
    let mut packed = Vec::with_capacity(USUAL_FRAME + len);
    push_header(b'*', 1 + args.len(), &mut packed);
    parts().for_each(|part| push_argument(part, &mut packed));
    packed
}

/// The bytes around an argument: `$`, a length below 10,000 and two line breaks.
const USUAL_FRAME: usize = 9;

/// Appends an argument of a command.
fn push_argument(part: &[u8], out: &mut Vec<u8>) {
    push_header(b'$', part.len(), out);
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line that announces a count or a length.
fn push_header(kind: u8, count: usize, out: &mut Vec<u8>) {
    let (mut line, mut start, mut rest) = (*b"                    \r\n", 20, count);
    while start == 20 || rest > 0 {
        start -= 1;
        line[start] = b"0123456789"[rest % 10];
        rest /= 10;
    }
    out.push(kind);
    out.extend_from_slice(&line[start..]);
}

/// Rounded up: the server rejects a lifetime of zero, and an entry must not expire too early.
fn millis(ttl: Duration) -> u64 {
    let ttl = ttl.clamp(Duration::from_millis(1), MAX_TTL);
    ttl.as_secs() * 1000 + u64::from(ttl.subsec_nanos().div_ceil(1_000_000))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::backend::request::Version;

    #[test]
    fn commands_are_packed_as_redis_rs_packs_them() {
        let (key, long) = (b"a key".as_slice(), [b'k'; 12_345].as_slice());
        let theirs = |name: &str, args: &[&[u8]]| cmd(name).arg(args).get_packed_command();
        for len in [0, 1, 9, 10, 101, 12_345] {
            assert_eq!(Command::get(&long[..len]).packed, theirs("GET", &[&long[..len]]));
        }
        let many = [[key; 100].as_slice(), &[long]].concat();
        assert_eq!(Command::get_many(&many).packed, theirs("MGET", &many));
        let set = |value: &'static [u8], options, condition| {
            let value = Bytes::from_static(value);
            Command::of(&Request::Set { key, value, options, condition }).packed
        };
        let forever = SetOptions::new();
        assert_eq!(set(b"\r\n", forever, Condition::Always), theirs("SET", &[key, b"\r\n"]));
        let minute = forever.ttl(Duration::from_secs(60));
        let added = theirs("SET", &[key, b"v", b"PX", b"60000", b"NX"]);
        assert_eq!(set(b"v", minute, Condition::Absent), added);
        let swapped = String::from_utf8(set(
            b"v",
            minute,
            Condition::Equals { bytes: b"old", version: Version::UNKNOWN },
        ))
        .unwrap();
        assert!(swapped.ends_with("$3\r\nold\r\n$1\r\nv\r\n$2\r\nPX\r\n$5\r\n60000\r\n"), "{swapped}");
    }

    #[test]
    fn lifetimes_are_rounded_up_and_bounded() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1_500)), 2);
        assert_eq!(millis(Duration::from_millis(1_500)), 1_500);
        assert_eq!(millis(Duration::MAX), 3_153_600_000_000);
    }
}
