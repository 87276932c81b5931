//! Where entries lie: an array that grows without moving what it holds, so that readers need no lock.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

use crate::common::sync::checked::{AtomicU8, AtomicU32, AtomicU64};
use crate::key::ShortKey;

/// No slot.
pub(super) const NONE: u32 = u32::MAX;
/// The number of the first slot. Never 0, so that a word of the index that has a slot isn't 0.
pub(super) const FIRST: u32 = 1 << FIRST_BITS;
/// Bits of the number of a slot, in a word of the index.
pub(super) const SLOT_BITS: u32 = 24;
/// The most slots of one array.
pub(super) const MAX_SLOTS: u32 = (1 << SLOT_BITS) - FIRST;

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
        self.kind.load(Relaxed) & IS_NUMBER != 0 && self.has_key(key)
    }

    #[inline(always)]
    pub(super) fn has_key(&self, [one, other]: ShortKey) -> bool {
        self.key[0].load(Relaxed) == one && self.key[1].load(Relaxed) == other
    }

    #[inline]
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

/// Segments of growing size, four of each: at most a fifth of the slots is unused.
pub(super) struct Slots {
    segments: Box<[OnceLock<Box<[Slot]>>]>,
    /// Stands for a slot that doesn't exist, which nobody asks for.
    spare: Slot,
}

/// Slots of the first four segments together, in bits.
const FIRST_BITS: u32 = 6;
/// Segments of one size are `1 << SPLIT`.
const SPLIT: u32 = 2;

/// The segment of a slot, and its place there. The highest bit of the number says how large the segments are, the next
/// two which of them it is, and the others are the place.
#[inline(always)]
fn locate(slot: u32) -> (usize, usize) {
    // As for every slot that there is: so the compiler needs no case for numbers without any bit.
    let top = (slot | FIRST >> SPLIT).ilog2();
    let shift = top - SPLIT;
    let segment =
        (top << SPLIT).wrapping_add(slot >> shift).wrapping_sub((FIRST_BITS << SPLIT) + (1 << SPLIT));
    (segment as usize, (slot & ((1 << shift) - 1)) as usize)
}

impl Slots {
    /// Room for `most` slots, of which none is made yet.
    pub(super) fn new(most: u32) -> Self {
        let segments = locate(FIRST - 1 + most.clamp(1, MAX_SLOTS)).0 + 1;
        Self { segments: (0..segments).map(|_| OnceLock::new()).collect(), spare: Slot::default() }
    }

    #[inline(always)]
    pub(super) fn get(&self, slot: u32) -> Option<&Slot> {
        let (segment, at) = locate(slot);
        self.segments.get(segment)?.get()?.get(at)
    }

    /// The slot, which was made before.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> &Slot {
        self.get(slot).unwrap_or(&self.spare)
    }

    /// Makes the slot; `false` if there is no room for more.
    pub(super) fn make(&self, slot: u32) -> bool {
        let (segment, _) = locate(slot);
        let Some(cell) = self.segments.get(segment).filter(|_| slot >> SLOT_BITS == 0) else { return false };
        cell.get_or_init(|| {
            let size = FIRST >> SPLIT << (segment >> SPLIT);
            (0..size).map(|_| Slot::default()).collect()
        });
        true
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_each_other() {
        let mut expected = (0, 0);
        for slot in FIRST..100_000 {
            assert_eq!(locate(slot), expected, "{slot}");
            let size = FIRST as usize >> SPLIT << (expected.0 >> SPLIT);
            expected =
                if expected.1 + 1 == size { (expected.0 + 1, 0) } else { (expected.0, expected.1 + 1) };
        }
        assert!(locate((1 << SLOT_BITS) - 1).0 < 80);
    }
}
