//! One shard of a store: a hash table whose numbers are read without a lock, with S3-FIFO deciding what stays.
//!
//! Entries lie in [slots](Slots), which an [index](Index) finds. Both consist of atomics and never move, so a reader of a
//! number under a short key needs only a [sequence lock](crate::common::seqlock). Everything that is not a number (other
//! values, long keys) is beside the slots, behind a lock that readers share.
//!
//! S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): new entries pass through a small
//! queue, and those that are used there go on to the main queue. A hit writes one byte, and only while the entry has few
//! hits. Keys that left the small queue are remembered for a while; those that come back go to the main queue at once.
//!
//! What leaves the shard is handed to the caller, who drops it when no lock is held: values are dropped by users' code.

mod index;
mod queue;
mod slots;

use std::sync::atomic::Ordering::Relaxed;

use self::index::Index;
use self::queue::{Ghosts, Queue};
use self::slots::{FIRST, MAX_SLOTS, NONE, Slot, Slots};
use super::store::{Entry, Room, Totals};
use crate::common::seqlock::Version;
use crate::common::sync::checked::{RwLock, read, write};
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
    inner: RwLock<Inner>,
}

/// What readers without the lock don't see.
#[derive(Default)]
struct Inner {
    /// By slot, what is not a number under a short key. Shorter than the slots if those behind are all numbers.
    bodies: Vec<Option<Body>>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    /// Slots that were made, and the first of those that are free.
    made: u32,
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
pub(super) type Removed = Vec<Body>;

impl Shard {
    /// Room for `most` entries.
    pub(super) fn new(most: u64) -> Self {
        let slots = Slots::new(u32::try_from(most).unwrap_or(MAX_SLOTS).saturating_add(1));
        let inner = Inner { free: NONE, earliest: u64::MAX, earliest_passed: u64::MAX, ..Inner::default() };
        Self { version: Version::default(), index: Index::new(), slots, inner: RwLock::new(inner) }
    }

    /// Whether nobody reads or changes it, as far as locks tell.
    pub(super) fn is_at_rest(&self) -> bool {
        self.inner.try_write().is_ok()
    }

    /// The number under a short key, with its deadline and cost, unless the shard is being changed. A use of it.
    #[inline(always)]
    pub(super) fn number(&self, hash: u32, key: ShortKey) -> Option<(u64, u64, u64)> {
        let (slot, found) = self.version.read(|_| {
            self.index.find(hash, |_, at| {
                let slot = self.slots.get(at).filter(|slot| slot.is_number_of(key))?;
                Some((
                    slot,
                    (slot.number.load(Relaxed), slot.deadline.load(Relaxed), slot.cost.load(Relaxed)),
                ))
            })
        })?;
        slot.hit();
        Some(found)
    }

    /// The entry under a key, which may have expired. A use of it.
    #[inline]
    pub(super) fn get(&self, place: Place<'_>) -> Option<Entry> {
        let inner = read(&self.inner);
        let (_, slot, body) = self.find(&inner, place)?;
        slot.hit();
        let value = body.map_or_else(|| Value::Number(slot.number.load(Relaxed)), |body| body.value.clone());
        Some(Entry { value, deadline: slot.deadline.load(Relaxed), cost: slot.cost.load(Relaxed) })
    }

