//! The plain cache: get, set with a timeout, delete, get-or-set, alike on every backend.
//!
//! What a key holds is bound to the type it was stored as: reading it as another type is a miss.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Bincode, Codec};
use crate::common::clock::{Clock, millis};
use crate::common::wait::{Io, block_on};
use crate::config::context::{Connected, Context, lock};
use crate::error::{Error, ErrorKind};
use crate::remote::envelope::{self, Binding, Header};

/// A cache for blocking code: three calls, the same on memory, Redis and Memcached.
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

/// What both kinds have in common, which is all but the waiting.
#[derive(Clone)]
struct Plain {
    connected: Arc<Connected>,
    clock: Clock,
    disabled: bool,
    io: Io,
}

/// A value that the plain cache keeps: anything that serde writes and reads.
pub trait Value: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Value for T {}

impl Cache {
    /// The backend named `alias`: `redis`, `memcached`, `memory`, or one that is configured.
    ///
    /// # Errors
    /// No such backend, or its URL is wrong.
    pub fn named(alias: &str) -> Result<Self, Error> {
        Plain::named(alias, Io::Blocking).map(Self)
    }

    /// The backend at `url`; nothing connects yet.
    ///
    /// # Errors
    /// The URL is wrong.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Plain::from_url(url, Io::Blocking).map(Self)
    }

    /// What `set` stored under `key`, unless it has expired or was of another type.
    ///
    /// # Errors
    /// The backend failed, or values of this type can't be stored.
    pub fn get<T: Value>(&self, key: &str) -> Result<Option<T>, Error> {
        block_on(pin!(self.0.get(key)))
    }

    /// Stores `value` under `key` for `ttl`; with `None` it doesn't expire.
    ///
    /// # Errors
    /// The backend failed, or the value can't be encoded so that it decodes to itself.
    pub fn set<T: Value>(&self, key: &str, value: &T, ttl: impl Into<Option<Duration>>) -> Result<(), Error> {
        block_on(pin!(self.0.set(key, value, ttl.into())))
    }

    /// Removes what is under `key`; returns whether anything was.
    ///
    /// # Errors
    /// The backend failed.
    pub fn delete(&self, key: &str) -> Result<bool, Error> {
        block_on(pin!(self.0.delete(key)))
    }

    /// What is under `key`, else what `make` gives, stored for `ttl`. A backend that fails is as if
    /// nothing were there.
    pub fn get_or_set<T: Value>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl FnOnce() -> T,
    ) -> T {
        let made = self.get_or_try_set(key, ttl, || Ok::<T, std::convert::Infallible>(make()));
        made.unwrap_or_else(|never| match never {})
    }

    /// [`get_or_set`](Self::get_or_set) for a `make` that may fail; a failure isn't stored.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn get_or_try_set<T: Value, E>(
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
        Plain::named(alias, Io::Async).map(Self)
    }

    /// See [`Cache::from_url`].
    ///
    /// # Errors
    /// The URL is wrong.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Plain::from_url(url, Io::Async).map(Self)
    }

    /// See [`Cache::get`].
    ///
    /// # Errors
    /// The backend failed, or values of this type can't be stored.
    pub async fn get<T: Value>(&self, key: &str) -> Result<Option<T>, Error> {
        self.0.get(key).await
    }

    /// See [`Cache::set`].
    ///
    /// # Errors
    /// The backend failed, or the value can't be encoded so that it decodes to itself.
    pub async fn set<T: Value>(
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
    pub async fn get_or_set<T: Value>(
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
    pub async fn get_or_try_set<T: Value, E>(
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
    fn named(alias: &str, io: Io) -> Result<Self, Error> {
        let context = Context::current();
        Ok(Self::new(&context, context.connected(alias)?, io))
    }

    fn from_url(url: &str, io: Io) -> Result<Self, Error> {
        let context = Context::current();
        Ok(Self::new(&context, Arc::new(context.config.open_url(url)?), io))
    }

    fn new(context: &Context, connected: Arc<Connected>, io: Io) -> Self {
        Self { connected, clock: context.clock.clone(), disabled: context.config.is_disabled(), io }
    }

    fn text(&self, key: &str) -> String {
        format!("{}cache:{key}", self.connected.prefix)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.connected.timeout
    }

    async fn get<T: Value>(&self, key: &str) -> Result<Option<T>, Error> {
        let (text, shape) = (self.text(key), shape_of::<T>()?);
        if self.disabled {
            return Ok(None);
        }
        let bytes = self.connected.of(self.io).get(text.as_bytes(), self.deadline()).await?;
        // Bytes that are no value of this type under this key are a miss.
        Ok(bytes.and_then(|bytes| {
            let (header, payload) = envelope::open(&binding(&text, shape), bytes).ok()?;
            let is_fresh = header.fresh_until_ms.is_none_or(|until| self.clock.unix_ms() < until);
            if is_fresh && !header.is_hollow() { codec::decode::<Bincode, T>(&payload).ok() } else { None }
        }))
    }

    async fn set<T: Value>(&self, key: &str, value: &T, ttl: Option<Duration>) -> Result<(), Error> {
        let (text, shape) = (self.text(key), shape_of::<T>()?);
        if self.disabled {
            return Ok(());
        }
        let (backend, now) = (self.connected.of(self.io), self.clock.unix_ms());
        if ttl.is_some_and(|ttl| ttl.is_zero()) {
            // Not stored; what was there before must not stay either.
            return self.delete(key).await.map(drop);
        }
        let header = Header {
            created_ms: now,
            fresh_until_ms: ttl.map(|ttl| now.saturating_add(millis(ttl))),
            ..Header::default()
        };
        let payload = |out: &mut Vec<u8>| codec::encode_checked::<Bincode, T>(value, None, out);
        let bytes = envelope::seal(&binding(&text, shape), &header, codec::ROOM, payload)?;
        if bytes.len() > backend.max_value_len() {
            let message =
                format!("{} bytes where the backend takes {}", bytes.len(), backend.max_value_len());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        backend.set(text.as_bytes(), bytes.into(), ttl, self.deadline()).await
    }

    async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.connected.of(self.io).delete(self.text(key).as_bytes(), self.deadline()).await
    }

    /// A found value; a failure is as if there were none.
    async fn found<T: Value>(&self, key: &str) -> Option<T> {
        self.get(key).await.unwrap_or_else(|error| {
            log::debug!("cache key `{key}` can't be read: {error:?}");
            None
        })
    }

    /// Keeps a value if that can be done.
    async fn kept<T: Value>(&self, key: &str, value: &T, ttl: Option<Duration>) {
        if let Err(error) = self.set(key, value, ttl).await {
            log::debug!("cache key `{key}` can't be written: {error:?}");
        }
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("io", &self.io).finish_non_exhaustive()
    }
}

fn binding(text: &str, shape: u64) -> Binding<'_> {
    Binding { key: text.as_bytes(), shape, codec: Bincode::ID }
}

/// The fingerprint of `T`, traced once per type.
fn shape_of<T: Value>() -> Result<u64, Error> {
    static SHAPES: OnceLock<Mutex<HashMap<TypeId, Result<u64, Error>>>> = OnceLock::new();
    let shapes = SHAPES.get_or_init(Mutex::default);
    if let Some(known) = lock(shapes).get(&TypeId::of::<T>()) {
        return known.clone();
    }
    // Traced without the lock: tracing runs the user's `Deserialize`.
    let traced = codec::shape::<Bincode, T>().map(|shape| shape.fingerprint);
    lock(shapes).entry(TypeId::of::<T>()).or_insert(traced).clone()
}
