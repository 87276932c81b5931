//! A bounded map from key bytes to typed values, in [shards](Shard) by the hash of the key.
//!
//! The bounds belong to the whole store: a shard that gets an entry evicts one of its own while the store is full, and
//! only a shard that has none left takes the room from another. So the shards' sizes follow what they are asked for.
//!
//! One type serves every function, because a table of its own for each would cost a second of compile time. Hashes are
//! seeded at random against chosen keys. Expired entries are removed by [`sweep`](super::sweep) if nobody reads them.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};

use foldhash::quality::RandomState;

use super::shard::{Place, Shard};
use super::sweep::Sweep;
use super::{Bound, DEFAULT_CAPACITY};
use crate::common::clock::Clock;
use crate::common::process::PerProcess;
use crate::error::{Error, ErrorKind};
use crate::key::{ShortKey, short};
use crate::value::Value;

/// What an entry costs beside its key and value, for `max_bytes`.
const ENTRY_OVERHEAD: u64 = 128;
/// A shard has room for so many entries at least, because it can't evict well among few.
const MIN_SHARD: u64 = 512;
/// Words of a key that is hashed word by word.
const FEW: usize = 8;

/// The map.
pub(crate) struct Store {
    hasher: RandomState,
    /// Those of `shared`: from here, a hit gets there with one load less.
    shards: Arc<[Shard]>,
    shared: Arc<SharedStore>,
}

/// What the background uses too.
pub(super) struct SharedStore {
    /// As many as a power of two.
    shards: Arc<[Shard]>,
    bound: Bound,
    totals: Totals,
    /// For how many nanoseconds after its deadline an entry is still there: whoever reads it judges it.
    grace: u64,
    generation: AtomicU64,
    pub(super) clock: Clock,
    sweep: PerProcess<Sweep>,
    has_reported: AtomicBool,
}

/// What all shards hold together.
#[derive(Default)]
pub(super) struct Totals {
    len: AtomicU64,
    weight: AtomicU64,
    pub(super) evictions: AtomicU64,
    /// Entries that were stored again soon after they had been evicted.
    pub(super) comebacks: AtomicU64,
}

/// What is stored under a key.
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// When it expires, in the clock's monotonic nanoseconds; `u64::MAX` is never.
    pub(crate) deadline: u64,
    /// The last deadline that it may get when it is read.
    pub(crate) end: u64,
    /// The nanoseconds that the run behind it took.
    pub(crate) cost: u64,
}

/// What is to be stored.
pub(crate) struct New {
    pub(crate) entry: Entry,
    /// The store's generation when its value began to be computed.
    pub(crate) generation: u64,
    /// Bytes of the value, if the store is bounded by bytes.
    pub(crate) size: u64,
}

/// When an entry expires and what it cost: see [`Entry`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) deadline: u64,
    pub(crate) cost: u64,
}

/// What a store has room for, and the time.
pub(super) struct Room<'s> {
    pub(super) totals: &'s Totals,
    bound: Bound,
    grace: u64,
    now: u64,
}

impl Store {
    pub(crate) fn new(bound: Bound, grace: u64, clock: Clock) -> Self {
        let capacity = match bound {
            Bound { capacity: None, max_bytes: None } => Some(DEFAULT_CAPACITY),
            bound => bound.capacity,
        };
        let by_bytes = bound.max_bytes.map_or(u64::MAX, |max| max / ENTRY_OVERHEAD);
        let most = capacity.unwrap_or(u64::MAX).min(by_bytes);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let shards = (most / MIN_SHARD).clamp(1, (4 * cores).clamp(8, 64));
        let shards: Arc<[Shard]> = (0..1_u64 << shards.ilog2()).map(|_| Shard::new(most)).collect();
        let shared = SharedStore {
            shards: shards.clone(),
            bound: Bound { capacity, ..bound },
            totals: Totals::default(),
            grace,
            generation: AtomicU64::new(0),
            clock,
            sweep: PerProcess::new(),
            has_reported: AtomicBool::new(false),
        };
        Self { hasher: RandomState::default(), shards, shared: Arc::new(shared) }
    }

