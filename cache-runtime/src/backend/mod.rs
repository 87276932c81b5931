//! What a backend is: the two traits, their contract, and the adaptors between them.
//!
//! Backends know bytes only: nothing here knows functions, codecs or envelopes, and no
//! backend knows its siblings.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Error, ErrorKind};

pub(crate) mod adapt;
#[cfg(feature = "tokio")]
pub(crate) mod batched;
pub(crate) mod breaker;
#[cfg(feature = "memcached")]
pub(crate) mod memcached;
pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

/// Keys of reads that travel together: more don't make it cheaper, and the first passengers wait for the last one's value.
#[cfg(any(feature = "redis", feature = "memcached", feature = "tokio"))]
pub(crate) const SEATS: usize = 128;

/// A boxed future, as [`AsyncBackend`] returns them: a network call dwarfs the box.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place that keeps bytes under keys, called by blocking functions.
///
/// # The contract
///
/// The conformance suite of this project tests each of these lines on each backend.
///
/// - **Keys and values are any bytes**, keys up to at least 64 KiB, values empty or up to
///   [`max_value_len`](Backend::max_value_len) bytes; different keys never share an entry. A server
///   with narrower keys hashes what doesn't fit, with a cryptographic hash.
/// - **`get` returns what the last `set` stored, whole, or `None`.** An entry may vanish at any
///   time (a cache forgets), but never comes back older or mangled.
/// - **`ttl` is a bound on space, not a promise of freshness**: an entry is kept for `ttl` at the
///   most, rounded up to what the server can express and at the most two seconds longer. The
///   runtime stores its own exact deadlines inside the value. `None` means no expiry.
/// - **`add` stores only if nothing is there**, atomically, and says whether it stored.
/// - **`replace` stores only if exactly the given bytes are there**, atomically, and says whether it stored. A
///   backend that can't do this in one step leaves the method out.
/// - **`delete` is done when it returns**; deleting nothing is `Ok(false)`.
/// - **`deadline` bounds the call**, connecting and waiting for a pooled connection included. When
///   it has passed, the call returns an error of kind [`Timeout`](crate::ErrorKind::Timeout).
/// - **Nothing panics and nothing is retried blindly.** Unreachable is
///   [`Unavailable`](crate::ErrorKind::Unavailable), wrong credentials are
///   [`Denied`](crate::ErrorKind::Denied), what the server says is
///   [`Server`](crate::ErrorKind::Server), what is not understood is
///   [`Protocol`](crate::ErrorKind::Protocol), too large a value is
///   [`TooLarge`](crate::ErrorKind::TooLarge).
/// - **Making a backend doesn't connect**: the first call does, and a later one after an outage.
///
/// # Example
///
/// ```
/// use std::{collections::HashMap, sync::Mutex, time::{Duration, Instant}};
/// use cache_runtime::{Backend, Bytes, Cache, Config, Error};
///
/// #[derive(Default)]
/// struct Forever(Mutex<HashMap<Vec<u8>, Bytes>>);
///
/// impl Backend for Forever {
///     fn get(&self, key: &[u8], _: Instant) -> Result<Option<Bytes>, Error> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///     fn set(&self, key: &[u8], value: Bytes, _: Option<Duration>, _: Instant) -> Result<(), Error> {
///         self.0.lock().unwrap().insert(key.to_vec(), value);
///         Ok(())
///     }
///     fn add(&self, key: &[u8], value: Bytes, _: Option<Duration>, _: Instant) -> Result<bool, Error> {
///         let mut entries = self.0.lock().unwrap();
///         let vacant = !entries.contains_key(key);
///         if vacant {
///             entries.insert(key.to_vec(), value);
///         }
///         Ok(vacant)
///     }
///     fn delete(&self, key: &[u8], _: Instant) -> Result<bool, Error> {
///         Ok(self.0.lock().unwrap().remove(key).is_some())
///     }
/// }
///
/// Config::from_env().backend("forever", Forever::default()).install()?;
/// let cache = Cache::named("forever")?;
/// cache.set("answer", &42, None)?;
/// assert_eq!(cache.get::<i32>("answer")?, Some(42));
/// # Ok::<(), Error>(())
/// ```
pub trait Backend: Send + Sync + 'static {
    /// The value under `key`.
    ///
    /// # Errors
    /// As the [contract](Backend#the-contract) says.
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error>;

    /// The values under `keys`, in their order: one round trip where the server can.
    ///
    /// # Errors
    /// As the [contract](Backend#the-contract) says; one failing key fails the call.
    fn get_many(&self, keys: &[&[u8]], deadline: Instant) -> Result<Vec<Option<Bytes>>, Error> {
        keys.iter().map(|key| self.get(key, deadline)).collect()
    }

    /// Stores `value` under `key`, replacing what is there.
    ///
    /// # Errors
    /// As the [contract](Backend#the-contract) says.
    fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<(), Error>;

    /// Stores `value` only if nothing is under `key`; returns whether it did.
    ///
    /// # Errors
    /// As the [contract](Backend#the-contract) says.
    fn add(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<bool, Error>;

    /// Stores `new` only if exactly `old` is under `key`; returns whether it did.
    ///
    /// `single_flight = "cluster"` is built on this; without it, functions on this backend have one run per
    /// process.
    ///
    /// # Errors
    /// As the [contract](Backend#the-contract) says, and of kind [`Config`](crate::ErrorKind::Config), always, where
    /// the method is not implemented.
    fn replace(
        &self,
        key: &[u8],
        old: &[u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let _ = (key, old, new, ttl, deadline);
        Err(replaces_nothing())
    }

    /// Removes what is under `key`; returns whether anything was.
    ///
    /// # Errors
    /// As the [contract](Backend#the-contract) says.
    fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error>;

    /// The longest value in bytes that `set` takes; longer ones aren't sent.
    fn max_value_len(&self) -> usize {
        usize::MAX
    }

    /// The number of servers that keys are spread over. Each is given up while it is down, and asked again when it
    /// is back, by itself.
    fn servers(&self) -> usize {
        1
    }

    /// Which of its [`servers`](Backend::servers) has `key`, counted from 0.
    fn server_of(&self, key: &[u8]) -> usize {
        let _ = key;
        0
    }
}

/// A place that keeps bytes under keys, called by async functions.
///
/// The [contract](Backend#the-contract) is [`Backend`]'s, and two lines more: a future that is
/// dropped leaves no half-read answer to a later call, and calls from one runtime may follow calls
/// from another that is gone.
pub trait AsyncBackend: Send + Sync + 'static {
    /// See [`Backend::get`].
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>>;

    /// See [`Backend::get_many`].
    fn get_many<'a>(
        &'a self,
        keys: &'a [&'a [u8]],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key, deadline).await?);
            }
            Ok(values)
        })
    }

    /// See [`Backend::set`].
    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// See [`Backend::add`].
    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// See [`Backend::replace`].
    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let _ = (key, old, new, ttl, deadline);
        Box::pin(std::future::ready(Err(replaces_nothing())))
    }

    /// See [`Backend::delete`].
    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>>;

    /// See [`Backend::max_value_len`].
    fn max_value_len(&self) -> usize {
        usize::MAX
    }

    /// See [`Backend::servers`].
    fn servers(&self) -> usize {
        1
    }

    /// See [`Backend::server_of`].
    fn server_of(&self, key: &[u8]) -> usize {
        let _ = key;
        0
    }
}

fn replaces_nothing() -> Error {
    Error::new(ErrorKind::Config, "this backend has no `replace`, which `single_flight = \"cluster\"` needs")
}
