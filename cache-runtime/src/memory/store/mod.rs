//! A bounded map from key bytes to typed values, read without a lock.
//!
//! The index answers; it is a lock-free hash table, so hits of many threads don't meet. moka decides what stays, by how
//! often entries are used (TinyLFU). A hit through moka records itself in a channel, which takes ten times as long as the
//! rest of a hit; so moka holds hashes only, and is told of an entry's first hits and of some of the later ones, and of
//! none while there is room for all.
//!
//! The index must hold nothing that moka doesn't. So each entry has a stamp of its own and is in the index before moka
//! learns of it; whenever moka lets go of a stamp, from whatever thread, that entry is taken out of the index, if it is
//! still that one. Changes by callers are made one at a time. What moka is late with is bounded: see [`Changes`].
//!
//! In front of the index is a table of copies, for numbers only: see `front.rs`. An entry leaves that before the index, so
//! that nobody finds it there who could have seen its successor.
//!
//! Entries are found by a 64-bit hash of their key, seeded at random against chosen keys; the key is compared in full,
//! so two keys of one hash cost each other's place and never a wrong answer. One type serves every function, because
//! a table of one's own for each costs a second of compile time.
//!
//! Knows no functions, no formats and no clock: who asks says what time it is, and judges what it gets.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use foldhash::quality::RandomState;
use papaya::{Guard, LocalGuard};
use smallvec::SmallVec;

use super::Bound;
use super::number_table::{self as front, Copied, Front, Gone, Life};
use crate::common::stripe;
use crate::common::sync::lock;
use crate::error::{Error, ErrorKind};
use crate::key::{ShortKey, short};
use crate::value::Value;

/// Entries a store holds unless told otherwise.
const DEFAULT_CAPACITY: u64 = 10_000;
/// What an entry costs beside its key and value, for `max_bytes`.
const ENTRY_OVERHEAD: u64 = 192;
/// At least so many stores lie between two sweeps for expired entries.
const MIN_SWEEP: u64 = 1_024;
/// moka catches up when what it was not asked to do yet is this part of its limit, or so many stores.
const LAG_SHARE: u64 = 16;
const LAG_STORES: u64 = 64;
/// So many hits of an entry are told to moka, of the later ones one in [`TOLD_LATER`]. On Zipf 0.9 with room for 1 % of
/// the keys that keeps 43.2 % hits, with 60 it would be 42.9 %, with 15 42.0 %; all told are 43.2 %.
const TOLD_FIRST: u8 = 120;
const TOLD_LATER: u32 = 64;
/// A store with this part of its limit left is not crowded.
const ROOM_SHARE: u64 = 8;
/// Removed entries are freed some dozens at a time, because it takes a barrier over all threads; one that weighs more
/// than this part of the store is freed at once.
const LIGHT_SHARE: u64 = 1_024;

/// Words of a key that is not long.
const FEW: usize = 8;
/// Copies of numbers take this part of the bytes that bound a store, beside them.
const FRONT_SHARE: u64 = 8;

type Index = papaya::HashMap<u64, Entry, Identity>;
/// By the hash of its key, what stays.
type Stays = moka::sync::Cache<u64, Held, Identity>;

/// The map.
pub(crate) struct Store {
    index: Arc<Index>,
    /// Of what is in the index, the numbers that were asked for last.
    front: Arc<Front>,
    stays: Stays,
    hasher: RandomState,
    changes: Mutex<Changes>,
    bound: Bound,
    /// The most that entries may weigh together.
    limit: u64,
    /// The least that an entry weighs, if weights are bytes; else each weighs one.
    share: Option<u64>,
    /// For how many nanoseconds after its deadline an entry is still there: whoever reads it judges it.
    grace: u64,
    generation: AtomicU64,
    /// Whether something may soon have to go, so that moka has to know what is used.
    is_crowded: AtomicBool,
}

/// What is stored under a key.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) value: Value,
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

/// In one allocation, save for a long key and a value that is not a number.
struct Entry {
    key: SmallVec<[u8; 32]>,
    slot: Slot,
    stamp: Stamp,
    told: AtomicU8,
    is_gone: Gone,
}

