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

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use papaya::{Guard, LocalGuard};
use smallvec::SmallVec;

use super::Bound;
use super::eviction::{Queues, Uses};
use crate::context::lock;
use crate::error::{Error, ErrorKind};
use crate::lane;
use crate::value::Value;

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
    pub(crate) value: Arc<Value>,
    /// When it expires, in the clock's monotonic nanoseconds; `u64::MAX` is never.
    pub(crate) deadline: u64,
    /// The nanoseconds that the run behind it took.
    pub(crate) cost: u64,
}

/// What is to be stored.
pub(crate) struct New {
    pub(crate) slot: Slot,
    /// The store's generation when its value began to be computed.
    pub(crate) generation: u64,
    /// Bytes of the value, if the store is bounded by bytes.
    pub(crate) size: u64,
}

/// In one allocation, save for the value.
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
    /// Not for threads at their end.
    #[inline]
    pub(crate) fn read<T>(&self, key: &[u8], read: impl FnOnce(&Slot) -> Option<T>) -> Option<T> {
        self.read_in(&self.index.pin(), key, read)
    }

    #[inline]
    fn read_in<T>(
        &self,
        index: &papaya::HashMapRef<'_, u64, Entry, Identity, impl Guard>,
        key: &[u8],
        read: impl FnOnce(&Slot) -> Option<T>,
    ) -> Option<T> {
        let entry = index.get(&self.hash(key))?;
        if !same(&entry.key, key) {
            return None;
        }
        let result = read(&entry.slot)?;
        entry.uses.count();
        Some(result)
    }

    /// The entry under `key` that lives or is in its grace.
    pub(crate) fn get(&self, key: &[u8], now: u64) -> Option<Slot> {
        let read = |slot: &Slot| self.is_live(slot, now).then(|| slot.clone());
        match lane::current() {
            Some(_) => self.read(key, read),
            // With a guard that needs no variables of the thread.
            None => self.read_in(&self.index.pin_owned(), key, read),
        }
    }

    /// Stores `new`, unless it could never fit.
    pub(crate) fn set(&self, key: &[u8], new: New, now: u64) -> Result<(), Error> {
        self.set_if(key, new, now, |_| true).map(drop)
    }

    /// Stores `new` only if nothing live is under `key`.
    pub(crate) fn add(&self, key: &[u8], new: New, now: u64) -> Result<bool, Error> {
        self.set_if(key, new, now, |live| live.is_none())
    }

    /// Stores `new` only if the live entry under `key` is as `is_old` says.
    pub(crate) fn replace(
        &self,
        key: &[u8],
        is_old: impl FnOnce(&Slot) -> bool + Send,
        new: New,
        now: u64,
    ) -> Result<bool, Error> {
        self.set_if(key, new, now, |live| live.is_some_and(is_old))
    }

    /// Stores `new` if `wants` says so of the live entry under `key`.
    fn set_if(
        &self,
        key: &[u8],
        new: New,
        now: u64,
        wants: impl FnOnce(Option<&Slot>) -> bool + Send,
    ) -> Result<bool, Error> {
        self.check_size(key, new.size)?;
        Ok(self.change(|guard| self.set_in(key, new, now, wants, guard)))
    }

    fn set_in(
        &self,
        key: &[u8],
        new: New,
        now: u64,
        wants: impl FnOnce(Option<&Slot>) -> bool + Send,
        guard: &LocalGuard<'_>,
    ) -> bool {
        let (hash, weight) = (self.hash(key), self.weight(key, new.size));
        let mut queues = lock(&self.queues);
        let known = self.index.get(&hash, guard);
        let live = known.filter(|entry| entry.key[..] == *key && self.is_live(&entry.slot, now));
        if !wants(live.map(|entry| &entry.slot)) {
            return false;
        }
        // What was computed before a `clear` is cleared, too.
        if new.generation != self.generation() || weight > queues.limit() {
            return true;
        }
        let mut removed = false;
        let (node, uses) = match known {
            Some(entry) => {
                removed = true;
                queues.reweigh(entry.node, weight);
                (entry.node, entry.uses.carry_over())
            }
            None => {
                removed |= self.make_room(&mut queues, weight, guard);
                (queues.enter(hash, weight), Uses::default())
            }
        };
        self.index.insert(hash, Entry { key: key.into(), slot: new.slot, node, uses }, guard);
        removed |= self.make_room(&mut queues, 0, guard);
        removed |= self.sweep(&mut queues, now, guard);
        let is_heavy = weight > queues.limit() / LIGHT_SHARE;
        drop(queues);
        if removed && is_heavy {
            guard.flush();
        }
        true
    }

    /// Gives up entries until one of `weight` fits; returns whether any.
    fn make_room(&self, queues: &mut Queues, weight: u64, guard: &LocalGuard<'_>) -> bool {
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
    fn sweep(&self, queues: &mut Queues, now: u64, guard: &LocalGuard<'_>) -> bool {
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
        self.change(|guard| self.delete_in(key, now, guard))
    }

    fn delete_in(&self, key: &[u8], now: u64, guard: &LocalGuard<'_>) -> bool {
        let hash = self.hash(key);
        let mut queues = lock(&self.queues);
        let known = self.index.get(&hash, guard).filter(|entry| entry.key[..] == *key);
        if let Some(entry) = known {
            queues.leave(entry.node);
            self.index.remove(&hash, guard);
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
        self.change(|guard| self.clear_in(guard));
    }

    fn clear_in(&self, guard: &LocalGuard<'_>) {
        let mut queues = lock(&self.queues);
        self.generation.fetch_add(1, Ordering::SeqCst);
        queues.clear();
        self.index.clear(guard);
        drop(queues);
        guard.flush();
    }

    /// Makes a change of the index with a guard around it. The guard is there before the store's lock is taken and until
    /// after it: what leaves the index is dropped with the guard, by users' code.
    fn change<T: Default + Send>(&self, change: impl FnOnce(&LocalGuard<'_>) -> T + Send) -> T {
        let guarded = || change(&self.index.guard());
        if lane::current().is_some() {
            return guarded();
        }
        // Changes need variables of the thread that are gone. No thread to be had: nothing is changed.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, guarded);
            thread.map_or_else(|_| T::default(), |thread| thread.join().unwrap_or_default())
        })
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

    fn weight(&self, key: &[u8], size: u64) -> u64 {
        self.share.map_or(1, |share| entry_size(key, size).max(share))
    }

    fn check_size(&self, key: &[u8], size: u64) -> Result<(), Error> {
        match self.bound.max_bytes {
            Some(max) if entry_size(key, size) > max => {
                let message =
                    format!("{} bytes do not fit a memory store of {max} bytes", entry_size(key, size));
                Err(Error::new(ErrorKind::TooLarge, message))
            }
            _ => Ok(()),
        }
    }
}

fn entry_size(key: &[u8], size: u64) -> u64 {
    size.saturating_add(key.len() as u64).saturating_add(ENTRY_OVERHEAD)
}

/// Whether two keys are equal. They are short and mostly whole words, for which a call to compare memory is too much.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let mut pairs = words.iter().zip(other_words);
    one.len() == other.len()
        && pairs.all(|(word, other)| u64::from_ne_bytes(*word) == u64::from_ne_bytes(*other))
        && (rest.is_empty() || rest == other_rest)
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
