//! Where entries lie: arrays that grow without moving what they hold, so that readers need no lock.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};

use super::super::store::Life;
use super::Body;
use crate::common::sync::checked::{AtomicU8, AtomicU32, AtomicU64};
use crate::key::ShortKey;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;
/// Bits of the number of a slot.
pub(super) const SLOT_BITS: u32 = SEGMENT_BITS + PLACE_BITS;
/// The number of a slot is that of its segment, and its place there: a reader finds it with a shift and a mask.
const SEGMENT_BITS: u32 = 7;
const PLACE_BITS: u32 = 17;
/// The first slot. Not 0, so that no word of the index with a slot is 0.
pub(super) const FIRST: u32 = 1 << PLACE_BITS;
/// The first segments have so many slots. After each four the size doubles, up to what fits the bits of a place: at most
/// a fifth of the slots is unused.
const FIRST_SIZE: u32 = 16;
const SAME_SIZE: u32 = 4;
const DOUBLINGS: u32 = PLACE_BITS - FIRST_SIZE.ilog2();
/// The most slots of one shard.
pub(super) const MAX_SLOTS: u32 = 10_000_000;

/// An entry is a number under a short key, and wholly here.
const IS_NUMBER: u8 = 1;
/// An entry is in the main queue.
const IS_MAIN: u8 = 2;
/// Uses are counted up to this number. With 3, hits of Zipf 0.9 would be a third of a point fewer.
const MAX_USES: u8 = 7;

/// One entry, in one cache line. Readers use only `key`, `number`, `deadline`, `cost`, `kind` and `uses`; the rest belongs
/// to the holder of the shard's lock.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) key: [AtomicU64; 2],
    pub(super) number: AtomicU64,
    /// When the entry expires, in the clock's monotonic nanoseconds; `u64::MAX` is never.
    pub(super) deadline: AtomicU64,
    pub(super) cost: AtomicU64,
    pub(super) weight: AtomicU64,
    /// The low half of the hash.
    pub(super) hash: AtomicU32,
    /// The neighbors in its queue. A free slot has the next free one in `next`.
    pub(super) prev: AtomicU32,
    pub(super) next: AtomicU32,
    kind: AtomicU8,
    uses: AtomicU8,
}

impl Slot {
    /// Whether this is a number under the short `key`.
    #[inline(always)]
    pub(super) fn is_number_of(&self, key: ShortKey) -> bool {
        self.is_number() && self.has_key(key)
    }

    #[inline(always)]
    pub(super) fn has_key(&self, [one, other]: ShortKey) -> bool {
        self.key[0].load(Relaxed) == one && self.key[1].load(Relaxed) == other
    }

    #[inline(always)]
    pub(super) fn is_number(&self) -> bool {
        self.kind.load(Relaxed) & IS_NUMBER != 0
    }

    pub(super) fn is_main(&self) -> bool {
        self.kind.load(Relaxed) & IS_MAIN != 0
    }

    pub(super) fn set_kind(&self, is_number: bool, is_main: bool) {
        let kind = if is_number { IS_NUMBER } else { 0 } | if is_main { IS_MAIN } else { 0 };
        self.kind.store(kind, Relaxed);
    }

    #[inline(always)]
    pub(super) fn life(&self) -> Life {
        Life { deadline: self.deadline.load(Relaxed), cost: self.cost.load(Relaxed) }
    }

    /// Counts a hit. An entry that all threads read is soon written no more.
    #[inline(always)]
    pub(super) fn hit(&self) {
        let uses = self.uses.load(Relaxed);
        if uses < MAX_USES {
            self.uses.store(uses + 1, Relaxed);
        }
    }

    pub(super) fn uses(&self) -> u8 {
        self.uses.load(Relaxed)
    }

    pub(super) fn set_uses(&self, uses: u8) {
        self.uses.store(uses, Relaxed);
    }
}

