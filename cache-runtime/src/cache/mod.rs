//! The plain cache: get, set with a timeout, delete and get-or-set, the same on every backend.
//!
//! A value is bound to the type it was stored as. Reading it as another type is a miss.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::connected::Connected;
use crate::backend::{Condition, Versioned};
use crate::codec::{self, Codec, DefaultCodec};
use crate::common::clock::{Clock, millis};
use crate::common::process::PerProcess;
use crate::common::sync::lock;
use crate::common::wait::{Caller, block_on};
use crate::config::context::Context;
use crate::error::Error;
use crate::freshness::is_from_future;
use crate::function::world::World;
use crate::key::path::KeySpace;
use crate::remote::envelope::{self, Binding, Header};

/// A cache for blocking code, the same on memory, Redis and Memcached.
///
/// Values are encoded with the first codec that is compiled in: `bincode`, `postcard`, `msgpack` or `json`.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::Cache;
///
/// let cache = Cache::from_url("memory://")?;
/// cache.set("greeting", &"hello".to_owned(), Duration::from_secs(60))?;
/// assert_eq!(cache.get::<String>("greeting")?.as_deref(), Some("hello"));
/// assert_eq!(cache.get_or_set("answer", None, || 42), 42);
/// assert!(cache.delete("greeting")?);
/// # Ok::<(), cache_runtime::Error>(())
/// ```
///
/// A stored `None` is not a miss:
///
/// ```
/// # let cache = cache_runtime::Cache::from_url("memory://")?;
/// cache.set("nickname", &None::<String>, None)?;
/// assert_eq!(cache.get::<Option<String>>("nickname")?, Some(None));
/// assert_eq!(cache.get::<Option<String>>("surname")?, None);
/// # Ok::<(), cache_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cache(Plain);

/// The [`Cache`] for async code.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::AsyncCache;
///
/// # async fn example() -> Result<(), cache_runtime::Error> {
/// let cache = AsyncCache::named("redis")?;
/// cache.set("greeting", &"hello".to_owned(), Duration::from_secs(60)).await?;
/// let report = cache.get_or_set("report", Duration::from_secs(5), async { 6 * 7 }).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncCache(Plain);

/// The kind of the keys of the plain cache. The kinds of a function's keys are 0 and the fingerprints of value types.
const ANY_VALUE: u64 = 1;

/// What both have in common: everything but the waiting.
#[derive(Clone)]
struct Plain {
    connected: Arc<Connected>,
    /// The text in front of every key.
    head: Arc<str>,
    clock: Clock,
    is_disabled: bool,
    caller: Caller,
}

impl Cache {
    /// The backend named `alias`: `redis`, `memcached`, `memory`, or one that is configured.
    ///
    /// # Errors
    /// No such backend, or its URL is wrong.
    pub fn named(alias: &str) -> Result<Self, Error> {
        Plain::named(alias, Caller::Blocking).map(Self)
    }

    /// The backend at `url`. Nothing connects yet. Where remote functions use memory (in a
    /// [`Scope`](crate::testing::Scope), or with `CACHE_BACKEND=memory`), so does this.
    ///
    /// # Errors
    /// The URL is wrong.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Plain::from_url(url, Caller::Blocking).map(Self)
    }

    /// The value under `key`, unless it has expired or is of another type.
    ///
    /// # Errors
    /// The backend failed, or values of this type can't be stored.
    pub fn get<T: Serialize + DeserializeOwned + 'static>(&self, key: &str) -> Result<Option<T>, Error> {
        block_on(pin!(self.0.get(key)))
    }

    /// Stores `value` under `key` for `ttl`. With `None` it doesn't expire. A value that can't be stored leaves nothing under
    /// the key.
    ///
    /// # Errors
    /// The backend failed, or the value can't be encoded so that it decodes to itself. If the server doesn't answer, the old
    /// value may still be there.
    pub fn set<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
        value: &T,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<(), Error> {
        block_on(pin!(self.0.set(key, value, ttl.into())))
    }

    /// Removes what is under `key`; returns whether anything was.
    ///
    /// # Errors
    /// The backend failed.
    pub fn delete(&self, key: &str) -> Result<bool, Error> {
        block_on(pin!(self.0.delete(key)))
    }

    /// The value under `key`. If there is none, or the backend fails, the result of `make`, which is stored for `ttl`.
    ///
    /// Callers that miss at the same time all run `make`.
    pub fn get_or_set<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl FnOnce() -> T,
    ) -> T {
        let made = self.get_or_try_set(key, ttl, || Ok::<T, std::convert::Infallible>(make()));
        made.unwrap_or_else(|never| match never {})
    }

    /// [`get_or_set`](Self::get_or_set) for a `make` that may fail. A failure isn't stored.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn get_or_try_set<T: Serialize + DeserializeOwned + 'static, E>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(found) = block_on(pin!(self.0.found(key))) {
            return Ok(found);
        }
        let made = make()?;
        block_on(pin!(self.0.kept(key, &made, ttl.into())));
        Ok(made)
    }
}

