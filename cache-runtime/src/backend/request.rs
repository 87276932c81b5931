//! The one internal interface to backends: a [`Request`] goes to a [`Service`], and a [`Reply`] comes back.
//!
//! Whatever wraps a backend (a breaker, batching, an adapter) is one method over requests. The public traits are derived
//! from it by the macros in `derived.rs`.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::SetOptions;
use crate::common::wait::{Caller, MaybeReady};
use crate::error::{Error, ErrorKind};
#[cfg(feature = "redis")]
use crate::net::pool::idle::Retry;

/// An operation on a backend.
#[derive(Debug, Clone)]
pub(crate) enum Request<'a> {
    /// The value under a key. Replied to with [`Reply::Value`].
    Get(&'a [u8]),
    /// The values under several keys. Replied to with [`Reply::Values`].
    GetMany(&'a [&'a [u8]]),
    /// Stores a value. Replied to with [`Reply::Set`].
    Set { key: &'a [u8], value: Bytes, options: SetOptions, condition: Condition<'a> },
    /// Stores values with the same options. Replied to with [`Reply::SetEach`].
    SetMany { entries: &'a [(&'a [u8], Bytes)], options: SetOptions },
    /// Removes a key. Replied to with [`Reply::Done`]: whether anything was there.
    Delete(&'a [u8]),
    /// Removes several keys. Replied to with [`Reply::Count`]: how many were there.
    DeleteMany(&'a [&'a [u8]]),
    /// Whether anything is under a key. Replied to with [`Reply::Done`].
    Contains(&'a [u8]),
    /// Gives an entry a new lifetime. Replied to with [`Reply::Done`]: whether there is one.
    Touch { key: &'a [u8], ttl: Option<Duration> },
    /// Adds to a number. Replied to with [`Reply::Number`].
    Incr { key: &'a [u8], by: i64 },
    /// How long an entry will be kept. Replied to with [`Reply::Ttl`].
    Ttl(&'a [u8]),
}

/// When a value is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition<'a> {
    Always,
    /// Nothing is under the key.
    Absent,
    /// Exactly these bytes are under the key. With a known version, a server that has versions compares only those.
    Equals {
        bytes: &'a [u8],
        #[cfg_attr(not(feature = "memcached"), allow(dead_code, reason = "only Memcached has versions"))]
        version: Version,
    },
}

/// The number that a server gives to each value that it stores under a key; 0 if it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) u64);

impl Version {
    pub(crate) const UNKNOWN: Self = Self(0);
}

/// A value as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Versioned {
    pub(crate) bytes: Bytes,
    pub(crate) version: Version,
}

impl Versioned {
    /// The condition that this value is still there.
    pub(crate) fn is_unchanged(&self) -> Condition<'_> {
        Condition::Equals { bytes: &self.bytes, version: self.version }
    }
}

impl From<Bytes> for Versioned {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, version: Version::UNKNOWN }
    }
}

/// The answer to a [`Request`].
#[derive(Debug)]
pub(crate) enum Reply {
    Value(Option<Versioned>),
    Values(Vec<Option<Versioned>>),
    /// The version of the stored value; `None` if the condition did not hold.
    Set(Option<Version>),
    /// Whether each of several values was stored.
    SetEach(Vec<Result<(), Error>>),
    Done(bool),
    Count(usize),
    /// The sum; `None` if nothing is under the key.
    Number(Option<i64>),
    /// The time that is left, [`Duration::MAX`] if the entry doesn't expire; `None` if there is no entry.
    Ttl(Option<Duration>),
    /// A reply for each of several keys. Only within a backend: [`of_each`](Self::of_each) makes one of the others of it.
    #[cfg(feature = "redis")]
    Each(Vec<Result<Self, Error>>),
}

pub(crate) type Answer<'a> = MaybeReady<'a, Result<Reply, Error>>;

/// A backend as the rest of the crate calls it, for both kinds of callers.
pub(crate) trait Service: Send + Sync + 'static {
    /// Performs `request` before `deadline`.
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a>;

    /// See [`Backend::max_value_len`](super::Backend::max_value_len).
    fn max_value_len(&self) -> usize;

    /// See [`Backend::servers`](super::Backend::servers).
    fn servers(&self) -> usize {
        1
    }

    /// See [`Backend::server_of`](super::Backend::server_of).
    fn server_of(&self, key: &[u8]) -> usize {
        let _ = key;
        0
    }

    /// How many groups of keys there are whose keys are mostly on one server, whichever that is. Every process sees the same
    /// groups.
    fn groups(&self) -> usize {
        1
    }

    /// Which of the [groups](Self::groups) has `key`.
    fn group_of(&self, key: &[u8]) -> usize {
        let _ = key;
        0
    }

    /// Why requests for `key` are rejected at once now, if they are.
    fn rejection(&self, key: &[u8]) -> Option<Error> {
        let _ = key;
        None
    }

    /// Whether a read of `key` must not share a request.
    #[cfg(feature = "tokio")]
    fn travels_alone(&self, key: &[u8]) -> bool {
        let _ = key;
        false
    }
}

