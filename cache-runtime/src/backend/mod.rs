//! What a backend is: the two public traits, their contract, and the implementations.
//!
//! Backends know bytes only: nothing here knows functions, codecs or envelopes, and no backend knows its siblings. The
//! rest of the crate reaches them through one internal interface, [`Service`](request::Service).

mod adapt;
#[cfg(feature = "tokio")]
pub(crate) mod batched;
mod breaker;
pub(crate) mod connected;
#[cfg(any(feature = "memory", feature = "tokio"))]
mod derived;
#[cfg(any(feature = "redis", feature = "memcached"))]
mod large_values;
#[cfg(feature = "memcached")]
pub(crate) mod memcached;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod registry;
mod request;
mod split;

pub(crate) use self::request::{Condition, Reply, Request, Service, Version, Versioned, number_of};

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::common::wait::BoxFuture;
use crate::error::Error;

/// How a value is stored. Later versions may have more options, so it is made with [`SetOptions::new`].
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::SetOptions;
///
/// let options = SetOptions::new().ttl(Duration::from_secs(60));
/// assert_eq!(options.ttl, Some(Duration::from_secs(60)));
/// assert_eq!(SetOptions::new().ttl, None);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetOptions {
    /// How long the entry is kept; `None` is forever.
    pub ttl: Option<Duration>,
    /// Nothing else judges the age of the value, so the clock of a test counts. Entries of functions have their deadlines
    /// within, and what holds their leases lives by real time.
    pub(crate) is_exact: bool,
}

impl SetOptions {
    /// No expiry.
    pub const fn new() -> Self {
        Self { ttl: None, is_exact: false }
    }

    /// For values of the plain cache.
    pub(crate) const fn exact(ttl: Option<Duration>) -> Self {
        Self { ttl, is_exact: true }
    }

    /// Keeps the entry for `ttl`.
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.ttl = ttl.into();
        self
    }
}

