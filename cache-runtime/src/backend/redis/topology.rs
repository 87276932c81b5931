//! What servers say of each other: which node has which keys, where the primary is, and who has moved.

use std::error::Error as StdError;
use std::ops::RangeInclusive;

use ::redis::{ErrorKind as Cause, RedisError, ServerErrorKind, Value};

use super::reply::{of_redis, unexpected};
use crate::error::{Error, ErrorKind};
use crate::net::dial::Address;

/// How many slots a cluster has
/// ([specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model)).
pub(super) const SLOTS: u16 = 16_384;

/// Slots, and the primary that has their keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlotRange {
    pub(super) slots: RangeInclusive<u16>,
    pub(super) address: Address,
}

/// Where a key is, by a node that doesn't have it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) slot: u16,
    pub(super) address: Address,
    /// The key is about to move there: only this request goes there, and later ones don't.
    pub(super) is_ask: bool,
}

/// The slot of `key`: of the part between `{` and the next `}`, if there is one.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    const CRC: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
    CRC.checksum(hash_tag(key).unwrap_or(key)) % SLOTS
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let start = key.iter().position(|byte| *byte == b'{')? + 1;
    let len = key[start..].iter().position(|byte| *byte == b'}')?;
    (len > 0).then(|| &key[start..start + len])
}

/// The reply to `CLUSTER SLOTS` of the node at `asked`.
pub(super) fn slot_ranges(reply: Value, asked: &Address) -> Result<Vec<SlotRange>, Error> {
    let Value::Array(ranges) = reply.extract_error().map_err(of_redis)? else { return Err(unexpected()) };
    ranges.into_iter().map(|range| slot_range(range, asked).ok_or_else(unexpected)).collect()
}

/// The first two items are the first and the last slot, and the third is the primary. Its replicas follow.
fn slot_range(range: Value, asked: &Address) -> Option<SlotRange> {
    let Value::Array(items) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = items.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let address = address(text(host), u16::try_from(*port).ok()?, asked)?;
    (first <= last && last < SLOTS).then_some(SlotRange { slots: first..=last, address })
}

/// The reply to `SENTINEL GET-MASTER-ADDR-BY-NAME`.
pub(super) fn primary_address(reply: Value, name: &str) -> Result<Address, Error> {
    match reply.extract_error().map_err(of_redis)? {
        Value::Array(items) => match items.as_slice() {
            [host, port] => match (text(host), text(port).and_then(|port| port.parse().ok())) {
                (Some(host), Some(port)) if !host.is_empty() => Ok(Address::Tcp { host: host.into(), port }),
                _ => Err(unexpected()),
            },
            _ => Err(unexpected()),
        },
        Value::Nil => {
            let message = format!("the sentinel knows no primary named `{name}`");
            Err(Error::new(ErrorKind::Config, message))
        }
        _ => Err(unexpected()),
    }
}

/// Where `error` says that the key is. `asked` is the node that says so.
pub(super) fn redirect(error: &Error, asked: &Address) -> Option<Redirect> {
    let error = error.source()?.downcast_ref::<RedisError>()?;
    let (target, slot) = error.redirect_node()?;
    let (host, port) = target.rsplit_once(':')?;
    let address = address(Some(host), port.parse().ok()?, asked)?;
    let is_ask = error.kind() == Cause::Server(ServerErrorKind::Ask);
    (slot < SLOTS).then_some(Redirect { slot, address, is_ask })
}

/// The address of a node. One that doesn't know its own host is where it was asked.
fn address(host: Option<&str>, port: u16, asked: &Address) -> Option<Address> {
    let host = match (host, asked) {
        (Some(host), _) if !matches!(host, "" | "?") => host.to_owned(),
        (_, Address::Tcp { host, .. }) => host.clone(),
        #[cfg(unix)]
        (_, Address::Unix(_)) => return None,
    };
    Some(Address::Tcp { host, port })
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::parse_nested;
    use super::*;
    use crate::net::read_buffer::ReadBuffer;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    fn reply(text: &str) -> Value {
        let mut buffer = ReadBuffer::default();
        buffer.space()[..text.len()].copy_from_slice(text.as_bytes());
        buffer.fill(text.len());
        buffer.take(parse_nested).unwrap().expect("a whole reply")
    }

    /// The examples of the specification, and what `redis-cli CLUSTER KEYSLOT` says.
    #[test]
    fn slots_are_those_of_the_servers() {
        let slots = ["123456789", "foo", "{user1000}.following", "user1000", "foo{}{bar}", "foo{{bar}}zap"];
        assert_eq!(slots.map(|key| slot_of(key.as_bytes())), [12739, 12182, 3443, 3443, 8363, 4015]);
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
    }

    #[test]
    fn ranges_name_their_primaries() {
        let text = "*2\r\n*4\r\n:0\r\n:5460\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n\
                    *3\r\n$9\r\n127.0.0.1\r\n:7003\r\n$2\r\nid\r\n*3\r\n:5461\r\n:5461\r\n*2\r\n$-1\r\n:7001\r\n";
        let ranges = slot_ranges(reply(text), &tcp("asked", 1)).unwrap();
        let first = SlotRange { slots: 0..=5460, address: tcp("127.0.0.1", 7000) };
        assert_eq!(ranges, [first, SlotRange { slots: 5461..=5461, address: tcp("asked", 7001) }]);
        for bad in
            ["*1\r\n*0\r\n", "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n", ":1\r\n", "*1\r\n:1\r\n"]
        {
            assert_eq!(
                slot_ranges(reply(bad), &tcp("a", 1)).unwrap_err().kind(),
                ErrorKind::Protocol,
                "{bad}"
            );
        }
        let error = slot_ranges(reply("-ERR This instance has cluster support disabled\r\n"), &tcp("a", 1));
        assert!(error.unwrap_err().to_string().contains("`redis://`"));
    }

    #[test]
    fn sentinels_name_the_primary() {
        let known = primary_address(reply("*2\r\n$1\r\nh\r\n$4\r\n6379\r\n"), "main").unwrap();
        assert_eq!(known, tcp("h", 6379));
        assert_eq!(primary_address(reply("*-1\r\n"), "main").unwrap_err().kind(), ErrorKind::Config);
        assert!(primary_address(reply("*2\r\n$0\r\n\r\n$4\r\n6379\r\n"), "main").is_err());
    }

    #[test]
    fn redirects_are_read_from_errors() {
        let said = |text: &str| of_redis(reply(text).extract_error().unwrap_err());
        let moved = redirect(&said("-MOVED 3999 127.0.0.1:6381\r\n"), &tcp("asked", 1)).unwrap();
        assert_eq!(moved, Redirect { slot: 3999, address: tcp("127.0.0.1", 6381), is_ask: false });
        let ask = redirect(&said("-ASK 3999 :6381\r\n"), &tcp("asked", 1)).unwrap();
        assert_eq!(ask, Redirect { slot: 3999, address: tcp("asked", 6381), is_ask: true });
        for other in ["-ERR MOVED 1 a:1\r\n", "-MOVED 16384 a:1\r\n", "-MOVED 1 a\r\n", "-TRYAGAIN later\r\n"]
        {
            assert_eq!(redirect(&said(other), &tcp("asked", 1)), None, "{other}");
        }
    }
}