/// Tells an entry from those before it under its key. Half a word, so that an entry is not a word longer; begins anew
/// after four billion stores, and two entries of one key are not that far apart while anybody knows of both.
type Stamp = u32;

/// What moka holds of an entry.
#[derive(Debug, Clone, Copy)]
struct Held {
    stamp: Stamp,
    weight: u32,
}

/// Held while the store is changed.
#[derive(Debug, Default, Clone)]
struct Changes {
    /// The last entry's stamp.
    stamp: Stamp,
    /// Stores since the last sweep.
    unswept: u64,
    /// Stores, and their weight, since moka has last done all that it had to do.
    late: u64,
    late_weight: u64,
}

impl Store {
    pub(crate) fn new(bound: Bound, grace: u64) -> Self {
        // An entry weighs at least its share of the bytes, so one weight keeps both bounds.
        let (limit, share) = match (bound.capacity, bound.max_bytes) {
            (capacity, None) => (capacity.unwrap_or(DEFAULT_CAPACITY), None),
            (None, Some(bytes)) => (bytes, Some(1)),
            (Some(capacity), Some(bytes)) => (bytes, Some(bytes / capacity.max(1))),
        };
        let index = Arc::new(Index::with_hasher(Identity::default()));
        let front = Arc::new(Front::default());
        let (answers, copies) = (index.clone(), front.clone());
        let stays = moka::sync::Cache::builder().max_capacity(limit).eviction_listener(
            move |hash: Arc<u64>, held: Held, _| {
                let _ = answers.pin().remove_if(&*hash, |hash, entry| {
                    let is_it = entry.stamp == held.stamp;
                    if is_it {
                        entry.leave(*hash, &copies);
                    }
                    is_it
                });
            },
        );
        // With weights moka remembers less of what was used: 4 points of hit ratio on Zipf 0.9.
        let stays = match share {
            Some(_) => stays.weigher(|_, held: &Held| held.weight),
            None => stays,
        };
        let stays = stays.build_with_hasher(Identity::default());
        Self {
            index,
            front,
            stays,
            hasher: RandomState::default(),
            changes: Mutex::default(),
            bound,
            limit,
            share,
            grace,
            generation: AtomicU64::new(0),
            is_crowded: AtomicBool::new(false),
        }
    }

    /// The store of a child of `fork`. It has the parent's entries unless another thread used caches there, which may have
    /// been in the middle of a change.
    pub(crate) fn in_child(&self) -> Self {
        let changes = self.changes.try_lock().ok().filter(|_| stripe::is_only_user());
        let new = Self::new(self.bound, self.grace);
        let Some(changes) = changes else { return new };
        Self {
            index: self.index.clone(),
            front: self.front.clone(),
            stays: self.stays.clone(),
            hasher: self.hasher.clone(),
            changes: Mutex::new(changes.clone()),
            generation: AtomicU64::new(self.generation()),
            is_crowded: AtomicBool::new(self.is_crowded.load(Ordering::Relaxed)),
            ..new
        }
    }

    /// The number under a short key, if it is at hand and `is_hit` says of its life that it may be served: that is a use.
    /// Else it may still be found by [`read`](Self::read).
    #[inline]
    pub(crate) fn number(&self, key: ShortKey, is_hit: impl FnOnce(Life) -> bool) -> Option<u64> {
        let table = self.front.newest()?;
        let hash = hash_short(&self.hasher, key);
        // If it isn't a hit, it is in its last millisecond or past it: the index knows.
        let (bits, _) = table.get(hash, key).filter(|(_, life)| is_hit(*life))?;
        if self.is_crowded.load(Ordering::Relaxed) && stripe::one_in(TOLD_LATER) {
            self.tell(hash);
        }
        Some(bits)
    }

    /// What `read` makes of the entry under `key`, wherever it stands in its life. If it makes something, that is a use.
    /// Not for threads at their end.
    #[inline]
    pub(crate) fn read<T>(&self, key: &[u8], read: impl FnOnce(&Slot) -> Option<T>) -> Option<T> {
        let guard = self.index.guard();
        let (hash, entry) = self.find(key, &guard)?;
        let result = read(&entry.slot)?;
        if self.is_crowded.load(Ordering::Relaxed) || matches!(entry.slot.value, Value::Number(_)) {
            self.used(hash, entry);
        }
        Some(result)
    }

