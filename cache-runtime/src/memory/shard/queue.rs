//! The queues of S3-FIFO.

use std::sync::atomic::Ordering::Relaxed;

use super::slots::{NONE, Slots};

/// Entries in the order in which they came, linked through their slots.
pub(super) struct Queue {
    first: u32,
    last: u32,
    weight: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NONE, last: NONE, weight: 0 }
    }
}

impl Queue {
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// The entry that came first of all.
    pub(super) fn last(&self) -> Option<u32> {
        (self.last != NONE).then_some(self.last)
    }

    pub(super) fn push(&mut self, at: u32, slots: &Slots) {
        let slot = slots.at(at);
        slot.prev.store(NONE, Relaxed);
        slot.next.store(self.first, Relaxed);
        match self.first {
            NONE => self.last = at,
            first => slots.at(first).prev.store(at, Relaxed),
        }
        self.first = at;
        self.weight = self.weight.saturating_add(slot.weight.load(Relaxed));
    }

    pub(super) fn remove(&mut self, at: u32, slots: &Slots) {
        let slot = slots.at(at);
        let (prev, next) = (slot.prev.load(Relaxed), slot.next.load(Relaxed));
        match prev {
            NONE => self.first = next,
            prev => slots.at(prev).next.store(next, Relaxed),
        }
        match next {
            NONE => self.last = prev,
            next => slots.at(next).prev.store(prev, Relaxed),
        }
        self.weight = self.weight.saturating_sub(slot.weight.load(Relaxed));
    }
}

/// Keys that were evicted from the small queue, by their hashes: a table in which the newer takes the place of the older.
#[derive(Default)]
pub(super) struct Ghosts(Vec<u32>);

impl Ghosts {
    /// Notes a key of a shard of `len` entries.
    pub(super) fn insert(&mut self, hash: u32, len: usize) {
        if self.0.len() < len {
            let old = std::mem::take(&mut self.0);
            self.0.resize(len.next_power_of_two(), 0);
            old.into_iter().filter(|hash| *hash != 0).for_each(|hash| self.put(hash));
        }
        self.put(hash);
    }

    fn put(&mut self, hash: u32) {
        let at = hash as usize & self.0.len().wrapping_sub(1);
        if let Some(place) = self.0.get_mut(at) {
            *place = hash;
        }
    }

    /// Forgets a key; returns whether it was known.
    pub(super) fn remove(&mut self, hash: u32) -> bool {
        let at = hash as usize & self.0.len().wrapping_sub(1);
        self.0.get_mut(at).is_some_and(|place| std::mem::take(place) == hash && hash != 0)
    }
}