/// A store of bytes under keys, called by blocking functions.
///
/// # The contract
///
/// The conformance suite of this project tests each of these lines on each backend.
///
/// - **Keys and values are any bytes**: keys up to at least 64 KiB, values empty or up to
///   [`max_value_len`](Backend::max_value_len) bytes. Different keys never share an entry. A server with narrower keys
///   hashes those that don't fit with a cryptographic hash.
/// - **`get` returns what the last `set` stored, whole, or `None`.** An entry may vanish at any time (a cache forgets), but
///   never comes back older or damaged.
/// - **The ttl bounds space; it doesn't promise freshness**: an entry is kept for its ttl, rounded up to what the server
///   can express, and at most two seconds longer. The runtime stores its own exact deadlines inside the value.
/// - **`add` stores only if nothing is there**, atomically, and returns whether it stored.
/// - **`compare_and_set` stores only if exactly the given bytes are there**, atomically, and returns whether it stored.
/// - **`delete` is done when it returns**; deleting nothing is `Ok(false)`.
/// - **`incr` adds atomically, and keeps the lifetime**. It creates nothing.
/// - **`deadline` bounds the call**, including connecting and waiting for a pooled connection. A call that misses it
///   returns an error of kind [`Timeout`](crate::ErrorKind::Timeout).
/// - **Nothing panics and nothing is retried blindly.** An unreachable server is
///   [`Unavailable`](crate::ErrorKind::Unavailable), wrong credentials are [`Denied`](crate::ErrorKind::Denied), an error
///   from the server is [`Server`](crate::ErrorKind::Server), an answer that makes no sense is
///   [`Protocol`](crate::ErrorKind::Protocol), and a value that is too large is
///   [`TooLarge`](crate::ErrorKind::TooLarge).
/// - **Making a backend doesn't connect.** The first call does, and a later one does again after an outage.
///
/// # Example
///
/// ```
/// use std::{collections::HashMap, sync::Mutex, time::Instant};
/// use cache_runtime::{Backend, Bytes, Cache, Config, Error, SetOptions};
///
/// #[derive(Default)]
/// struct Forever(Mutex<HashMap<Vec<u8>, Bytes>>);
///
/// impl Backend for Forever {
///     fn get(&self, key: &[u8], _: Instant) -> Result<Option<Bytes>, Error> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///     fn set(&self, key: &[u8], value: Bytes, _: SetOptions, _: Instant) -> Result<(), Error> {
///         self.0.lock().unwrap().insert(key.to_vec(), value);
///         Ok(())
///     }
///     fn add(&self, key: &[u8], value: Bytes, _: SetOptions, _: Instant) -> Result<bool, Error> {
///         let mut entries = self.0.lock().unwrap();
///         let vacant = !entries.contains_key(key);
///         if vacant {
///             entries.insert(key.to_vec(), value);
///         }
///         Ok(vacant)
///     }
///     fn compare_and_set(
///         &self,
///         key: &[u8],
///         old: &[u8],
///         new: Bytes,
///         _: SetOptions,
///         _: Instant,
///     ) -> Result<bool, Error> {
///         let mut entries = self.0.lock().unwrap();
///         let is_there = entries.get(key).is_some_and(|current| current == old);
///         if is_there {
///             entries.insert(key.to_vec(), new);
///         }
///         Ok(is_there)
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
    /// See the [contract](Backend#the-contract).
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error>;

    /// The values under `keys`, in their order, in one round trip if the server can.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract). One key that fails makes the whole call fail.
    fn get_many(&self, keys: &[&[u8]], deadline: Instant) -> Result<Vec<Option<Bytes>>, Error> {
        keys.iter().map(|key| self.get(key, deadline)).collect()
    }

    /// Stores `value` under `key` and replaces what is there.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract).
    fn set(&self, key: &[u8], value: Bytes, options: SetOptions, deadline: Instant) -> Result<(), Error>;

    /// Stores `value` only if nothing is under `key`; returns whether it did.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract).
    fn add(&self, key: &[u8], value: Bytes, options: SetOptions, deadline: Instant) -> Result<bool, Error>;

    /// Stores `new` only if exactly `old` is under `key`; returns whether it did. A result that has become old while the
    /// body ran is kept out by this.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract).
    fn compare_and_set(
        &self,
        key: &[u8],
        old: &[u8],
        new: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> Result<bool, Error>;

    /// Removes what is under `key`; returns whether anything was.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract).
    fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error>;

    /// Stores values under their keys, with the same options, in one round trip if the server can. The results are in the
    /// order of `entries`.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract). An error of the whole call means that any of them may be stored.
    fn set_many(
        &self,
        entries: &[(&[u8], Bytes)],
        options: SetOptions,
        deadline: Instant,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let set = |(key, value): &(&[u8], Bytes)| self.set(key, value.clone(), options, deadline);
        Ok(entries.iter().map(set).collect())
    }

    /// Removes what is under `keys`, in one round trip if the server can; returns how many were there.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract).
    fn delete_many(&self, keys: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        keys.iter().try_fold(0, |count, key| Ok(count + usize::from(self.delete(key, deadline)?)))
    }

    /// Whether anything is under `key`.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract).
    fn contains(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
        self.get(key, deadline).map(|value| value.is_some())
    }

    /// Keeps what is under `key` for `ttl` from now on, or forever; returns whether anything is there.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract).
    fn touch(&self, key: &[u8], ttl: Option<Duration>, deadline: Instant) -> Result<bool, Error> {
        let Some(value) = self.get(key, deadline)? else { return Ok(false) };
        self.compare_and_set(key, &value, value.clone(), SetOptions::new().ttl(ttl), deadline)
    }

    /// Adds `by` to the number under `key`, whose value is its decimal text; returns the sum, or `None` if nothing is
    /// there. The lifetime stays.
    ///
    /// # Errors
    /// [`NotANumber`](crate::ErrorKind::NotANumber) if something else is there, or the sum is out of range. Otherwise see
    /// the [contract](Backend#the-contract). A backend that doesn't override this returns
    /// [`Config`](crate::ErrorKind::Config), because nothing else here can keep the lifetime.
    fn incr(&self, key: &[u8], by: i64, deadline: Instant) -> Result<Option<i64>, Error> {
        let _ = (key, by, deadline);
        Err(adapt::lacks("incr"))
    }

    /// How long the entry under `key` will be kept: [`Duration::MAX`] if it doesn't expire, `None` if there is none.
    ///
    /// # Errors
    /// See the [contract](Backend#the-contract). A backend that doesn't override this returns
    /// [`Config`](crate::ErrorKind::Config).
    fn ttl(&self, key: &[u8], deadline: Instant) -> Result<Option<Duration>, Error> {
        let _ = (key, deadline);
        Err(adapt::lacks("ttl"))
    }

    /// The longest value, in bytes, that `set` takes. Longer ones aren't sent.
    fn max_value_len(&self) -> usize {
        usize::MAX
    }

    /// The number of servers that keys are spread over. Each has a breaker: while it is down it is not asked, and the
    /// others are.
    fn servers(&self) -> usize {
        1
    }

    /// Which of the [`servers`](Backend::servers) has `key`, counted from 0.
    fn server_of(&self, key: &[u8]) -> usize {
        let _ = key;
        0
    }
}

