//! A bounded map from key bytes to typed values, read without a lock.
//!
//! The index answers; it is a lock-free hash table, so hits of many threads don't meet. Whatever changes it holds one
//! lock around the change and the [queues](super::eviction) that decide what stays: the index holds what the queues
//! hold, at every moment that the lock is free, so nothing evicted, deleted or cleared can be left in it.
//!
//! Entries are found by a 64-bit hash of their key, seeded at random against chosen keys; the key is compared in full,
//! so two keys of one hash cost each other's place and never a wrong answer. One type serves every function, because
//! a table of one's own for each costs a second of compile time.
//!
//! Knows no functions, no formats and no clock: who asks says what time it is, and judges what it gets.

use std::any::Any;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foldhash::fast::RandomState;
use papaya::Guard;
use smallvec::SmallVec;

use super::Bound;
use super::eviction::{Queues, Uses};
use crate::context::lock;
use crate::error::{Error, ErrorKind};

/// Entries a store holds unless told otherwise.
const DEFAULT_CAPACITY: u64 = 10_000;
/// What an entry costs beside its key and value, for `max_bytes`.
const ENTRY_OVERHEAD: u64 = 192;
/// Entries looked at for expiry with every store.
const SWEPT_PER_STORE: usize = 2;
/// Removed entries are freed some dozens at a time, because it takes a barrier over all threads; one that weighs more
/// than this part of the store is freed at once.
const LIGHT_SHARE: u64 = 1_024;

type Index = papaya::HashMap<u64, Entry, Identity>;

/// The map.
pub(crate) struct Store {
    index: Index,
    hasher: RandomState,
    queues: Mutex<Queues>,
    bound: Bound,
    /// The least that an entry weighs, if weights are bytes; else each weighs one.
    share: Option<u64>,
    /// For how many nanoseconds after its deadline an entry is still there: whoever reads it judges it.
    grace: u64,
    generation: AtomicU64,
}

/// What is stored under a key.
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

struct Entry {
    key: SmallVec<[u8; 32]>,
    slot: Slot,
    node: usize,
    uses: Uses,
}

impl Store {
    pub(crate) fn new(bound: Bound, grace: u64) -> Self {
        // An entry weighs at least its share of the bytes, so one weight keeps both bounds.
        let (limit, share) = match (bound.capacity, bound.max_bytes) {
            (capacity, None) => (capacity.unwrap_or(DEFAULT_CAPACITY), None),
            (None, Some(bytes)) => (bytes, Some(1)),
            (Some(capacity), Some(bytes)) => (bytes, Some(bytes / capacity.max(1))),
        };
        Self {
            index: Index::with_hasher(Identity::default()),
            hasher: RandomState::default(),
            queues: Mutex::new(Queues::new(limit)),
            bound,
            share,
            grace,
            generation: AtomicU64::new(0),
        }
    }

    /// What `read` makes of the entry under `key`, wherever it stands in its life. If it makes something, that is a use.
    #[inline]
    pub(crate) fn read<T>(&self, key: &[u8], read: impl FnOnce(&Slot) -> Option<T>) -> Option<T> {
        let index = self.index.pin();
        let entry = index.get(&self.hash(key))?;
        if entry.key[..] != *key {
            return None;
        }
        let result = read(&entry.slot)?;
        entry.uses.count();
        Some(result)
    }

    /// The entry under `key` that lives or is in its grace.
    pub(crate) fn get(&self, key: &[u8], now: u64) -> Option<Slot> {
        self.read(key, |slot| self.is_live(slot, now).then(|| slot.clone()))
    }

    /// Stores `slot`, unless it could never fit.
    pub(crate) fn set(&self, key: &[u8], slot: Slot, now: u64) -> Result<(), Error> {
        self.set_if(key, slot, now, |_| true).map(drop)
    }

    /// Stores `slot` only if nothing live is under `key`.
    pub(crate) fn add(&self, key: &[u8], slot: Slot, now: u64) -> Result<bool, Error> {
        self.set_if(key, slot, now, |live| live.is_none())
    }

    /// Stores `slot` only if the live entry under `key` is as `is_old` says.
    pub(crate) fn replace(
        &self,
        key: &[u8],
        is_old: impl FnOnce(&Slot) -> bool,
        slot: Slot,
        now: u64,
    ) -> Result<bool, Error> {
        self.set_if(key, slot, now, |live| live.is_some_and(is_old))
    }