impl AsyncCache {
    /// See [`Cache::named`].
    ///
    /// # Errors
    /// No such backend, or its URL is wrong.
    pub fn named(alias: &str) -> Result<Self, Error> {
        Plain::named(alias, Caller::Async).map(Self)
    }

    /// See [`Cache::from_url`].
    ///
    /// # Errors
    /// The URL is wrong.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Plain::from_url(url, Caller::Async).map(Self)
    }

    /// See [`Cache::get`].
    ///
    /// # Errors
    /// The backend failed, or values of this type can't be stored.
    pub async fn get<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
    ) -> Result<Option<T>, Error> {
        self.0.get(key).await
    }

    /// See [`Cache::set`].
    ///
    /// # Errors
    /// The backend failed, or the value can't be encoded so that it decodes to itself.
    pub async fn set<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
        value: &T,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<(), Error> {
        self.0.set(key, value, ttl.into()).await
    }

    /// See [`Cache::delete`].
    ///
    /// # Errors
    /// The backend failed.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.0.delete(key).await
    }

    /// See [`Cache::get_or_set`].
    pub async fn get_or_set<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl Future<Output = T>,
    ) -> T {
        let made =
            self.get_or_try_set(key, ttl, async { Ok::<T, std::convert::Infallible>(make.await) }).await;
        made.unwrap_or_else(|never| match never {})
    }

    /// See [`Cache::get_or_try_set`].
    ///
    /// # Errors
    /// What `make` returns.
    pub async fn get_or_try_set<T: Serialize + DeserializeOwned + 'static, E>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if let Some(found) = self.0.found(key).await {
            return Ok(found);
        }
        let made = make.await?;
        self.0.kept(key, &made, ttl.into()).await;
        Ok(made)
    }
}

impl Plain {
    fn named(alias: &str, caller: Caller) -> Result<Self, Error> {
        let world = World::current();
        Ok(Self::new(&world.context, world.context.connected(alias)?, caller))
    }

    fn from_url(url: &str, caller: Caller) -> Result<Self, Error> {
        let world = World::current();
        Ok(Self::new(&world.context, world.context.open_url(url)?, caller))
    }

    fn new(context: &Context, connected: Arc<Connected>, caller: Caller) -> Self {
        let is_disabled = context.config.is_disabled();
        let head = KeySpace::new(&connected.prefix, "cache", 0).head(ANY_VALUE).into();
        Self { connected, head, clock: context.clock.clone(), is_disabled, caller }
    }

    fn text(&self, key: &str) -> String {
        format!("{}{key}", self.head)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.connected.timeout
    }