/// A store of bytes under keys, called by async functions.
///
/// The [contract](Backend#the-contract) is [`Backend`]'s, with two more lines: a future that is dropped leaves no half-read
/// answer to a later call, and calls from one runtime may follow calls from another that has ended.
///
/// ```
/// use std::{collections::HashMap, sync::Mutex, time::Instant};
/// use cache_runtime::{AsyncBackend, BoxFuture, Bytes, Error, SetOptions};
///
/// #[derive(Default)]
/// struct Forever(Mutex<HashMap<Vec<u8>, Bytes>>);
///
/// impl AsyncBackend for Forever {
///     fn get<'a>(&'a self, key: &'a [u8], _: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
///         Box::pin(async move { Ok(self.0.lock().unwrap().get(key).cloned()) })
///     }
///     fn set<'a>(&'a self, key: &'a [u8], value: Bytes, _: SetOptions, _: Instant) -> BoxFuture<'a, Result<(), Error>> {
///         Box::pin(async move {
///             self.0.lock().unwrap().insert(key.to_vec(), value);
///             Ok(())
///         })
///     }
///     fn add<'a>(&'a self, key: &'a [u8], value: Bytes, _: SetOptions, _: Instant) -> BoxFuture<'a, Result<bool, Error>> {
///         Box::pin(async move {
///             let mut entries = self.0.lock().unwrap();
///             let vacant = !entries.contains_key(key);
///             if vacant {
///                 entries.insert(key.to_vec(), value);
///             }
///             Ok(vacant)
///         })
///     }
///     fn compare_and_set<'a>(
///         &'a self,
///         key: &'a [u8],
///         old: &'a [u8],
///         new: Bytes,
///         _: SetOptions,
///         _: Instant,
///     ) -> BoxFuture<'a, Result<bool, Error>> {
///         Box::pin(async move {
///             let mut entries = self.0.lock().unwrap();
///             let is_there = entries.get(key).is_some_and(|current| current == old);
///             if is_there {
///                 entries.insert(key.to_vec(), new);
///             }
///             Ok(is_there)
///         })
///     }
///     fn delete<'a>(&'a self, key: &'a [u8], _: Instant) -> BoxFuture<'a, Result<bool, Error>> {
///         Box::pin(async move { Ok(self.0.lock().unwrap().remove(key).is_some()) })
///     }
/// }
///
/// let config = cache_runtime::Config::new().async_backend("forever", Forever::default());
/// # drop(config);
/// ```
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
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// See [`Backend::add`].
    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// See [`Backend::compare_and_set`].
    fn compare_and_set<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// See [`Backend::delete`].
    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>>;

    /// See [`Backend::set_many`].
    fn set_many<'a>(
        &'a self,
        entries: &'a [(&'a [u8], Bytes)],
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Result<(), Error>>, Error>> {
        Box::pin(async move {
            let mut results = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                results.push(self.set(key, value.clone(), options, deadline).await);
            }
            Ok(results)
        })
    }

    /// See [`Backend::delete_many`].
    fn delete_many<'a>(
        &'a self,
        keys: &'a [&'a [u8]],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<usize, Error>> {
        Box::pin(async move {
            let mut count = 0;
            for key in keys {
                count += usize::from(self.delete(key, deadline).await?);
            }
            Ok(count)
        })
    }

    /// See [`Backend::contains`].
    fn contains<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.get(key, deadline).await.map(|value| value.is_some()) })
    }

    /// See [`Backend::touch`].
    fn touch<'a>(
        &'a self,
        key: &'a [u8],
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let Some(value) = self.get(key, deadline).await? else { return Ok(false) };
            let options = SetOptions::new().ttl(ttl);
            self.compare_and_set(key, &value, value.clone(), options, deadline).await
        })
    }

    /// See [`Backend::incr`].
    fn incr<'a>(
        &'a self,
        key: &'a [u8],
        by: i64,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<i64>, Error>> {
        let _ = (key, by, deadline);
        Box::pin(async { Err(adapt::lacks("incr")) })
    }

    /// See [`Backend::ttl`].
    fn ttl<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
        let _ = (key, deadline);
        Box::pin(async { Err(adapt::lacks("ttl")) })
    }

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
