//! Memory: a bounded [`Store`] of typed values, and the backend of bytes over it.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{AsyncBackend, Backend, BoxFuture};
use crate::common::clock::{Clock, nanos};
use crate::error::{Error, ErrorKind};
use crate::memory::{Bound, New, Slot, Store};
use crate::net::url::Url;
use crate::value::Value;

/// Memory as a backend of bytes: for aliases at `memory://` and for `CACHE_BACKEND=memory`.
///
/// Functions with `backend = "memory"` don't go through it: their values stay typed.
///
/// ```
/// use cache_runtime::{Cache, Config, Memory};
///
/// Config::from_env().url("scratch", "memory://?capacity=100&max_bytes=1MiB").install()?;
/// Cache::named("scratch")?.set("key", &"value".to_owned(), None)?;
/// # Ok::<(), cache_runtime::Error>(())
/// ```
pub struct Memory {
    store: Store,
    bound: Bound,
    clock: Clock,
}

impl Memory {
    /// An empty store within `bound`.
    pub fn new(bound: Bound) -> Self {
        Self { store: Store::new(bound, 0), bound, clock: Clock::system() }
    }

    pub(crate) fn open(mut url: Url) -> Result<Self, Error> {
        let capacity = url.take("capacity", "a number of entries")?;
        let max_bytes = url.take_size("max_bytes")?;
        url.finish()?;
        Ok(Self::new(Bound { capacity, max_bytes }))
    }

    fn new_of(&self, value: Bytes, ttl: Option<Duration>) -> New {
        let deadline = ttl.map_or(u64::MAX, |ttl| self.clock.monotonic().saturating_add(nanos(ttl)));
        let size = value.len() as u64;
        let slot = Slot { value: Value::new(&value), deadline, cost: 0 };
        New { slot, generation: self.store.generation(), size }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Bound::default())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl Backend for Memory {
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        in_time(deadline)?;
        let slot = self.store.get(key, self.clock.monotonic());
        Ok(slot.and_then(|slot| slot.value.copy()))
    }

    fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<(), Error> {
        in_time(deadline)?;
        self.store.set(key, self.new_of(value, ttl), self.clock.monotonic())
    }

    fn add(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<bool, Error> {
        in_time(deadline)?;
        self.store.add(key, self.new_of(value, ttl), self.clock.monotonic())
    }

    fn replace(
        &self,
        key: &[u8],
        old: &[u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Result<bool, Error> {
        in_time(deadline)?;
        let is_old = |slot: &Slot| slot.value.copy::<Bytes>().is_some_and(|value| value == old);
        self.store.replace(key, is_old, self.new_of(new, ttl), self.clock.monotonic())
    }

    fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
        in_time(deadline)?;
        Ok(self.store.delete(key, self.clock.monotonic()))
    }
}

/// Nothing here waits, so each call is answered at once.
impl AsyncBackend for Memory {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        ready(Backend::get(self, key, deadline))
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        ready(Backend::set(self, key, value, ttl, deadline))
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        ready(Backend::add(self, key, value, ttl, deadline))
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        ready(Backend::replace(self, key, old, new, ttl, deadline))
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        ready(Backend::delete(self, key, deadline))
    }
}

fn ready<'a, T: Send + 'a>(result: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(result))
}

fn in_time(deadline: Instant) -> Result<(), Error> {
    match Instant::now() < deadline {
        true => Ok(()),
        false => {
            Err(Error::new(ErrorKind::Timeout, "the call's time was used up before it reached the backend"))
        }
    }
}
