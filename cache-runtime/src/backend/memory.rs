//! Memory as a backend of bytes, in moka.
//!
//! Deadlines are ours, because moka's per-entry `Expiry` had memory bugs. moka evicts when it gets to it; how late that is
//! has a bound here.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::quality::RandomState;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;

use super::SetOptions;
use super::derived::{async_backend_of_service, backend_of_service, bytes_of};
use super::request::{
    Answer, Condition, Reply, Request, Service, Version, Versioned, not_a_number, number_of,
};
use crate::common::clock::{Clock, nanos};
use crate::common::process::PerProcess;
use crate::common::wait::{BoxFuture, Caller, MaybeReady};
use crate::error::{Error, ErrorKind};
use crate::memory::{Bound, DEFAULT_CAPACITY};
use crate::net::url::Url;

/// What an entry costs beside its key and value, for `max_bytes`.
const ENTRY_OVERHEAD: u64 = 192;
/// moka catches up when what it was not asked to do yet is this part of its limit, or this many stores.
const LAG_SHARE: u64 = 16;
const LAG_STORES: u64 = 64;
/// At least this many stores lie between two searches for expired entries.
const MIN_SWEEP: u64 = 1_024;

/// Memory as a backend of bytes: for aliases at `memory://` and for `CACHE_BACKEND=memory`.
///
/// Functions with `backend = "memory"` don't use it: their values stay typed.
///
/// ```
/// use cache_runtime::{Cache, Config, Memory};
///
/// Config::from_env().url("scratch", "memory://?capacity=100&max_bytes=1MiB").install()?;
/// Cache::named("scratch")?.set("key", &"value".to_owned(), None)?;
/// # Ok::<(), cache_runtime::Error>(())
/// ```
pub struct Memory {
    /// A child of `fork` begins without entries: another thread may have held a lock of moka.
    entries: PerProcess<Entries>,
    bound: Bound,
    /// The least weight of an entry, if weights are bytes: so one weight keeps both bounds.
    least: Option<u64>,
    clock: Clock,
    /// The clock of a test, where there is one: for lifetimes that nothing else judges.
    test_clock: Option<Clock>,
}

/// The time by the system's clock, and by a test's.
#[derive(Clone, Copy)]
struct Now {
    real: u64,
    exact: u64,
}

struct Entries {
    moka: moka::sync::Cache<Vec<u8>, Entry, RandomState>,
    /// Stores, and their weight, since moka last evicted all that it had to.
    late: AtomicU64,
    late_weight: AtomicU64,
    /// Stores since expired entries were last removed.
    unswept: AtomicU64,
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    /// `u64::MAX` is never.
    deadline: u64,
    /// Whether the deadline is by [`Now::exact`].
    is_exact: bool,
    weight: u32,
}

impl Memory {
    /// An empty store within `bound`.
    pub fn new(bound: Bound) -> Self {
        let least = bound.max_bytes.map(|max| bound.capacity.map_or(0, |capacity| max / capacity.max(1)));
        Self { entries: PerProcess::new(), bound, least, clock: Clock::system(), test_clock: None }
    }

    /// The same in a world with `clock`, which may be a test's.
    pub(crate) fn with_clock(self, clock: Clock) -> Self {
        let test_clock = matches!(clock, Clock::Manual(_)).then_some(clock);
        Self { test_clock, ..self }
    }

    fn now(&self) -> Now {
        let real = self.clock.monotonic();
        Now { real, exact: self.test_clock.as_ref().map_or(real, Clock::monotonic) }
    }

    fn entries(&self) -> &Entries {
        self.entries.get(|_| Entries::new(self.bound))
    }

    pub(crate) fn open(mut url: Url) -> Result<Self, Error> {
        let capacity = url.take("capacity", "a number of entries")?;
        let max_bytes = url.take_size("max_bytes")?;
        url.finish()?;
        Ok(Self::new(Bound { capacity, max_bytes }))
    }

