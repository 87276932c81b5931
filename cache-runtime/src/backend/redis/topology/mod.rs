//! What servers say of each other: which node has which keys, where the primary is, and who has moved.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::ops::RangeInclusive;

use ::redis::{ErrorKind as Cause, RedisError, ServerErrorKind, Value};
use crc::{CRC_16_XMODEM, Crc, Table};

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
    static CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);
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