    /// The entry under `key`, and its hash.
    #[inline(always)]
    fn find<'g>(&'g self, key: &[u8], guard: &'g impl Guard) -> Option<(u64, &'g Entry)> {
        let hash = self.hash(key);
        let entry = self.index.get(&hash, guard).filter(|entry| same(&entry.key, key))?;
        Some((hash, entry))
    }

    /// After a hit on it.
    #[inline(never)]
    fn used(&self, hash: u64, entry: &Entry) {
        if self.is_crowded.load(Ordering::Relaxed) && entry.is_to_be_told() {
            self.tell(hash);
        } else if let Some(copied) = entry.copied() {
            // Of a crowded store those that have been asked for often.
            let most =
                self.bound.max_bytes.map_or(usize::MAX, |bytes| front::enough_for(bytes / FRONT_SHARE));
            self.front.put(hash, &copied, most.min(2 * self.index.len()));
        }
    }

    /// Tells moka of a hit.
    #[cold]
    #[inline(never)]
    fn tell(&self, hash: u64) {
        // What moka lets go of now is freed when this is over, not while it holds a lock: to drop a value may ask the store.
        let _guard = self.index.guard();
        self.stays.get(&hash);
    }

    /// The entry under `key` that lives or is in its grace.
    pub(crate) fn get(&self, key: &[u8], now: u64) -> Option<Slot> {
        let read = |slot: &Slot| self.is_live(slot, now).then(|| slot.clone());
        match stripe::current() {
            Some(_) => self.read(key, read),
            // With a guard that needs no variables of the thread.
            None => self.find(key, &self.index.owned_guard()).and_then(|(_, entry)| read(&entry.slot)),
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
        let mut changes = lock(&self.changes);
        let known = self.index.get(&hash, guard);
        let live = known.filter(|entry| same(&entry.key, key) && self.is_live(&entry.slot, now));
        if !wants(live.map(|entry| &entry.slot)) {
            return false;
        }
        // What was computed before a `clear` is cleared, too.
        if new.generation != self.generation() {
            return true;
        }
        changes.stamp = changes.stamp.wrapping_add(1);
        let stamp = changes.stamp;
        known.inspect(|entry| entry.leave(hash, &self.front));
        self.index.insert(hash, Entry::new(key, new.slot, stamp), guard);
        if known.is_none() {
            // A miss is a use, too.
            self.stays.get(&hash);
        }
        self.stays.insert(hash, Held { stamp, weight: u32::try_from(weight).unwrap_or(u32::MAX) });
        let caught_up = self.catch_up(&mut changes, weight);
        changes.unswept += 1;
        let is_sweep_due = changes.unswept >= MIN_SWEEP.max(self.index.len() as u64);
        if is_sweep_due {
            changes.unswept = 0;
        }
        drop(changes);
        if is_sweep_due {
            self.sweep(now, guard);
        }
        if (known.is_some() || caught_up) && weight > self.limit / LIGHT_SHARE {
            guard.flush();
        }
        true
    }

    /// Has moka give up what is too much by now, if that may be much; returns whether.
    fn catch_up(&self, changes: &mut Changes, weight: u64) -> bool {
        changes.late += 1;
        changes.late_weight = changes.late_weight.saturating_add(weight);
        let weighs = self.stays.weighted_size().saturating_add(changes.late_weight);
        if weighs > self.limit - self.limit / ROOM_SHARE && !self.is_crowded.swap(true, Ordering::Relaxed) {
            // Hits there are told as those of entries that have been asked for often.
            self.front.clear();
        }
        let is_due = changes.late >= LAG_STORES || changes.late_weight > self.limit / LAG_SHARE;
        if is_due {
            (changes.late, changes.late_weight) = (0, 0);
            self.stays.run_pending_tasks();
        }
        is_due
    }

    /// Frees expired entries that nobody reads. After as many stores as there are entries: constant time per store.
    fn sweep(&self, now: u64, guard: &LocalGuard<'_>) {
        for (hash, entry) in self.index.iter(guard) {
            if !self.is_live(&entry.slot, now) {
                let _changes = lock(&self.changes);
                if self.index.get(hash, guard).is_some_and(|newest| newest.stamp == entry.stamp) {
                    entry.leave(*hash, &self.front);
                    self.index.remove(hash, guard);
                    self.stays.invalidate(hash);
                }
            }
        }
    }

    /// Removes what is under `key`; returns whether anything live was.
    pub(crate) fn delete(&self, key: &[u8], now: u64) -> bool {
        self.change(|guard| self.delete_in(key, now, guard))
    }

    fn delete_in(&self, key: &[u8], now: u64, guard: &LocalGuard<'_>) -> bool {
        let changes = lock(&self.changes);
        let known = self.find(key, guard);
        if let Some((hash, entry)) = known {
            entry.leave(hash, &self.front);
            self.index.remove(&hash, guard);
            self.stays.invalidate(&hash);
        }
        drop(changes);
        guard.flush();
        known.is_some_and(|(_, entry)| self.is_live(&entry.slot, now))
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
        let changes = lock(&self.changes);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.index.values(guard).for_each(|entry| entry.is_gone.store(true, Ordering::SeqCst));
        self.front.clear();
        self.index.clear(guard);
        self.stays.invalidate_all();
        // What is gone must not take the room of what comes.
        self.stays.run_pending_tasks();
        self.is_crowded.store(false, Ordering::Relaxed);
        drop(changes);
        guard.flush();
    }

    /// Makes a change of the index with a guard around it. The guard is there before the store's lock is taken and until
    /// after it: what leaves the index is dropped with the guard, by users' code.
    fn change<T: Default + Send>(&self, change: impl FnOnce(&LocalGuard<'_>) -> T + Send) -> T {
        let guarded = || change(&self.index.guard());
        if stripe::current().is_some() {
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
        match short(key) {
            Some(short) => hash_short(&self.hasher, short),
            None => hash_long(&self.hasher, key),
        }
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

impl Entry {
    fn new(key: &[u8], slot: Slot, stamp: Stamp) -> Self {
        let (told, is_gone) = (AtomicU8::new(0), Gone::default());
        Self { key: SmallVec::from_slice(key), slot, stamp, told, is_gone }
    }

    fn copied(&self) -> Option<Copied<'_>> {
        let (Value::Number(number), Some(key)) = (&self.slot.value, short(&self.key)) else { return None };
        let life = Life::new(self.slot.deadline, self.slot.cost);
        Some(Copied { key, number: *number, life, is_gone: &self.is_gone })
    }

    /// Before it leaves the index.
    fn leave(&self, hash: u64, front: &Front) {
        self.is_gone.store(true, Ordering::SeqCst);
        if let (Value::Number(_), Some(key)) = (&self.slot.value, short(&self.key)) {
            front.remove(hash, key);
        }
    }

    /// Whether moka is to be told of this hit. An entry that all threads read is written no more soon.
    #[inline]
    fn is_to_be_told(&self) -> bool {
        let told = self.told.load(Ordering::Relaxed);
        if told < TOLD_FIRST {
            self.told.store(told + 1, Ordering::Relaxed);
            return true;
        }
        stripe::one_in(TOLD_LATER)
    }
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

fn entry_size(key: &[u8], size: u64) -> u64 {
    size.saturating_add(key.len() as u64).saturating_add(ENTRY_OVERHEAD)
}

/// Whether two keys are equal. They are short and mostly whole words, for which a call to compare memory is too much.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ((words, rest), (other_words, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let mut pairs = words.iter().zip(other_words);
    pairs.all(|(word, other)| u64::from_ne_bytes(*word) == u64::from_ne_bytes(*other))
        && (rest.is_empty() || rest == other_rest)
}

/// Hashes of keys are what the index goes by: hashed as they are.
#[derive(Debug, Default, Clone, Copy)]
struct AsItIs(u64);

type Identity = BuildHasherDefault<AsItIs>;

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
