//! Requests as [commands](https://redis.io/docs/latest/commands/), packed as they are sent.

use std::time::Duration;

use ::redis::cmd;

use super::SetOptions;

/// The longest lifetime that is sent. The server adds it to its clock and rejects an overflow.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A command, packed, with the kind of reply that it gets.
pub(super) struct Command {
    pub(super) packed: Vec<u8>,
    pub(super) expected: Expected,
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
    /// How many of several keys it was.
    Total,
    /// A sum, or nil.
    Number,
    /// Milliseconds; -1 is forever, and -2 that there is no entry.
    Ttl,
}

impl Command {
    /// The hot path: everything but the key is constant.
    pub(super) fn get(key: &[u8]) -> Self {
        const HEAD: &[u8] = b"*2\r\n$3\r\nGET\r\n";
        let mut packed = Vec::with_capacity(HEAD.len() + key.len() + USUAL_FRAME);
        packed.extend_from_slice(HEAD);
        push_argument(key, &mut packed);
        Self { packed, expected: Expected::Value }
    }

    pub(super) fn get_many(keys: &[&[u8]]) -> Self {
        Self { packed: pack(b"MGET", keys), expected: Expected::Values(keys.len()) }
    }

    pub(super) fn delete(key: &[u8]) -> Self {
        Self { packed: cmd("DEL").arg(key).get_packed_command(), expected: Expected::Count }
    }

    pub(super) fn delete_many(keys: &[&[u8]]) -> Self {
        Self { packed: cmd("DEL").arg(keys).get_packed_command(), expected: Expected::Total }
    }

    pub(super) fn contains(key: &[u8]) -> Self {
        Self { packed: cmd("EXISTS").arg(key).get_packed_command(), expected: Expected::Count }
    }

    pub(super) fn expire(key: &[u8], ttl: Duration) -> Self {
        let packed = cmd("PEXPIRE").arg(key).arg(millis(ttl)).get_packed_command();
        Self { packed, expected: Expected::Count }
    }

    /// Replied to with whether the entry had a lifetime.
    pub(super) fn persist(key: &[u8]) -> Self {
        Self { packed: cmd("PERSIST").arg(key).get_packed_command(), expected: Expected::Count }
    }

    pub(super) fn ttl(key: &[u8]) -> Self {
        Self { packed: cmd("PTTL").arg(key).get_packed_command(), expected: Expected::Ttl }
    }

    /// Creates the number if there is none.
    pub(super) fn incr(key: &[u8], by: i64) -> Self {
        Self { packed: cmd("INCRBY").arg(key).arg(by).get_packed_command(), expected: Expected::Number }
    }

    /// Adds only to what is there.
    pub(super) fn incr_by_script(key: &[u8], by: i64) -> Self {
        const SCRIPT: &str = "if redis.call('EXISTS', KEYS[1]) == 1 then \
            return redis.call('INCRBY', KEYS[1], ARGV[1]) end return false";
        let packed = cmd("EVAL").arg(SCRIPT).arg(1).arg(key).arg(by).get_packed_command();
        Self { packed, expected: Expected::Number }
    }
}

/// A value to be stored.
#[derive(Clone, Copy)]
pub(super) struct Set<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) options: SetOptions,
}

impl Set<'_> {
    pub(super) fn always(&self) -> Command {
        self.with(&[])
    }

    pub(super) fn if_absent(&self) -> Command {
        self.with(&[b"NX"])
    }

    /// Redis 8.4, Valkey 8.1.
    pub(super) fn if_equal(&self, old: &[u8]) -> Command {
        self.with(&[b"IFEQ", old])
    }

    /// The script travels with each call. That costs less than the state and the second round trip that a script known by
    /// its digest would need after each restart of the server.
    pub(super) fn by_script(&self, old: &[u8]) -> Command {
        const SCRIPT: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
            return redis.call('SET', KEYS[1], unpack(ARGV, 2)) end return false";
        let mut eval = cmd("EVAL");
        eval.arg(SCRIPT).arg(1).arg(self.key).arg(old).arg(self.value);
        if let Some(ttl) = self.options.ttl {
            eval.arg("PX").arg(millis(ttl));
        }
        Command { packed: eval.get_packed_command(), expected: Expected::Stored }
    }

    fn with(&self, condition: &[&[u8]]) -> Command {
        let ttl = self.options.ttl.map(|ttl| millis(ttl).to_string());
        let ttl: &[&[u8]] = match &ttl {
            Some(ttl) => &[b"PX", ttl.as_bytes()],
            None => &[],
        };
        let packed = pack(b"SET", &[&[self.key, self.value], ttl, condition].concat());
        Command { packed, expected: Expected::Stored }
    }
}

/// Packs a command that hits and misses use, or one without arguments. All others use the encoder of redis-rs, which copies each argument twice and
/// takes four times as long.
pub(super) fn pack(name: &[u8], args: &[&[u8]]) -> Vec<u8> {
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
    use super::*;

    #[test]
    fn commands_are_packed_as_redis_rs_packs_them() {
        let (key, long) = (b"a key".as_slice(), [b'k'; 12_345].as_slice());
        let theirs = |name: &str, args: &[&[u8]]| cmd(name).arg(args).get_packed_command();
        for len in [0, 1, 9, 10, 101, 12_345] {
            assert_eq!(Command::get(&long[..len]).packed, theirs("GET", &[&long[..len]]));
        }
        let many = [[key; 100].as_slice(), &[long]].concat();
        assert_eq!(Command::get_many(&many).packed, theirs("MGET", &many));
        let set = |value, options| Set { key, value, options };
        let (forever, minute) = (SetOptions::new(), SetOptions::new().ttl(Duration::from_secs(60)));
        assert_eq!(set(b"\r\n", forever).always().packed, theirs("SET", &[key, b"\r\n"]));
        let minute = set(b"v", minute);
        assert_eq!(minute.if_absent().packed, theirs("SET", &[key, b"v", b"PX", b"60000", b"NX"]));
        let if_equal: [&[u8]; 6] = [key, b"v", b"PX", b"60000", b"IFEQ", b"old"];
        assert_eq!(minute.if_equal(b"old").packed, theirs("SET", &if_equal));
        let script = String::from_utf8(minute.by_script(b"old").packed).unwrap();
        assert!(script.ends_with("$3\r\nold\r\n$1\r\nv\r\n$2\r\nPX\r\n$5\r\n60000\r\n"), "{script}");
        assert_eq!(pack(b"MULTI", &[]), theirs("MULTI", &[]));
    }

    #[test]
    fn lifetimes_are_rounded_up_and_bounded() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1_500)), 2);
        assert_eq!(millis(Duration::from_millis(1_500)), 1_500);
        assert_eq!(millis(Duration::MAX), 3_153_600_000_000);
    }
}
