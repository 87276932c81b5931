//! Memory: a bounded store of typed values on moka, and the backend of bytes over it.
//!
//! Deadlines and generations are ours and judged when an entry is read; moka decides only what
//! stays. One moka type serves every function: a `moka::Cache<K, V>` per function costs a
//! second of compile time each.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::ops::compute::Op;

use super::{AsyncBackend, Backend, BoxFuture};
use crate::clock::{Clock, nanos};
use crate::error::{Error, ErrorKind};
use crate::url::Url;

// Settings

/// Entries a memory store holds unless told otherwise.
const DEFAULT_CAPACITY: u64 = 10_000;
/// What an entry costs beside its key and value, for `max_bytes`.
const ENTRY_OVERHEAD: u64 = 128;
/// At least so many stores lie between two sweeps for expired entries.
const MIN_SWEEP: u64 = 1_024;

/// The bound of a store. With both, neither is passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bound {
    /// The most entries; 10,000 if neither is given.
    pub capacity: Option<u64>,
    /// The most bytes, of keys and values.
    pub max_bytes: Option<u64>,
}

// Typed store

type Entries = moka::sync::Cache<Box<[u8]>, Slot>;

/// A bounded map from key bytes to typed values.
pub(crate) struct Store {
    entries: Entries,
    bound: Bound,
    /// For how many nanoseconds after its deadline an entry is still there: whoever reads it judges it.
    grace: u64,
    generation: AtomicU64,
    /// Stores since the last sweep.
    stores: AtomicU64,
}

/// One entry; cloned on every hit, so it is small.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    /// When it expires, in the clock's monotonic nanoseconds; `u64::MAX` is never.
    pub(crate) deadline: u64,
    /// The store's generation when its value began to be computed.
    pub(crate) generation: u64,
    /// What the run behind it took.
    pub(crate) cost: Duration,
    /// Bytes of the value, if the store is bounded by bytes.
    pub(crate) size: u64,
}

impl Store {
    pub(crate) fn new(bound: Bound, grace: u64) -> Self {
        // An entry weighs at least its share of the bytes, so one weight keeps both bounds.
        let (limit, share) = match (bound.capacity, bound.max_bytes) {
            (capacity, None) => (capacity.unwrap_or(DEFAULT_CAPACITY), None),
            (None, Some(bytes)) => (bytes, Some(1)),
            (Some(capacity), Some(bytes)) => (bytes, Some(bytes / capacity.max(1))),
        };
        let builder = Entries::builder().max_capacity(limit);
        let builder = match share {
            None => builder,
            Some(share) => builder.weigher(move |key, slot| {
                let size = entry_size(key, slot).max(share);
                u32::try_from(size).unwrap_or(u32::MAX)
            }),
        };
        Self {
            entries: builder.build(),
            bound,
            grace,
            generation: AtomicU64::new(0),
            stores: AtomicU64::new(0),
        }
    }

    /// The entry under `key` that lives or is in its grace.
    pub(crate) fn get(&self, key: &[u8], now: u64) -> Option<Slot> {
        self.entries.get(key).filter(|slot| self.is_live(slot, now))
    }

    /// Stores `slot`, unless it could never fit.
    pub(crate) fn set(&self, key: &[u8], slot: Slot, now: u64) -> Result<(), Error> {
        self.check_size(key, &slot)?;
        self.entries.insert(key.into(), slot);
        self.sweep_now_and_then(now);
        Ok(())
    }

    /// Stores `slot` only if nothing live is under `key`.
    fn add(&self, key: &[u8], slot: Slot, now: u64) -> Result<bool, Error> {
        self.check_size(key, &slot)?;
        let result = self.entries.entry(key.into()).and_compute_with(|entry| match entry {
            Some(entry) if self.is_live(entry.value(), now) => Op::Nop,
            _ => Op::Put(slot),
        });
        let added = !matches!(result, moka::ops::compute::CompResult::Unchanged(_));
        self.sweep_now_and_then(now);
        Ok(added)
    }

    /// Stores `slot` only if the live entry under `key` is as `is_old` says.
    fn replace(
        &self,
        key: &[u8],
        is_old: impl FnOnce(&Slot) -> bool,
        slot: Slot,
        now: u64,
    ) -> Result<bool, Error> {
        self.check_size(key, &slot)?;
        let result = self.entries.entry(key.into()).and_compute_with(|entry| match entry {
            Some(entry) if self.is_live(entry.value(), now) && is_old(entry.value()) => Op::Put(slot),
            _ => Op::Nop,
        });
        Ok(matches!(result, moka::ops::compute::CompResult::ReplacedWith(_)))
    }