    fn perform(&self, request: Request<'_>, deadline: Instant) -> Result<Reply, Error> {
        if deadline <= Instant::now() {
            let message = "the call's time was used up before it reached the backend";
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        match request {
            Request::Get(key) => Ok(Reply::Value(self.get(key))),
            Request::GetMany(keys) => Ok(Reply::Values(keys.iter().map(|key| self.get(key)).collect())),
            Request::Set { key, value, options, condition } => {
                let is_set = self.set(key, value, options, condition)?;
                Ok(Reply::Set(is_set.then_some(Version::UNKNOWN)))
            }
            Request::SetMany { entries, options } => {
                let set = |(key, value): &(&[u8], Bytes)| {
                    self.set(key, value.clone(), options, Condition::Always).map(drop)
                };
                Ok(Reply::SetEach(entries.iter().map(set).collect()))
            }
            Request::Delete(key) => Ok(Reply::Done(self.delete(key))),
            Request::DeleteMany(keys) => Ok(Reply::Count(keys.iter().filter(|key| self.delete(key)).count())),
            Request::Contains(key) => Ok(Reply::Done(self.get(key).is_some())),
            Request::Touch { key, ttl } => Ok(Reply::Done(self.touch(key, ttl))),
            Request::Incr { key, by } => self.incr(key, by).map(Reply::Number),
            Request::Ttl(key) => Ok(Reply::Ttl(self.ttl(key))),
        }
    }

    fn delete(&self, key: &[u8]) -> bool {
        let deleted = self.entries().moka.remove(key);
        deleted.is_some_and(|entry| entry.is_live(self.now()))
    }

    fn touch(&self, key: &[u8], ttl: Option<Duration>) -> bool {
        let now = self.now();
        let result = self.entries().moka.entry_by_ref(key).and_compute_with(|held| {
            match held.map(moka::Entry::into_value).filter(|entry| entry.is_live(now)) {
                Some(entry) => Op::Put(Entry { deadline: now.after(ttl, entry.is_exact), ..entry }),
                None => Op::Nop,
            }
        });
        matches!(result, CompResult::ReplacedWith(_))
    }

    fn incr(&self, key: &[u8], by: i64) -> Result<Option<i64>, Error> {
        let (now, mut sum) = (self.now(), Ok(None));
        self.entries().moka.entry_by_ref(key).and_compute_with(|held| {
            let Some(entry) = held.map(moka::Entry::into_value).filter(|entry| entry.is_live(now)) else {
                return Op::Nop;
            };
            let added = number_of(&entry.value).and_then(|number| number.checked_add(by));
            sum = added.map(Some).ok_or_else(not_a_number);
            match added {
                Some(sum) => Op::Put(Entry { value: sum.to_string().into(), ..entry }),
                None => Op::Nop,
            }
        });
        sum
    }

    fn ttl(&self, key: &[u8]) -> Option<Duration> {
        let now = self.now();
        let entry = self.entries().moka.get(key).filter(|entry| entry.is_live(now))?;
        Some(match entry.deadline {
            u64::MAX => Duration::MAX,
            deadline => Duration::from_nanos(deadline.saturating_sub(now.by(entry.is_exact))),
        })
    }

    fn get(&self, key: &[u8]) -> Option<Versioned> {
        let entry = self.entries().moka.get(key)?;
        entry.is_live(self.now()).then(|| Versioned::from(entry.value))
    }

    /// Stores `value` if `condition` holds for what lives under `key`; returns whether it does.
    fn set(
        &self,
        key: &[u8],
        value: Bytes,
        options: SetOptions,
        condition: Condition<'_>,
    ) -> Result<bool, Error> {
        let now = self.now();
        let weight = self.weight(key, &value)?;
        let SetOptions { ttl, is_exact } = options;
        let deadline = now.after(ttl, is_exact);
        let entries = self.entries();
        let result = entries.moka.entry_by_ref(key).and_compute_with(|held| {
            let held = held.map(moka::Entry::into_value).filter(|entry| entry.is_live(now));
            let holds = match condition {
                Condition::Always => true,
                Condition::Absent => held.is_none(),
                Condition::Equals { bytes, .. } => held.is_some_and(|entry| entry.value == bytes),
            };
            let weight = u32::try_from(weight).unwrap_or(u32::MAX);
            if holds { Op::Put(Entry { value, deadline, is_exact, weight }) } else { Op::Nop }
        });
        entries.catch_up(weight);
        entries.sweep_if_due(now);
        Ok(matches!(result, CompResult::Inserted(_) | CompResult::ReplacedWith(_)))
    }

    fn weight(&self, key: &[u8], value: &Bytes) -> Result<u64, Error> {
        let (Some(max), Some(least)) = (self.bound.max_bytes, self.least) else { return Ok(1) };
        let size = (key.len() + value.len()) as u64 + ENTRY_OVERHEAD;
        if size > max {
            let message = format!("{size} bytes do not fit a memory store of {max} bytes");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(size.max(least))
    }
}

impl Now {
    fn by(self, is_exact: bool) -> u64 {
        if is_exact { self.exact } else { self.real }
    }

    fn after(self, ttl: Option<Duration>, is_exact: bool) -> u64 {
        ttl.map_or(u64::MAX, |ttl| self.by(is_exact).saturating_add(nanos(ttl)))
    }
}

impl Entries {
    fn new(bound: Bound) -> Self {
        let limit = bound.max_bytes.or(bound.capacity).unwrap_or(DEFAULT_CAPACITY);
        // Not TinyLFU, which may evict at once what was just stored. A plain cache must give back what it accepted.
        let moka = moka::sync::Cache::builder().max_capacity(limit).eviction_policy(EvictionPolicy::lru());
        // An entry of weight one needs no weigher.
        let moka = match bound.max_bytes {
            Some(_) => moka.weigher(|_, entry: &Entry| entry.weight),
            None => moka,
        };
        Self {
            moka: moka.build_with_hasher(RandomState::default()),
            late: AtomicU64::new(0),
            late_weight: AtomicU64::new(0),
            unswept: AtomicU64::new(0),
        }
    }

    /// Has moka evict what is too much by now, if that may be much.
    fn catch_up(&self, weight: u64) {
        let late = self.late.fetch_add(1, Relaxed) + 1;
        let late_weight = self.late_weight.fetch_add(weight, Relaxed) + weight;
        let limit = self.moka.policy().max_capacity().unwrap_or(DEFAULT_CAPACITY);
        if late >= LAG_STORES || late_weight > limit / LAG_SHARE {
            self.late.store(0, Relaxed);
            self.late_weight.store(0, Relaxed);
            self.moka.run_pending_tasks();
        }
    }

    /// Removes expired entries that nobody reads. After as many stores as there are entries: constant time per store.
    fn sweep_if_due(&self, now: Now) {
        let unswept = self.unswept.fetch_add(1, Relaxed) + 1;
        if unswept >= MIN_SWEEP.max(self.moka.entry_count()) {
            self.unswept.store(0, Relaxed);
            for (key, _) in self.moka.iter().filter(|(_, entry)| !entry.is_live(now)) {
                self.moka.entry_by_ref(&key[..]).and_compute_with(|held| match held {
                    Some(held) if !held.value().is_live(now) => Op::Remove,
                    _ => Op::Nop,
                });
            }
        }
    }
}

impl Entry {
    fn is_live(&self, now: Now) -> bool {
        now.by(self.is_exact) < self.deadline
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

impl Service for Memory {
    /// Nothing here waits, so an async caller gets its answer at once too.
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, _: Caller) -> Answer<'a> {
        MaybeReady::done(self.perform(request, deadline))
    }

    fn max_value_len(&self) -> usize {
        usize::MAX
    }
}

backend_of_service!(Memory);
async_backend_of_service!(Memory);
