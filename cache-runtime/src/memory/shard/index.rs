//! Which slot an entry is in, by the hash of its key: linear probing over words of 32 bits, read without a lock.
//!
//! A word is 0, or a slot's number and a byte of the hash. Tables double; the older ones stay, because they may
//! still have readers, and are together smaller than the newest.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::slots::{SLOT_BITS, Slots};
use crate::common::sync::checked::{AtomicU32, AtomicUsize};

/// The bits of a word that are the number of a slot.
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;
/// Words of the first table, in bits.
const FIRST_BITS: u32 = 6;
const TABLES: usize = (SLOT_BITS - FIRST_BITS) as usize + 2;

pub(super) struct Index {
    tables: [OnceLock<Box<[AtomicU32]>>; TABLES],
    newest: AtomicUsize,
}

#[inline(always)]
fn slot_of(word: u32) -> u32 {
    word & SLOT_MASK
}

impl Index {
    pub(super) fn new() -> Self {
        Self { tables: [const { OnceLock::new() }; TABLES], newest: AtomicUsize::new(0) }
    }

    #[inline(always)]
    fn table(&self) -> Option<&[AtomicU32]> {
        Some(self.tables.get(self.newest.load(Acquire))?.get()?)
    }

    /// The slots that may have an entry of that hash, and where their words are.
    #[inline(always)]
    pub(super) fn candidates(&self, hash: u32) -> Candidates<'_> {
        Candidates { table: self.table().unwrap_or_default(), hash, at: hash as usize }
    }

    /// Adds `slot`, which is the `len`th.
    pub(super) fn insert(&self, hash: u32, slot: u32, len: usize, slots: &Slots) {
        let has_room = self.table().is_some_and(|table| len <= table.len() / 4 * 3);
        if !has_room {
            self.grow(slots);
        }
        if let Some(table) = self.table() {
            put(table, hash, slot);
        }
    }

    /// Removes the word at `at`, and closes the gap.
    pub(super) fn remove(&self, mut at: usize, slots: &Slots) {
        let Some(table) = self.table() else { return };
        let mask = table.len().wrapping_sub(1);
        let mut next = at;
        loop {
            next = (next + 1) & mask;
            let word = table[next].load(Relaxed);
            if word == 0 || next == at {
                break;
            }
            let home = slots.at(slot_of(word)).hash.load(Relaxed) as usize;
            // It may move back to the gap unless it would get in front of its home.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(at) & mask {
                table[at].store(word, Relaxed);
                at = next;
            }
        }
        table[at].store(0, Relaxed);
    }

    /// The place of `slot`.
    pub(super) fn place_of(&self, slot: u32, slots: &Slots) -> Option<usize> {
        let mut candidates = self.candidates(slots.at(slot).hash.load(Relaxed));
        candidates.find(|(_, found)| *found == slot).map(|(at, _)| at)
    }

    pub(super) fn clear(&self) {
        self.table().into_iter().flatten().for_each(|word| word.store(0, Relaxed));
    }

    fn grow(&self, slots: &Slots) {
        let newest = self.newest.load(Relaxed);
        let old = self.tables.get(newest).and_then(OnceLock::get);
        let next = newest + usize::from(old.is_some());
        let Some(cell) = self.tables.get(next) else { return };
        let table =
            cell.get_or_init(|| (0..1_usize << FIRST_BITS << next).map(|_| AtomicU32::new(0)).collect());
        for word in old.into_iter().flatten() {
            let word = word.load(Relaxed);
            if word != 0 {
                put(table, slots.at(slot_of(word)).hash.load(Relaxed), slot_of(word));
            }
        }
        self.newest.store(next, Release);
    }
}

/// See [`Index::candidates`]. An iterator, because closures in its place are not inlined.
pub(super) struct Candidates<'i> {
    table: &'i [AtomicU32],
    hash: u32,
    at: usize,
}

impl Iterator for Candidates<'_> {
    type Item = (usize, u32);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, u32)> {
        loop {
            let at = self.at & self.table.len().wrapping_sub(1);
            let word = self.table.get(at)?.load(Relaxed);
            if word == 0 {
                return None;
            }
            self.at = at + 1;
            if (word ^ self.hash) >> SLOT_BITS == 0 {
                return Some((at, slot_of(word)));
            }
        }
    }
}

fn put(table: &[AtomicU32], hash: u32, slot: u32) {
    let mask = table.len().wrapping_sub(1);
    let mut at = hash as usize & mask;
    while table[at].load(Relaxed) != 0 {
        at = (at + 1) & mask;
    }
    table[at].store(hash & !SLOT_MASK | slot, Relaxed);
}
