//! Requests as commands of the [meta protocol](https://docs.memcached.org/protocols/meta/).
//!
//! They are written here because the encoder of the memcache crate looks at each byte of a key twice, which takes as long
//! as the rest of a hit.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{SetOptions, Version, number};
use crate::net::pool::idle::Retry;

/// The server's own limit for keys. It takes no white space in them either.
const MAX_KEY: usize = 250;

/// The first character of hashed keys. A key that starts with it is hashed too, so that none can pose as one.
const HASHED: u8 = b'~';

/// The longest lifetime that is sent. The server takes times from 2038 on for past ones, and for a cache a year is as
/// good as forever.
const MAX_TTL: u64 = 365 * 86_400;

/// The longest lifetime that is sent as a duration. The server takes larger numbers for points in time.
const MAX_RELATIVE: u64 = 30 * 86_400;

/// Room for a command with its key.
const USUAL_LEN: usize = 160;

/// A command, and the key that its answer must be for.
pub(super) struct Command<'k> {
    pub(super) key: Cow<'k, [u8]>,
    line: Vec<u8>,
    value: Option<Bytes>,
    /// A set that runs twice may undo what others did between, so it is sent only once.
    pub(super) retry: Retry,
}

impl<'k> Command<'k> {
    /// Every command asks for its key in the answer.
    fn new(name: &[u8], key: &'k [u8], value: Option<Bytes>) -> Self {
        let (key, mut line) = (wire_key(key), Vec::with_capacity(USUAL_LEN));
        line.extend_from_slice(name);
        line.push(b' ');
        line.extend_from_slice(&key);
        let command = Self { key, line, value, retry: Retry::Once };
        match command.value.as_ref().map(Bytes::len) {
            Some(len) => command.flag(&len.to_string()),
            None => command,
        }
        .flag("k")
    }

    fn flag(mut self, flag: &str) -> Self {
        self.line.push(b' ');
        self.line.extend_from_slice(flag.as_bytes());
        self
    }

    /// Asks for the value and its version, by which the server can tell whether it is still there.
    pub(super) fn get(key: &'k [u8]) -> Self {
        Self::new(b"mg", key, None).flag("v").flag("c").flag("f")
    }

    pub(super) fn set(key: &'k [u8], value: Bytes, options: SetOptions) -> Self {
        let (value, flags) = number::stored(value);
        let command = Self { retry: Retry::Never, ..Self::new(b"ms", key, Some(value)).flag("c") };
        let command = if flags == number::RAW { command } else { command.flag(&format!("F{flags}")) };
        match options.ttl {
            Some(ttl) => command.flag(&format!("T{}", expiry(ttl, SystemTime::now()))),
            None => command,
        }
    }

    /// Stores only if nothing is there.
    pub(super) fn if_absent(self) -> Self {
        self.flag("ME")
    }

    /// Stores only if this version is there.
    pub(super) fn if_version(self, Version(version): Version) -> Self {
        self.flag(&format!("C{version}"))
    }

    pub(super) fn delete(key: &'k [u8]) -> Self {
        Self::new(b"md", key, None)
    }

    pub(super) fn contains(key: &'k [u8]) -> Self {
        Self::new(b"mg", key, None)
    }

    pub(super) fn touch(key: &'k [u8], ttl: Option<Duration>) -> Self {
        let seconds = ttl.map_or(0, |ttl| expiry(ttl, SystemTime::now()));
        Self::new(b"mg", key, None).flag(&format!("T{seconds}"))
    }

    pub(super) fn ttl(key: &'k [u8]) -> Self {
        Self::new(b"mg", key, None).flag("t")
    }

    /// Adds to a number, and asks for the sum. Sent only once: it would be added twice.
    pub(super) fn incr(key: &'k [u8], by: i64) -> Self {
        let command = Self::new(b"ma", key, None).flag("v").flag(&format!("D{}", number::delta(by)));
        Self { retry: Retry::Never, ..command }
    }
}

/// The bytes of commands that are sent together.
pub(super) fn pack(commands: &[Command<'_>]) -> Vec<u8> {
    let value = |command: &Command<'_>| command.value.as_ref().map_or(0, |value| value.len() + 2);
    let len = commands.iter().map(|command| command.line.len() + 2 + value(command)).sum();
    let mut bytes = Vec::with_capacity(len);
    for command in commands {
        for part in [Some(&command.line[..]), command.value.as_deref()].into_iter().flatten() {
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

/// The key as it is sent: hashed if the server would not take it.
pub(super) fn wire_key(key: &[u8]) -> Cow<'_, [u8]> {
    // Folds over all bytes instead of stopping at the first that fails, so that the compiler can check many at once.
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

#[cfg(test)]
mod tests {
    use memcache::exp::{MetaCommand, MetaOp};

    use super::*;

    const FOREVER: SetOptions = SetOptions::new();

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
    fn commands_are_what_the_protocol_says() {
        let wire = |command: Command<'_>| {
            assert_eq!(&*command.key, b"a");
            String::from_utf8(pack(&[command])).unwrap()
        };
        let nine = FOREVER.ttl(Duration::from_secs(9));
        assert_eq!(wire(Command::get(b"a")), "mg a k v c f\r\n");
        assert_eq!(wire(Command::set(b"a", Bytes::new(), FOREVER)), "ms a 0 k c\r\n\r\n");
        assert_eq!(wire(Command::set(b"a", "xy".into(), nine).if_absent()), "ms a 2 k c T10 ME\r\nxy\r\n");
        let seventh = Command::set(b"a", "xy".into(), FOREVER).if_version(Version(7));
        assert_eq!(wire(seventh), "ms a 2 k c C7\r\nxy\r\n");
        assert_eq!(
            wire(Command::set(b"a", "-1".into(), FOREVER)),
            "ms a 19 k c F1\r\n9223372036854775807\r\n"
        );
        assert_eq!(wire(Command::delete(b"a")), "md a k\r\n");
        assert_eq!(wire(Command::contains(b"a")), "mg a k\r\n");
        assert_eq!(wire(Command::touch(b"a", nine.ttl)), "mg a k T10\r\n");
        assert_eq!(wire(Command::touch(b"a", None)), "mg a k T0\r\n");
        assert_eq!(wire(Command::ttl(b"a")), "mg a k t\r\n");
        assert_eq!(wire(Command::incr(b"a", -1)), "ma a k v D18446744073709551615\r\n");
        let len = "md a k\r\nmd  k\r\n".len() + 65;
        assert_eq!(pack(&[Command::delete(b"a"), Command::delete(b" ")]).len(), len);
    }

    #[test]
    fn commands_are_packed_as_the_crate_packs_them() {
        let theirs = |op, value: Option<&str>, flags: &[&str]| {
            let command = flags.iter().fold(MetaCommand::new(op, "a"), |command, flag| command.flag(*flag));
            value.into_iter().fold(command, MetaCommand::value).encode().unwrap()
        };
        let nine = FOREVER.ttl(Duration::from_secs(9));
        assert_eq!(pack(&[Command::get(b"a")]), theirs(MetaOp::Get, None, &["k", "v", "c", "f"]));
        assert_eq!(
            pack(&[Command::set(b"a", "xy".into(), nine).if_absent()]),
            theirs(MetaOp::Set, Some("xy"), &["k", "c", "T10", "ME"])
        );
        assert_eq!(pack(&[Command::delete(b"a")]), theirs(MetaOp::Delete, None, &["k"]));
    }
}
