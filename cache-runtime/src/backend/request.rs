//! The one internal interface to backends: a [`Request`] goes to a [`Service`], and a [`Reply`] comes back.
//!
//! Whatever wraps a backend (a breaker, batching, an adapter) is one method over requests. The public traits are derived
//! from it by [`backend_of_service`] and [`async_backend_of_service`].

use std::time::Instant;

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
    /// Removes a key. Replied to with [`Reply::Done`]: whether anything was there.
    Delete(&'a [u8]),
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
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Value(Option<Versioned>),
    Values(Vec<Option<Versioned>>),
    /// The version of the stored value; `None` if the condition did not hold.
    Set(Option<Version>),
    Done(bool),
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
            Self::Get(key) | Self::Set { key, .. } | Self::Delete(key) => key,
            Self::GetMany(keys) => keys.first().copied().unwrap_or_default(),
        }
    }

    /// A set that runs twice may undo what others did between, so it is sent only once.
    #[cfg(feature = "redis")]
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Set { .. } => Retry::Never,
            Self::Get(_) | Self::GetMany(_) | Self::Delete(_) => Retry::Once,
        }
    }
}

impl Reply {
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

    pub(crate) fn done(self) -> Result<bool, Error> {
        match self {
            Self::Done(done) => Ok(done),
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
    Delete(Vec<u8>),
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
            Self::GetMany(keys) => OwnedRequest::GetMany(keys.iter().map(|key| key.to_vec()).collect()),
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
impl OwnedRequest {
    /// The same request, borrowed. `keys` holds the list of keys, if there is one.
    pub(crate) fn borrow<'a>(&'a self, keys: &'a mut Vec<&'a [u8]>) -> Request<'a> {
        match self {
            Self::Get(key) => Request::Get(key),
            Self::GetMany(owned) => {
                keys.extend(owned.iter().map(Vec::as_slice));
                Request::GetMany(keys)
            }
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

/// The bytes of a value, for callers who know no versions.
pub(crate) fn bytes_of(value: Option<Versioned>) -> Option<Bytes> {
    value.map(|value| value.bytes)
}

/// Implements [`Backend`](super::Backend) for a [`Service`].
macro_rules! backend_of_service {
    ($service:ty) => {
        impl $crate::backend::Backend for $service {
            fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
                self.call(Request::Get(key), deadline, Caller::Blocking).wait()?.value().map(bytes_of)
            }

            fn get_many(&self, keys: &[&[u8]], deadline: Instant) -> Result<Vec<Option<Bytes>>, Error> {
                self.call(Request::GetMany(keys), deadline, Caller::Blocking)
                    .wait()?
                    .values()
                    .map(|values| values.into_iter().map(bytes_of).collect())
            }

            fn set(
                &self,
                key: &[u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> Result<(), Error> {
                let request = Request::Set { key, value, options, condition: Condition::Always };
                self.call(request, deadline, Caller::Blocking).wait()?.set().map(drop)
            }

            fn add(
                &self,
                key: &[u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> Result<bool, Error> {
                let request = Request::Set { key, value, options, condition: Condition::Absent };
                self.call(request, deadline, Caller::Blocking).wait()?.set().map(|set| set.is_some())
            }

            fn compare_and_set(
                &self,
                key: &[u8],
                old: &[u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> Result<bool, Error> {
                let request = Request::Set {
                    key,
                    value,
                    options,
                    condition: Condition::Equals { bytes: old, version: Version::UNKNOWN },
                };
                self.call(request, deadline, Caller::Blocking).wait()?.set().map(|set| set.is_some())
            }

            fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
                self.call(Request::Delete(key), deadline, Caller::Blocking).wait()?.done()
            }

            fn max_value_len(&self) -> usize {
                Service::max_value_len(self)
            }

            fn servers(&self) -> usize {
                Service::servers(self)
            }

            fn server_of(&self, key: &[u8]) -> usize {
                Service::server_of(self, key)
            }
        }
    };
}

/// Implements [`AsyncBackend`](super::AsyncBackend) for a [`Service`].
macro_rules! async_backend_of_service {
    ($service:ty) => {
        impl $crate::backend::AsyncBackend for $service {
            fn get<'a>(
                &'a self,
                key: &'a [u8],
                deadline: Instant,
            ) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
                let answer = self.call(Request::Get(key), deadline, Caller::Async);
                Box::pin(async move { answer.await?.value().map(bytes_of) })
            }

            fn get_many<'a>(
                &'a self,
                keys: &'a [&'a [u8]],
                deadline: Instant,
            ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
                let answer = self.call(Request::GetMany(keys), deadline, Caller::Async);
                Box::pin(async move {
                    answer.await?.values().map(|values| values.into_iter().map(bytes_of).collect())
                })
            }

            fn set<'a>(
                &'a self,
                key: &'a [u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<(), Error>> {
                let request = Request::Set { key, value, options, condition: Condition::Always };
                let answer = self.call(request, deadline, Caller::Async);
                Box::pin(async move { answer.await?.set().map(drop) })
            }

            fn add<'a>(
                &'a self,
                key: &'a [u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<bool, Error>> {
                let request = Request::Set { key, value, options, condition: Condition::Absent };
                let answer = self.call(request, deadline, Caller::Async);
                Box::pin(async move { answer.await?.set().map(|set| set.is_some()) })
            }

            fn compare_and_set<'a>(
                &'a self,
                key: &'a [u8],
                old: &'a [u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<bool, Error>> {
                let request = Request::Set {
                    key,
                    value,
                    options,
                    condition: Condition::Equals { bytes: old, version: Version::UNKNOWN },
                };
                let answer = self.call(request, deadline, Caller::Async);
                Box::pin(async move { answer.await?.set().map(|set| set.is_some()) })
            }

            fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
                let answer = self.call(Request::Delete(key), deadline, Caller::Async);
                Box::pin(async move { answer.await?.done() })
            }

            fn max_value_len(&self) -> usize {
                Service::max_value_len(self)
            }

            fn servers(&self) -> usize {
                Service::servers(self)
            }

            fn server_of(&self, key: &[u8]) -> usize {
                Service::server_of(self, key)
            }
        }
    };
}

pub(crate) use {async_backend_of_service, backend_of_service};