    async fn get<T: Serialize + DeserializeOwned + 'static>(&self, key: &str) -> Result<Option<T>, Error> {
        let (text, shape) = (self.text(key), shape_of::<T>()?);
        if self.is_disabled {
            return Ok(None);
        }
        let bytes = self.connected.get(text.as_bytes(), self.deadline(), self.caller).await?;
        // Bytes that are no value of this type under this key are a miss.
        Ok(bytes.and_then(|Versioned { bytes, .. }| {
            let (header, payload) = envelope::open(&binding(&text, shape), bytes).ok()?;
            let now = self.clock.unix_ms();
            let is_fresh = header
                .fresh_until_ms
                .is_none_or(|until| now < until && !is_from_future(now, header.created_ms));
            if is_fresh && !header.is_hollow() {
                codec::decode::<DefaultCodec, T>(&payload).ok()
            } else {
                None
            }
        }))
    }

    async fn set<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
        value: &T,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        if self.is_disabled {
            return Ok(());
        }
        if ttl.is_some_and(|ttl| ttl.is_zero()) {
            // Not stored. The value before it must not stay either.
            return self.delete(key).await.map(drop);
        }
        let set = match self.seal(key, value, ttl) {
            Ok(bytes) => self.set_bytes(key, bytes, ttl).await,
            Err(error) => Err(error),
        };
        // The value that was to be replaced must not stay. Asking a server that gave no answer would double the time.
        if let Err(error) = &set
            && !error.is_without_answer()
            && let Err(error) = self.delete(key).await
        {
            log::warn!("cache key `{key}`: the old value may still be served: {error:?}");
        }
        set
    }

    async fn set_bytes(&self, key: &str, bytes: Vec<u8>, ttl: Option<Duration>) -> Result<(), Error> {
        let (text, deadline, condition) = (self.text(key), self.deadline(), Condition::Always);
        self.connected
            .set(text.as_bytes(), bytes.into(), ttl, condition, deadline, self.caller)
            .await
            .map(drop)
    }

    /// The envelope around `value`.
    fn seal<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
        value: &T,
        ttl: Option<Duration>,
    ) -> Result<Vec<u8>, Error> {
        let now = self.clock.unix_ms();
        let header = Header {
            created_ms: now,
            fresh_until_ms: ttl.map(|ttl| now.saturating_add(millis(ttl))),
            ..Header::default()
        };
        let payload = |out: &mut Vec<u8>| codec::encode_checked::<DefaultCodec, T>(value, None, out);
        let (text, shape) = (self.text(key), shape_of::<T>()?);
        let bytes = envelope::seal(&binding(&text, shape), &header, codec::INITIAL_CAPACITY, payload)?;
        self.connected.check_len(bytes.len())?;
        Ok(bytes)
    }

    async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.connected.delete(self.text(key).as_bytes(), self.deadline(), self.caller).await
    }

    /// The value, if there is one. A failure counts as a miss.
    async fn found<T: Serialize + DeserializeOwned + 'static>(&self, key: &str) -> Option<T> {
        self.get(key).await.unwrap_or_else(|error| {
            log::debug!("cache key `{key}` can't be read: {error:?}");
            None
        })
    }

    /// Stores a value if possible.
    async fn kept<T: Serialize + DeserializeOwned + 'static>(
        &self,
        key: &str,
        value: &T,
        ttl: Option<Duration>,
    ) {
        if let Err(error) = self.set(key, value, ttl).await {
            log::debug!("cache key `{key}` can't be written: {error:?}");
        }
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("caller", &self.caller).finish_non_exhaustive()
    }
}

fn binding(text: &str, shape: u64) -> Binding<'_> {
    Binding { key: text.as_bytes(), shape, codec: DefaultCodec::ID }
}

/// The fingerprint of `T`, traced once per type.
fn shape_of<T: Serialize + DeserializeOwned + 'static>() -> Result<u64, Error> {
    static SHAPES: PerProcess<Mutex<HashMap<TypeId, Result<u64, Error>>>> = PerProcess::new();
    let shapes = SHAPES.get(|_| Mutex::default());
    if let Some(known) = lock(shapes).get(&TypeId::of::<T>()) {
        return known.clone();
    }
    // Traced without the lock: tracing runs the user's `Deserialize`.
    let traced = codec::shape::<DefaultCodec, T>().map(|shape| shape.fingerprint);
    lock(shapes).entry(TypeId::of::<T>()).or_insert(traced).clone()
}