    #[inline(always)]
    fn find<'s>(
        &'s self,
        inner: &'s Inner,
        Place { hash, key, short }: Place<'_>,
    ) -> Option<(u32, &'s Slot, Option<&'s Body>)> {
        match short {
            Some(short) => self.index.find(hash, |_, at| {
                let slot = self.slots.get(at).filter(|slot| slot.has_key(short))?;
                if slot.is_number() {
                    return Some((at, slot, None));
                }
                let body = inner.body(at).filter(|body| body.key.is_empty())?;
                Some((at, slot, Some(body)))
            }),
            None => self.index.find(hash, |_, at| {
                let body = inner.body(at).filter(|body| same(&body.key, key))?;
                Some((at, self.slots.get(at)?, Some(body)))
            }),
        }
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
        let mut inner = write(&self.inner);
        if !is_current() {
            return removed;
        }
        self.version.try_write(|| {
            let old = self.find(&inner, place).map(|(at, slot, _)| (at, (slot.is_main(), slot.uses())));
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
        let at = FIRST + inner.made;
        self.slots.make(at).then(|| {
            inner.made += 1;
            at
        })
    }

    fn fill(
        &self,
        inner: &mut Inner,
        at: u32,
        Place { hash, key, short: words }: Place<'_>,
        Entry { value, deadline, cost }: Entry,
        weight: u64,
        (is_main, uses): (bool, u8),
    ) {
        let slot = self.slots.at(at);
        slot.key.iter().zip(words.unwrap_or_default()).for_each(|(to, word)| to.store(word, Relaxed));
        let is_number = match (value, words) {
            (Value::Number(number), Some(_)) => {
                slot.number.store(number, Relaxed);
                true
            }
            (value, _) => {
                let key = if words.is_some() { Box::default() } else { key.into() };
                inner.set_body(at, Body { key, value });
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
        // Taken also where a body of an earlier entry could be left: there is none.
        removed.extend(inner.bodies.get_mut((at - FIRST) as usize).and_then(Option::take));
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
        if inner.cursor >= inner.made {
            inner.cursor = 0;
            inner.earliest = std::mem::replace(&mut inner.earliest_passed, u64::MAX);
        }
        let at = FIRST + inner.cursor;
        let deadline = self.slots.at(at).deadline.load(Relaxed);
        if room.is_over(deadline) {
            self.remove(inner, at, room.totals, removed);
        } else {
            inner.earliest_passed = inner.earliest_passed.min(deadline);
        }
        inner.cursor += 1;
    }

    /// Removes all expired entries; returns when the next one expires.
    pub(super) fn sweep(&self, room: &Room<'_>) -> (u64, Removed) {
        let mut removed = Removed::new();
        let mut inner = write(&self.inner);
        self.version.try_write(|| {
            (inner.cursor, inner.earliest_passed) = (0, u64::MAX);
            for _ in 0..inner.made {
                self.step(&mut inner, room, &mut removed);
            }
            inner.earliest = inner.earliest_passed;
        });
        (inner.earliest, removed)
    }

    /// Evicts an entry; `false` if there is none.
    pub(super) fn evict_one(&self, room: &Room<'_>) -> (bool, Removed) {
        let mut removed = Removed::new();
        let mut inner = write(&self.inner);
        let has_any = inner.len > 0;
        if has_any {
            self.version.try_write(|| self.evict(&mut inner, room, &mut removed));
        }
        (has_any, removed)
    }

    /// Removes what is under a key.
    pub(super) fn delete(&self, place: Place<'_>, totals: &Totals) -> Removed {
        let mut removed = Removed::new();
        let mut inner = write(&self.inner);
        if let Some(at) = self.find(&inner, place).map(|(at, ..)| at) {
            self.version.try_write(|| self.remove(&mut inner, at, totals, &mut removed));
        }
        removed
    }

    pub(super) fn clear(&self, totals: &Totals) -> Removed {
        let mut removed = Removed::new();
        let mut inner = write(&self.inner);
        self.version.try_write(|| {
            self.index.clear();
            for at in FIRST..FIRST + inner.made {
                let slot = self.slots.at(at);
                slot.set_kind(false, false);
                slot.deadline.store(u64::MAX, Relaxed);
                slot.next.store(if at + 1 < FIRST + inner.made { at + 1 } else { NONE }, Relaxed);
            }
        });
        totals.subtract(inner.len as u64, inner.small.weight() + inner.main.weight());
        removed.extend(std::mem::take(&mut inner.bodies).into_iter().flatten());
        (inner.small, inner.main, inner.ghosts) = Default::default();
        inner.free = if inner.made > 0 { FIRST } else { NONE };
        (inner.len, inner.earliest, inner.earliest_passed) = (0, u64::MAX, u64::MAX);
        removed
    }
}

impl Inner {
    #[inline]
    fn body(&self, at: u32) -> Option<&Body> {
        self.bodies.get(at.wrapping_sub(FIRST) as usize)?.as_ref()
    }

    fn set_body(&mut self, at: u32, body: Body) {
        let at = (at - FIRST) as usize;
        if at >= self.bodies.len() {
            self.bodies.resize_with(at + 1, || None);
        }
        self.bodies[at] = Some(body);
    }

    fn queue(&mut self, is_main: bool) -> &mut Queue {
        if is_main { &mut self.main } else { &mut self.small }
    }
}

#[cfg(all(test, shuttle))]
mod model;
