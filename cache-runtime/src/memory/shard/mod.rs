//! One shard of a store: a hash table whose numbers are read without a lock, with S3-FIFO deciding what stays.
//!
//! Entries lie in [slots](Slots), which an [index](Index) finds. Both consist of atomics and never move, so readers need only
//! a [sequence lock](crate::common::seqlock). What is not a number under a short key has a [body](Body) beside its slot.
//!
//! S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): new entries pass through a small
//! queue, and those that are used there go on to the main queue. A hit writes one byte, and only while the entry has few
//! hits. Keys that left the small queue are remembered for a while; those that come back go to the main queue at once.
//!
//! What leaves the shard is handed to the caller, who drops it when no lock is held: values are dropped by users' code.

mod index;
mod queue;
mod slots;

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use self::index::Index;
use self::queue::{Ghosts, Queue};
use self::slots::{FIRST, MAX_SLOTS, NONE, Slot, Slots, after, slots_before};
use super::store::{Entry, Life, Room, Totals};
use crate::common::seqlock::Version;
use crate::common::sync::checked::{Mutex, lock};
use crate::key::ShortKey;
use crate::value::Value;

/// The small queue may take this part of the weight. With a tenth, hits of Zipf 0.9 would be a fifth of a point fewer.
const SMALL_SHARE: u64 = 20;
/// A full shard looks at so many slots for expired entries before it evicts one that lives.
const EXPIRY_STEPS: u32 = 16;

pub(super) struct Shard {
    version: Version,
    index: Index,
    slots: Slots,
    inner: Mutex<Inner>,
}

/// What readers without the lock don't see.
struct Inner {
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    /// The slot that is made next, and the first of those that are free.
    next: u32,
    free: u32,
    len: usize,
    /// Where the search for expired entries goes on.
    cursor: u32,
    /// No entry expires before that.
    earliest: u64,
    /// The same of the entries that `cursor` has passed.
    earliest_passed: u64,
}

/// Of an entry, what is not a number under a short key.
pub(super) struct Body {
    /// Empty if the key is short: that is in the slot.
    key: Box<[u8]>,
    value: Value,
    /// See [`Entry::end`].
    end: u64,
}

impl Drop for Body {
    /// Values are dropped by users' code. A panic there is nobody's who stores or reads.
    fn drop(&mut self) {
        let value = mem::replace(&mut self.value, Value::Number(0));
        if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
            log::error!("a cached value panicked when it was dropped");
        }
    }
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

/// Where a shard finds the entry of a key.
#[derive(Clone, Copy)]
pub(super) struct Place<'k> {
    pub(super) hash: u32,
    pub(super) key: &'k [u8],
    /// [`short`](crate::key::short) of it.
    pub(super) short: Option<ShortKey>,
}

/// What a change removed, to be dropped without a lock.
pub(super) type Removed = Vec<Arc<Body>>;

impl Shard {
    /// Room for `most` entries.
    pub(super) fn new(most: u64) -> Self {
        // One more, because an entry is evicted after another was stored.
        let slots = Slots::new(most.saturating_add(1));
        Self { version: Version::default(), index: Index::new(), slots, inner: Mutex::new(Inner::new()) }
    }

    /// Whether nobody changes it now.
    pub(super) fn is_at_rest(&self) -> bool {
        self.inner.try_lock().is_ok()
    }

    /// The number under a short key, with its deadline and cost, unless the shard is being changed. A use of it.
    #[inline(always)]
    pub(super) fn number(&self, hash: u32, key: ShortKey) -> Option<(u64, Life)> {
        let (slot, number, life) = self.version.read(|_| {
            let mut slots = self.index.candidates(hash).filter_map(|(_, at)| self.slots.get(at));
            let slot = slots.find(|slot| slot.is_number_of(key))?;
            Some((slot, slot.number.load(Relaxed), slot.life()))
        })?;
        slot.hit();
        Some((number, life))
    }