    /// Removes what is under `key`; returns whether anything live was.
    pub(crate) fn delete(&self, key: &[u8], now: u64) -> bool {
        self.entries.remove(key).is_some_and(|slot| self.is_live(&slot, now))
    }

    /// The generation that a value computed from now on belongs to.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Ends the life of every entry, and of every value being computed now.
    pub(crate) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate_all();
    }

    fn is_live(&self, slot: &Slot, now: u64) -> bool {
        now < slot.deadline.saturating_add(self.grace) && slot.generation == self.generation()
    }

    fn check_size(&self, key: &[u8], slot: &Slot) -> Result<(), Error> {
        match self.bound.max_bytes {
            Some(max) if entry_size(key, slot) > max => {
                let message =
                    format!("{} bytes do not fit a memory store of {max} bytes", entry_size(key, slot));
                Err(Error::new(ErrorKind::TooLarge, message))
            }
            _ => Ok(()),
        }
    }

    /// Frees expired entries after as many stores as there are entries: constant cost per store.
    fn sweep_now_and_then(&self, now: u64) {
        let stores = self.stores.fetch_add(1, Ordering::Relaxed) + 1;
        if stores < MIN_SWEEP.max(self.entries.entry_count()) {
            return;
        }
        self.stores.store(0, Ordering::Relaxed);
        for (key, slot) in &self.entries {
            if !self.is_live(&slot, now) {
                self.entries.invalidate(&*key);
            }
        }
    }
}

fn entry_size(key: &[u8], slot: &Slot) -> u64 {
    slot.size.saturating_add(key.len() as u64).saturating_add(ENTRY_OVERHEAD)
}

// Backend of bytes

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
    clock: Clock,
}

impl Memory {
    /// An empty store within `bound`.
    pub fn new(bound: Bound) -> Self {
        Self { store: Store::new(bound, 0), clock: Clock::system() }
    }

    pub(crate) fn open(mut url: Url) -> Result<Self, Error> {
        let capacity = url.take("capacity", "a number of entries")?;
        let max_bytes = url.take_size("max_bytes")?;
        url.finish(&["capacity", "max_bytes", "prefix", "timeout", "ttl"])?;
        Ok(Self::new(Bound { capacity, max_bytes }))
    }

    fn slot(&self, value: Bytes, ttl: Option<Duration>) -> Slot {
        let deadline = ttl.map_or(u64::MAX, |ttl| self.clock.monotonic().saturating_add(nanos(ttl)));
        let size = value.len() as u64;
        let generation = self.store.generation();
        Slot { value: Arc::new(value), deadline, generation, cost: Duration::ZERO, size }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Bound::default())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("bound", &self.store.bound).finish_non_exhaustive()
    }
}

impl Backend for Memory {
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        in_time(deadline)?;
        let slot = self.store.get(key, self.clock.monotonic());
        Ok(slot.and_then(|slot| slot.value.downcast_ref::<Bytes>().cloned()))
    }

    fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<(), Error> {
        in_time(deadline)?;
        self.store.set(key, self.slot(value, ttl), self.clock.monotonic())
    }

    fn add(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<bool, Error> {
        in_time(deadline)?;
        self.store.add(key, self.slot(value, ttl), self.clock.monotonic())
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
        let is_old = |slot: &Slot| slot.value.downcast_ref::<Bytes>().is_some_and(|value| value == old);
        self.store.replace(key, is_old, self.slot(new, ttl), self.clock.monotonic())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(deadline: u64, size: u64) -> Slot {
        Slot { value: Arc::new(()), deadline, generation: 0, cost: Duration::ZERO, size }
    }

    #[test]
    fn expired_entries_are_swept_without_being_read() {
        let store = Store::new(Bound::default(), 0);
        for key in 0..MIN_SWEEP - 1 {
            store.set(&key.to_le_bytes(), slot(10, 0), 0).unwrap();
        }
        store.set(b"alive", slot(u64::MAX, 0), 10).unwrap();
        store.entries.run_pending_tasks();
        assert_eq!(store.entries.entry_count(), 1);
    }

    #[test]
    fn both_bounds_hold() {
        let store = Store::new(Bound { capacity: Some(10), max_bytes: Some(100_000) }, 0);
        for key in 0..1_000_u64 {
            store.set(&key.to_le_bytes(), slot(u64::MAX, 1), 0).unwrap();
        }
        store.entries.run_pending_tasks();
        assert!(store.entries.entry_count() <= 10);
        let error = store.set(b"big", slot(u64::MAX, 100_000), 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn clear_also_ends_values_being_computed() {
        let store = Store::new(Bound::default(), 0);
        let computed_before = slot(u64::MAX, 0);
        store.clear();
        store.set(b"key", computed_before, 0).unwrap();
        assert!(store.get(b"key", 0).is_none());
    }
}