/// The slots of a shard, and beside them the bodies of the entries that are not numbers under short keys.
pub(super) struct Slots {
    slots: Segments<Slot>,
    bodies: Segments<ArcSwapOption<Body>>,
    /// Stands for a slot that doesn't exist, which nobody asks for.
    spare: Slot,
}

impl Slots {
    /// Room for `most` slots, of which none is made yet.
    pub(super) fn new(most: u64) -> Self {
        Self { slots: Segments::new(most), bodies: Segments::new(most), spare: Slot::default() }
    }

    #[inline(always)]
    pub(super) fn get(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot)
    }

    /// The slot, which was made before.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> &Slot {
        self.get(slot).unwrap_or(&self.spare)
    }

    /// Makes the slot; `false` if there is no room for more.
    pub(super) fn make(&self, slot: u32) -> bool {
        self.slots.make(slot).is_some()
    }

    /// The body in `slot`. What it holds is there as long as the guard.
    #[inline(always)]
    pub(super) fn body(&self, slot: u32) -> Guard<Option<Arc<Body>>> {
        self.bodies.get(slot).map_or_else(|| Guard::from_inner(None), ArcSwapOption::load)
    }

    pub(super) fn set_body(&self, slot: u32, body: Body) {
        if let Some(place) = self.bodies.make(slot) {
            place.store(Some(Arc::new(body)));
        }
    }

    pub(super) fn take_body(&self, slot: u32) -> Option<Arc<Body>> {
        self.bodies.get(slot)?.swap(None)
    }
}

/// The slots from the first up to `end`.
pub(super) fn slots_before(end: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(FIRST), |slot| Some(after(*slot))).take_while(move |slot| *slot != end)
}

/// The slot after `slot`.
pub(super) fn after(slot: u32) -> u32 {
    let (segment, place) = locate(slot);
    if place + 1 < size_of_segment(segment) { slot + 1 } else { ((slot >> PLACE_BITS) + 1) << PLACE_BITS }
}

#[inline(always)]
fn locate(slot: u32) -> (usize, usize) {
    ((slot >> PLACE_BITS) as usize, (slot & (FIRST - 1)) as usize)
}

/// Slots of a segment. There is no segment 0.
fn size_of_segment(segment: usize) -> usize {
    let doublings = (segment.saturating_sub(1) / SAME_SIZE as usize).min(DOUBLINGS as usize);
    (FIRST_SIZE as usize) << doublings
}

/// An array of growing segments.
struct Segments<T>(Box<[OnceLock<Box<[T]>>]>);

impl<T: Default> Segments<T> {
    fn new(most: u64) -> Self {
        let (mut segments, mut room) = (1, 0);
        while room < most && segments < 1 << SEGMENT_BITS {
            room += size_of_segment(segments) as u64;
            segments += 1;
        }
        Self((0..segments).map(|_| OnceLock::new()).collect())
    }

    #[inline(always)]
    fn get(&self, slot: u32) -> Option<&T> {
        let (segment, place) = locate(slot);
        self.0.get(segment)?.get()?.get(place)
    }

    fn make(&self, slot: u32) -> Option<&T> {
        let (segment, place) = locate(slot);
        let cell = self.0.get(segment)?;
        cell.get_or_init(|| (0..size_of_segment(segment)).map(|_| T::default()).collect()).get(place)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_each_other() {
        let slots = Segments::<u8>::new(1_000);
        let (mut slot, mut made) = (FIRST, 0);
        while slots.make(slot).is_some() {
            assert!(slot >> SLOT_BITS == 0 && slots.get(slot).is_some(), "{slot}");
            (slot, made) = (after(slot), made + 1);
        }
        assert!((1_000..1_300).contains(&made), "{made}");
        assert_eq!(slots_before(slot).count(), made);
    }

    #[test]
    fn a_shard_has_room_for_the_most_slots() {
        let all: usize = (1..1 << SEGMENT_BITS).map(size_of_segment).sum();
        assert!(all > MAX_SLOTS as usize);
        assert_eq!(size_of_segment((1 << SEGMENT_BITS) - 1), FIRST as usize);
    }
}