    /// The store in a child of `fork`, unless a thread that the child lacks was using it.
    pub(crate) fn in_child(&self) -> Option<Self> {
        let Self { hasher, shards, shared } = self;
        let is_at_rest = shards.iter().all(Shard::is_at_rest);
        is_at_rest.then(|| Self { hasher: hasher.clone(), shards: shards.clone(), shared: shared.clone() })
    }

    #[inline(always)]
    fn shard(&self, hash: u64) -> &Shard {
        let shards = &*self.shards;
        #[allow(clippy::cast_possible_truncation, reason = "a few bits, of those that shards don't look at")]
        let at = (hash >> 32) as usize;
        &shards[at & (shards.len() - 1)]
    }

    #[inline(always)]
    fn place<'k>(&self, key: &'k [u8]) -> (&Shard, Place<'k>) {
        let short = short(key);
        let hash = match short {
            Some(short) => hash_short(&self.hasher, short),
            None => hash_long(&self.hasher, key),
        };
        (self.shard(hash), Place { hash: low(hash), key, short })
    }

    /// The number under a short key, if `is_hit` says of its life that it may be served. If not, it may still be found by
    /// [`get`](Self::get).
    #[inline]
    pub(crate) fn number(&self, key: ShortKey, is_hit: impl FnOnce(Life) -> bool) -> Option<u64> {
        let hash = hash_short(&self.hasher, key);
        let (bits, life) = self.shard(hash).number(low(hash), key)?;
        is_hit(life).then_some(bits)
    }

    /// What `serve` makes of the value under `key`, wherever it stands in its life.
    #[inline]
    pub(crate) fn get<T>(&self, key: &[u8], serve: impl FnOnce(&Value, Life) -> Option<T>) -> Option<T> {
        let (shard, place) = self.place(key);
        shard.get(place, serve)
    }

    /// Stores `new` in place of what is under `key`. If it could never fit, nothing is under the key afterwards.
    pub(crate) fn set(&self, key: &[u8], new: New, now: u64) -> Result<(), Error> {
        let New { entry, generation, size } = new;
        let shared = &*self.shared;
        let weight = match shared.bound.max_bytes {
            None => 1,
            Some(max) => {
                let weight = size.saturating_add(key.len() as u64).saturating_add(ENTRY_OVERHEAD);
                if weight > max {
                    self.delete(key);
                    let message = format!("{weight} bytes do not fit a memory store of {max} bytes");
                    return Err(Error::new(ErrorKind::TooLarge, message));
                }
                weight
            }
        };
        let (room, deadline) = (shared.room(now), entry.deadline);
        let (shard, place) = self.place(key);
        // What was computed before a `clear` is cleared, too.
        let is_current = || generation == self.generation();
        drop(shard.set(place, entry, weight, &room, is_current));
        shared.keep_bounds(&room);
        if deadline != u64::MAX {
            Sweep::ask(&self.shared, deadline.saturating_add(shared.grace), now);
        }
        Ok(())
    }

    /// Moves the deadline of the entry under `key`, if it lives now, up to `deadline` and within its end.
    pub(crate) fn live_until(&self, key: &[u8], now: u64, deadline: u64) {
        let (shard, place) = self.place(key);
        shard.live_until(place, now, deadline);
    }

    /// Removes what is under `key`.
    pub(crate) fn delete(&self, key: &[u8]) {
        let (shard, place) = self.place(key);
        drop(shard.delete(place, &self.shared.totals));
    }

    /// The generation that a value computed from now on belongs to.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(SeqCst)
    }

    /// Ends the life of every entry, and of every value being computed now.
    pub(crate) fn clear(&self) {
        // A value of the old generation that a shard takes before this is cleared with it.
        self.shared.generation.fetch_add(1, SeqCst);
        let SharedStore { shards, totals, .. } = &*self.shared;
        shards.iter().for_each(|shard| drop(shard.clear(totals)));
    }

    /// How many entries there are, and how many were evicted so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let totals = &self.shared.totals;
        (totals.len.load(Relaxed), totals.evictions.load(Relaxed))
    }

    /// Whether the bound has begun to evict what is asked for again. True once.
    pub(crate) fn begins_to_miss_evicted(&self) -> bool {
        let SharedStore { totals, has_reported, .. } = &*self.shared;
        totals.comebacks.load(Relaxed) > 0 && !has_reported.load(Relaxed) && !has_reported.swap(true, Relaxed)
    }
}