    /// What `serve` makes of the entry under a key, which may have expired. A use of it.
    ///
    /// No lock is held meanwhile, because `serve` runs users' code.
    #[inline]
    pub(super) fn get<T>(
        &self,
        place: Place<'_>,
        serve: impl FnOnce(&Value, Life) -> Option<T>,
    ) -> Option<T> {
        let version = self.version.begin_read();
        let mut serve = Some(serve);
        // One variable, so that the result is written where the caller wants it.
        let mut served = self.find(place, |_, slot, value| {
            let life = slot.life();
            let serve = if self.version.was_quiet_since(version) { serve.take() } else { None }?;
            slot.hit();
            serve(value, life)
        });
        if let Some(serve) = serve
            && !self.version.was_quiet_since(version)
        {
            served = self.get_locked(place).and_then(|(value, life)| serve(&value, life));
        }
        served
    }

    /// For a reader that meets a writer.
    #[cold]
    #[inline(never)]
    fn get_locked(&self, place: Place<'_>) -> Option<(Value, Life)> {
        let _inner = lock(&self.inner);
        self.find(place, |_, slot, value| {
            slot.hit();
            Some((value.clone(), slot.life()))
        })
    }

    /// What `found` makes of the entry under a key: of its slot and its value.
    ///
    /// `found` is called where the value lies, because to move what keeps a body alive takes longer than to find it.
    #[inline(always)]
    fn find<'s, T>(
        &'s self,
        Place { hash, key, short }: Place<'_>,
        found: impl FnOnce(u32, &'s Slot, &Value) -> Option<T>,
    ) -> Option<T> {
        for (_, at) in self.index.candidates(hash) {
            let Some(slot) = self.slots.get(at) else { continue };
            if short.is_some_and(|short| !slot.has_key(short)) {
                continue;
            }
            let (number, body);
            let value = if short.is_some() && slot.is_number() {
                number = Value::Number(slot.number.load(Relaxed));
                &number
            } else {
                body = self.slots.body(at);
                // A short key is in the slot, and the body has none.
                let expected = if short.is_some() { &[] } else { key };
                let Some(body) = body.as_deref().filter(|body| same(&body.key, expected)) else { continue };
                &body.value
            };
            return found(at, slot, value);
        }
        None
    }

    /// Stores `entry`, if `is_current` still holds, in place of what is under the key, and evicts what is too much.
    pub(super) fn set(
        &self,
        place: Place<'_>,
        entry: Entry,
        weight: u64,
        room: &Room<'_>,
        is_current: impl FnOnce() -> bool,
    ) -> Removed {
        let mut removed = Removed::new();
        let mut inner = lock(&self.inner);
        if !is_current() {
            return removed;
        }
        self.version.try_write(|| {
            let old = self.find(place, |at, slot, _| Some((at, (slot.is_main(), slot.uses()))));
            let used = old.map(|(at, used)| {
                self.remove(&mut inner, at, room.totals, &mut removed);
                used
            });
            while inner.len > 0 && (room.lacks(weight) || inner.len >= MAX_SLOTS as usize) {
                self.evict(&mut inner, room, &mut removed);
            }
            let comes_back = used.is_none() && inner.ghosts.remove(place.hash);
            if comes_back {
                room.totals.comebacks.fetch_add(1, Relaxed);
            }
            let (is_main, uses) = used.unwrap_or((comes_back, 0));
            let Some(at) = self.take_slot(&mut inner) else { return };
            self.fill(&mut inner, at, place, entry, weight, (is_main, uses));
            room.totals.add(weight);
        });
        drop(inner);
        removed
    }

    fn take_slot(&self, inner: &mut Inner) -> Option<u32> {
        if inner.free != NONE {
            let at = inner.free;
            inner.free = self.slots.at(at).next.load(Relaxed);
            return Some(at);
        }
        let at = inner.next;
        self.slots.make(at).then(|| {
            inner.next = after(at);
            at
        })
    }