/// Reads each key with a request of its own.
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) async fn get_each(
    service: &impl Service,
    keys: &[&[u8]],
    deadline: Instant,
    caller: Caller,
) -> Result<Reply, Error> {
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(service.call(Request::Get(key), deadline, caller).await?.value()?);
    }
    Ok(Reply::Values(values))
}

impl<S: Service + ?Sized> Service for std::sync::Arc<S> {
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        (**self).call(request, deadline, caller)
    }

    fn max_value_len(&self) -> usize {
        (**self).max_value_len()
    }

    fn servers(&self) -> usize {
        (**self).servers()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        (**self).server_of(key)
    }

    fn groups(&self) -> usize {
        (**self).groups()
    }

    fn group_of(&self, key: &[u8]) -> usize {
        (**self).group_of(key)
    }

    fn rejection(&self, key: &[u8]) -> Option<Error> {
        (**self).rejection(key)
    }

    #[cfg(feature = "tokio")]
    fn travels_alone(&self, key: &[u8]) -> bool {
        (**self).travels_alone(key)
    }
}

impl Request<'_> {
    /// The key, or the first of several.
    pub(crate) fn first_key(&self) -> &[u8] {
        match self {
            Self::Get(key)
            | Self::Set { key, .. }
            | Self::Delete(key)
            | Self::Contains(key)
            | Self::Touch { key, .. }
            | Self::Incr { key, .. }
            | Self::Ttl(key) => key,
            Self::GetMany(keys) | Self::DeleteMany(keys) => keys.first().copied().unwrap_or_default(),
            Self::SetMany { entries, .. } => entries.first().map_or(&[], |(key, _)| key),
        }
    }

    /// The part of a request for several keys that is for the key at `index`.
    #[cfg(feature = "redis")]
    pub(crate) fn for_key(&self, index: usize) -> Option<Self> {
        match self {
            Self::GetMany(keys) => keys.get(index).map(|key| Self::Get(key)),
            Self::DeleteMany(keys) => keys.get(index).map(|key| Self::Delete(key)),
            Self::SetMany { entries, options } => entries.get(index).map(|(key, value)| Self::Set {
                key,
                value: value.clone(),
                options: *options,
                condition: Condition::Always,
            }),
            _ => None,
        }
    }

    /// A set that runs twice may undo what others did between, and a number would be added twice, so they are sent only
    /// once.
    #[cfg(feature = "redis")]
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Set { .. } | Self::SetMany { .. } | Self::Incr { .. } => Retry::Never,
            Self::Get(_)
            | Self::GetMany(_)
            | Self::Delete(_)
            | Self::DeleteMany(_)
            | Self::Contains(_)
            | Self::Touch { .. }
            | Self::Ttl(_) => Retry::Once,
        }
    }
}

impl Reply {
    /// The reply to `request`, which is for several keys, from a reply for each of them.
    #[cfg(feature = "redis")]
    pub(crate) fn of_each(request: &Request<'_>, replies: Vec<Result<Self, Error>>) -> Result<Self, Error> {
        let mut replies = replies.into_iter();
        match request {
            Request::GetMany(_) => {
                replies.map(|reply| reply?.value()).collect::<Result<_, _>>().map(Self::Values)
            }
            Request::SetMany { .. } => {
                Ok(Self::SetEach(replies.map(|reply| reply?.set().map(drop)).collect()))
            }
            _ => {
                let count = replies.try_fold(0, |count, reply| Ok(count + usize::from(reply?.done()?)));
                count.map(Self::Count)
            }
        }
    }