impl SharedStore {
    fn room(&self, now: u64) -> Room<'_> {
        Room::new(&self.totals, self.bound, self.grace, now)
    }

    pub(super) fn sweep(&self) -> &Sweep {
        self.sweep.get(|_| Sweep::default())
    }

    /// Removes all expired entries; returns when the next one is to be removed, `u64::MAX` if none is.
    pub(super) fn remove_expired(&self, now: u64) -> u64 {
        let room = self.room(now);
        let earliest = self.shards.iter().map(|shard| {
            let (earliest, removed) = shard.sweep(&room);
            drop(removed);
            earliest
        });
        earliest.min().unwrap_or(u64::MAX).saturating_add(self.grace)
    }

    /// Evicts from whatever shard, where the shard of the last entry had too little.
    fn keep_bounds(&self, room: &Room<'_>) {
        for shard in &*self.shards {
            while room.is_passed() {
                let (has_any, removed) = shard.evict_one(room);
                drop(removed);
                if !has_any {
                    break;
                }
            }
        }
    }
}

impl Totals {
    pub(super) fn add(&self, weight: u64) {
        self.len.fetch_add(1, Relaxed);
        self.weight.fetch_add(weight, Relaxed);
    }

    pub(super) fn subtract(&self, len: u64, weight: u64) {
        self.len.fetch_sub(len, Relaxed);
        self.weight.fetch_sub(weight, Relaxed);
    }
}

impl<'s> Room<'s> {
    pub(super) fn new(totals: &'s Totals, bound: Bound, grace: u64, now: u64) -> Self {
        Self { totals, bound, grace, now }
    }

    /// Whether one more entry of `weight` doesn't fit.
    pub(super) fn lacks(&self, weight: u64) -> bool {
        self.exceeds(1, weight)
    }

    /// Whether an entry of that deadline is of no use any more.
    pub(super) fn is_over(&self, deadline: u64) -> bool {
        deadline.saturating_add(self.grace) <= self.now
    }

    fn is_passed(&self) -> bool {
        self.exceeds(0, 0)
    }

    fn exceeds(&self, len: u64, weight: u64) -> bool {
        let exceeds = |held: &AtomicU64, more: u64, max: u64| held.load(Relaxed).saturating_add(more) > max;
        self.bound.capacity.is_some_and(|max| exceeds(&self.totals.len, len, max))
            || self.bound.max_bytes.is_some_and(|max| exceeds(&self.totals.weight, weight, max))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the low half")]
#[inline(always)]
fn low(hash: u64) -> u32 {
    hash as u32
}

#[inline]
fn hash_short(hasher: &impl BuildHasher, [one, other]: ShortKey) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u64(one);
    hasher.write_u64(other);
    hasher.finish()
}

#[inline]
fn hash_long(hasher: &impl BuildHasher, key: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    match key.as_chunks::<8>() {
        // One by one, which takes less time than the call that many are worth.
        (words, []) if words.len() <= FEW => {
            words.iter().for_each(|word| hasher.write_u64(u64::from_ne_bytes(*word)));
        }
        _ => hasher.write(key),
    }
    hasher.finish()
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests;