    fn fill(
        &self,
        inner: &mut Inner,
        at: u32,
        Place { hash, key, short: words }: Place<'_>,
        Entry { value, deadline, end, cost }: Entry,
        weight: u64,
        (is_main, uses): (bool, u8),
    ) {
        let slot = self.slots.at(at);
        slot.key.iter().zip(words.unwrap_or_default()).for_each(|(to, word)| to.store(word, Relaxed));
        let is_number = match (value, words) {
            (Value::Number(number), Some(_)) if deadline == end => {
                slot.number.store(number, Relaxed);
                true
            }
            (value, _) => {
                let key = if words.is_some() { Box::default() } else { key.into() };
                self.slots.set_body(at, Body { key, value, end });
                false
            }
        };
        slot.deadline.store(deadline, Relaxed);
        slot.cost.store(cost, Relaxed);
        slot.weight.store(weight, Relaxed);
        slot.hash.store(hash, Relaxed);
        slot.set_uses(uses);
        slot.set_kind(is_number, is_main);
        inner.len += 1;
        inner.earliest = inner.earliest.min(deadline);
        inner.earliest_passed = inner.earliest_passed.min(deadline);
        self.index.insert(hash, at, inner.len, &self.slots);
        inner.queue(is_main).push(at, &self.slots);
    }

    /// Removes the entry in slot `at`.
    fn remove(&self, inner: &mut Inner, at: u32, totals: &Totals, removed: &mut Removed) {
        if let Some(place) = self.index.place_of(at, &self.slots) {
            self.index.remove(place, &self.slots);
        }
        let slot = self.slots.at(at);
        inner.queue(slot.is_main()).remove(at, &self.slots);
        if !slot.is_number() {
            removed.extend(self.slots.take_body(at));
        }
        // No reader takes it for a number, and no search for expired entries for one that expires.
        slot.set_kind(false, false);
        slot.deadline.store(u64::MAX, Relaxed);
        slot.next.store(inner.free, Relaxed);
        inner.free = at;
        inner.len -= 1;
        totals.subtract(1, slot.weight.load(Relaxed));
    }

    /// Removes one entry: an expired one, or the one that S3-FIFO names.
    fn evict(&self, inner: &mut Inner, room: &Room<'_>, removed: &mut Removed) {
        if self.remove_some_expired(inner, room, removed) {
            return;
        }
        loop {
            let (small, main) = (inner.small.weight(), inner.main.weight());
            let from_small = main == 0 || small.saturating_mul(SMALL_SHARE) > small.saturating_add(main);
            let Some(at) = inner.queue(!from_small).last().or_else(|| inner.queue(from_small).last()) else {
                return;
            };
            let slot = self.slots.at(at);
            let (is_main, uses) = (slot.is_main(), slot.uses());
            if uses > 0 && !room.is_over(slot.deadline.load(Relaxed)) {
                inner.queue(is_main).remove(at, &self.slots);
                slot.set_kind(slot.is_number(), true);
                slot.set_uses(if is_main { uses - 1 } else { 0 });
                inner.main.push(at, &self.slots);
                continue;
            }
            if !is_main {
                inner.ghosts.insert(slot.hash.load(Relaxed), inner.len);
            }
            room.totals.evictions.fetch_add(1, Relaxed);
            return self.remove(inner, at, room.totals, removed);
        }
    }

    /// Looks at some slots for expired entries and removes them. Returns whether there was one.
    fn remove_some_expired(&self, inner: &mut Inner, room: &Room<'_>, removed: &mut Removed) -> bool {
        let before = inner.len;
        if room.is_over(inner.earliest) {
            for _ in 0..EXPIRY_STEPS {
                self.step(inner, room, removed);
            }
        }
        inner.len < before
    }

    /// Looks at the next slot; begins anew behind the last one.
    fn step(&self, inner: &mut Inner, room: &Room<'_>, removed: &mut Removed) {
        if inner.cursor == inner.next {
            inner.cursor = FIRST;
            inner.earliest = mem::replace(&mut inner.earliest_passed, u64::MAX);
        }
        self.look(inner, inner.cursor, room, removed);
        inner.cursor = after(inner.cursor);
    }