    /// Stores `slot` if `wants` says so of the live entry under `key`.
    fn set_if(
        &self,
        key: &[u8],
        slot: Slot,
        now: u64,
        wants: impl FnOnce(Option<&Slot>) -> bool,
    ) -> Result<bool, Error> {
        self.check_size(key, &slot)?;
        let (hash, weight) = (self.hash(key), self.weight(key, &slot));
        // Made before the lock is taken and dropped after it: what leaves the index is dropped with it, by users' code.
        let guard = self.index.guard();
        let mut queues = lock(&self.queues);
        let known = self.index.get(&hash, &guard);
        let live = known.filter(|entry| entry.key[..] == *key && self.is_live(&entry.slot, now));
        if !wants(live.map(|entry| &entry.slot)) {
            return Ok(false);
        }
        // What was computed before a `clear` is cleared, too.
        if slot.generation != self.generation() || weight > queues.limit() {
            return Ok(true);
        }
        let mut removed = false;
        let (node, uses) = match known {
            Some(entry) => {
                removed = true;
                queues.reweigh(entry.node, weight);
                (entry.node, entry.uses.carry_over())
            }
            None => {
                removed |= self.make_room(&mut queues, weight, &guard);
                (queues.enter(hash, weight), Uses::default())
            }
        };
        self.index.insert(hash, Entry { key: key.into(), slot, node, uses }, &guard);
        removed |= self.make_room(&mut queues, 0, &guard);
        removed |= self.sweep(&mut queues, now, &guard);
        let is_heavy = weight > queues.limit() / LIGHT_SHARE;
        drop(queues);
        if removed && is_heavy {
            guard.flush();
        }
        Ok(true)
    }

    /// Gives up entries until one of `weight` fits; returns whether any.
    fn make_room(&self, queues: &mut Queues, weight: u64, guard: &impl Guard) -> bool {
        let mut removed = false;
        while queues.is_short_of(weight) {
            let uses = |hash| self.index.get(&hash, guard).map(|entry| &entry.uses);
            let Some(hash) = queues.give_up(uses) else { break };
            self.index.remove(&hash, guard);
            removed = true;
        }
        removed
    }

    /// Frees some of the expired entries, so that all go in time without being read; returns whether any.
    fn sweep(&self, queues: &mut Queues, now: u64, guard: &impl Guard) -> bool {
        let mut removed = false;
        for _ in 0..SWEPT_PER_STORE {
            let Some(hash) = queues.next_in_walk() else { continue };
            let Some(entry) = self.index.get(&hash, guard) else { continue };
            if !self.is_live(&entry.slot, now) {
                queues.leave(entry.node);
                self.index.remove(&hash, guard);
                removed = true;
            }
        }
        removed
    }

    /// Removes what is under `key`; returns whether anything live was.
    pub(crate) fn delete(&self, key: &[u8], now: u64) -> bool {
        let hash = self.hash(key);
        let guard = self.index.guard();
        let mut queues = lock(&self.queues);
        let known = self.index.get(&hash, &guard).filter(|entry| entry.key[..] == *key);
        if let Some(entry) = known {
            queues.leave(entry.node);
            self.index.remove(&hash, &guard);
        }
        drop(queues);
        guard.flush();
        known.is_some_and(|entry| self.is_live(&entry.slot, now))
    }

    /// The generation that a value computed from now on belongs to.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Ends the life of every entry, and of every value being computed now.
    pub(crate) fn clear(&self) {
        let guard = self.index.guard();
        let mut queues = lock(&self.queues);
        self.generation.fetch_add(1, Ordering::SeqCst);
        queues.clear();
        self.index.clear(&guard);
        drop(queues);
        guard.flush();
    }

    fn is_live(&self, slot: &Slot, now: u64) -> bool {
        now < slot.deadline.saturating_add(self.grace)
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    fn weight(&self, key: &[u8], slot: &Slot) -> u64 {
        self.share.map_or(1, |share| entry_size(key, slot).max(share))
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
}

fn entry_size(key: &[u8], slot: &Slot) -> u64 {
    slot.size.saturating_add(key.len() as u64).saturating_add(ENTRY_OVERHEAD)
}

/// Hashes of keys are what the index goes by: hashed as they are.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct AsItIs(u64);

pub(super) type Identity = BuildHasherDefault<AsItIs>;

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Not for anything but hashes; nothing gets here.
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }
}

#[cfg(test)]
mod tests;