    pub(crate) fn value(self) -> Result<Option<Versioned>, Error> {
        match self {
            Self::Value(value) => Ok(value),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn values(self) -> Result<Vec<Option<Versioned>>, Error> {
        match self {
            Self::Values(values) => Ok(values),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn set(self) -> Result<Option<Version>, Error> {
        match self {
            Self::Set(version) => Ok(version),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn set_each(self) -> Result<Vec<Result<(), Error>>, Error> {
        match self {
            Self::SetEach(results) => Ok(results),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn done(self) -> Result<bool, Error> {
        match self {
            Self::Done(done) => Ok(done),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn count(self) -> Result<usize, Error> {
        match self {
            Self::Count(count) => Ok(count),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn number(self) -> Result<Option<i64>, Error> {
        match self {
            Self::Number(number) => Ok(number),
            _ => Err(mismatch()),
        }
    }

    pub(crate) fn ttl(self) -> Result<Option<Duration>, Error> {
        match self {
            Self::Ttl(ttl) => Ok(ttl),
            _ => Err(mismatch()),
        }
    }
}

fn mismatch() -> Error {
    Error::new(ErrorKind::Protocol, "the backend's answer doesn't fit the request")
}

#[cfg(feature = "tokio")]
/// A [`Request`] that owns its keys, to be sent from another thread.
pub(crate) enum OwnedRequest {
    Get(Vec<u8>),
    GetMany(Vec<Vec<u8>>),
    Set { key: Vec<u8>, value: Bytes, options: SetOptions, condition: OwnedCondition },
    SetMany { entries: Vec<(Vec<u8>, Bytes)>, options: SetOptions },
    Delete(Vec<u8>),
    DeleteMany(Vec<Vec<u8>>),
    Contains(Vec<u8>),
    Touch { key: Vec<u8>, ttl: Option<Duration> },
    Incr { key: Vec<u8>, by: i64 },
    Ttl(Vec<u8>),
}

#[cfg(feature = "tokio")]
pub(crate) enum OwnedCondition {
    Always,
    Absent,
    Equals { bytes: Vec<u8>, version: Version },
}

#[cfg(feature = "tokio")]
impl Request<'_> {
    pub(crate) fn into_owned(self) -> OwnedRequest {
        match self {
            Self::Get(key) => OwnedRequest::Get(key.to_vec()),
            Self::GetMany(keys) => OwnedRequest::GetMany(owned(keys)),
            Self::DeleteMany(keys) => OwnedRequest::DeleteMany(owned(keys)),
            Self::SetMany { entries, options } => {
                let entries = entries.iter().map(|(key, value)| (key.to_vec(), value.clone())).collect();
                OwnedRequest::SetMany { entries, options }
            }
            Self::Contains(key) => OwnedRequest::Contains(key.to_vec()),
            Self::Touch { key, ttl } => OwnedRequest::Touch { key: key.to_vec(), ttl },
            Self::Incr { key, by } => OwnedRequest::Incr { key: key.to_vec(), by },
            Self::Ttl(key) => OwnedRequest::Ttl(key.to_vec()),
            Self::Set { key, value, options, condition } => {
                let condition = match condition {
                    Condition::Always => OwnedCondition::Always,
                    Condition::Absent => OwnedCondition::Absent,
                    Condition::Equals { bytes, version } => {
                        OwnedCondition::Equals { bytes: bytes.to_vec(), version }
                    }
                };
                OwnedRequest::Set { key: key.to_vec(), value, options, condition }
            }
            Self::Delete(key) => OwnedRequest::Delete(key.to_vec()),
        }
    }
}

#[cfg(feature = "tokio")]
fn owned(keys: &[&[u8]]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.to_vec()).collect()
}

/// The lists of a borrowed [`OwnedRequest`].
#[cfg(feature = "tokio")]
#[derive(Default)]
pub(crate) struct Lists<'a> {
    keys: Vec<&'a [u8]>,
    entries: Vec<(&'a [u8], Bytes)>,
}

#[cfg(feature = "tokio")]
impl OwnedRequest {
    /// The same request, borrowed. `lists` holds the list of keys or entries, if there is one.
    pub(crate) fn borrow<'a>(&'a self, lists: &'a mut Lists<'a>) -> Request<'a> {
        match self {
            Self::Get(key) => Request::Get(key),
            Self::GetMany(keys) => {
                lists.keys.extend(keys.iter().map(Vec::as_slice));
                Request::GetMany(&lists.keys)
            }
            Self::DeleteMany(keys) => {
                lists.keys.extend(keys.iter().map(Vec::as_slice));
                Request::DeleteMany(&lists.keys)
            }
            Self::SetMany { entries, options } => {
                lists.entries.extend(entries.iter().map(|(key, value)| (key.as_slice(), value.clone())));
                Request::SetMany { entries: &lists.entries, options: *options }
            }
            Self::Contains(key) => Request::Contains(key),
            Self::Touch { key, ttl } => Request::Touch { key, ttl: *ttl },
            Self::Incr { key, by } => Request::Incr { key, by: *by },
            Self::Ttl(key) => Request::Ttl(key),
            Self::Set { key, value, options, condition } => {
                let condition = match condition {
                    OwnedCondition::Always => Condition::Always,
                    OwnedCondition::Absent => Condition::Absent,
                    OwnedCondition::Equals { bytes, version } => {
                        Condition::Equals { bytes, version: *version }
                    }
                };
                Request::Set { key, value: value.clone(), options: *options, condition }
            }
            Self::Delete(key) => Request::Delete(key),
        }
    }
}

/// The number whose decimal text `bytes` are, written as Redis writes it.
pub(crate) fn number_of(bytes: &[u8]) -> Option<i64> {
    /// `i64::MIN`.
    const LONGEST: usize = 20;
    if bytes.len() > LONGEST || !matches!(bytes.first(), Some(b'-' | b'0'..=b'9')) {
        return None;
    }
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

/// The error of an [`Incr`](Request::Incr) over something else than a number, or past the end of the numbers.
#[cfg(feature = "memory")]
pub(crate) fn not_a_number() -> Error {
    let message = "what is stored is not a 64-bit integer, or the sum would not be one";
    Error::new(ErrorKind::NotANumber, message)
}