    /// Removes the entry in slot `at` if it has expired.
    fn look(&self, inner: &mut Inner, at: u32, room: &Room<'_>, removed: &mut Removed) {
        let deadline = self.slots.at(at).deadline.load(Relaxed);
        if room.is_over(deadline) {
            self.remove(inner, at, room.totals, removed);
        } else {
            inner.earliest_passed = inner.earliest_passed.min(deadline);
        }
    }

    /// Removes all expired entries; returns when the next one expires.
    pub(super) fn sweep(&self, room: &Room<'_>) -> (u64, Removed) {
        let mut removed = Removed::new();
        let mut inner = lock(&self.inner);
        self.version.try_write(|| {
            (inner.cursor, inner.earliest_passed) = (FIRST, u64::MAX);
            slots_before(inner.next).for_each(|at| self.look(&mut inner, at, room, &mut removed));
            inner.earliest = mem::replace(&mut inner.earliest_passed, u64::MAX);
        });
        (inner.earliest, removed)
    }

    /// Evicts an entry; `false` if there is none.
    pub(super) fn evict_one(&self, room: &Room<'_>) -> (bool, Removed) {
        let mut removed = Removed::new();
        let mut inner = lock(&self.inner);
        let has_any = inner.len > 0;
        if has_any {
            self.version.try_write(|| self.evict(&mut inner, room, &mut removed));
        }
        (has_any, removed)
    }

    /// Moves the deadline of the entry under a key, if it lives now, up to `deadline` and within its end.
    pub(super) fn live_until(&self, place: Place<'_>, now: u64, deadline: u64) {
        // A slot is somebody else's only when the lock is free. Readers may see either deadline.
        let _inner = lock(&self.inner);
        let slot = self.find(place, |at, slot, _| Some((at, slot)));
        if let Some((at, slot)) = slot
            && let Some(body) = self.slots.body(at).as_deref()
            && now < slot.deadline.load(Relaxed)
        {
            slot.deadline.fetch_max(deadline.min(body.end), Relaxed);
        }
    }

    /// Removes what is under a key.
    pub(super) fn delete(&self, place: Place<'_>, totals: &Totals) -> Removed {
        let mut removed = Removed::new();
        let mut inner = lock(&self.inner);
        if let Some(at) = self.find(place, |at, _, _| Some(at)) {
            self.version.try_write(|| self.remove(&mut inner, at, totals, &mut removed));
        }
        removed
    }

    pub(super) fn clear(&self, totals: &Totals) -> Removed {
        let mut removed = Removed::new();
        let mut inner = lock(&self.inner);
        self.version.try_write(|| {
            self.index.clear();
            inner.free = NONE;
            for at in slots_before(inner.next) {
                let slot = self.slots.at(at);
                removed.extend(self.slots.take_body(at));
                slot.set_kind(false, false);
                slot.deadline.store(u64::MAX, Relaxed);
                slot.next.store(mem::replace(&mut inner.free, at), Relaxed);
            }
        });
        totals.subtract(inner.len as u64, inner.small.weight() + inner.main.weight());
        (inner.small, inner.main, inner.ghosts) = Default::default();
        (inner.len, inner.earliest, inner.earliest_passed) = (0, u64::MAX, u64::MAX);
        removed
    }
}

impl Inner {
    fn new() -> Self {
        Self {
            small: Queue::default(),
            main: Queue::default(),
            ghosts: Ghosts::default(),
            next: FIRST,
            free: NONE,
            len: 0,
            cursor: FIRST,
            earliest: u64::MAX,
            earliest_passed: u64::MAX,
        }
    }

    fn queue(&mut self, is_main: bool) -> &mut Queue {
        if is_main { &mut self.main } else { &mut self.small }
    }
}

#[cfg(all(test, shuttle))]
mod model;
