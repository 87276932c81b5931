//! Which entries a bounded store gives up: S3-FIFO.
//!
//! New entries wait in a small queue. Those used again meanwhile move on to the main queue, the others leave, and only
//! their hash is remembered for a while: who comes back in time goes straight to the main queue. There an entry that was
//! used goes round again. So what is asked for once passes through a tenth of the room, and a use is a number in the
//! entry, not a place in a list. (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO Queues are All You Need for Cache Eviction",
//! SOSP 2023; sizes and thresholds are theirs.)
//!
//! Knows hashes and weights, no keys, values or times. All that changes here is behind the store's lock, save [`Uses`].

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::store::Identity;

/// Of so many entries at the most one is given up at once: more would keep the store's lock for too long.
const MAX_SPARED: u32 = 64;

/// How often an entry was used lately; readers count it, up to what makes a difference.
#[derive(Debug, Default)]
pub(super) struct Uses(AtomicU8);

impl Uses {
    const MOST: u8 = 3;

    /// Two readers may count as one: it is about how popular an entry is, and popular entries are written no more.
    #[inline]
    pub(super) fn count(&self) {
        let uses = self.0.load(Relaxed);
        if uses < Self::MOST {
            self.0.store(uses + 1, Relaxed);
        }
    }

    pub(super) fn carry_over(&self) -> Self {
        Self(AtomicU8::new(self.0.load(Relaxed)))
    }

    fn reset(&self) {
        self.0.store(0, Relaxed);
    }

    fn take_one(&self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// The entries of a store in the order in which they leave.
#[derive(Debug)]
pub(super) struct Queues {
    limit: u64,
    nodes: slab::Slab<Node>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    /// Where the search for expired entries goes on.
    cursor: usize,
}

/// An entry's place.
#[derive(Debug)]
struct Node {
    hash: u64,
    weight: u64,
    is_main: bool,
    before: Option<usize>,
    behind: Option<usize>,
}

#[derive(Debug, Default)]
struct Queue {
    first: Option<usize>,
    last: Option<usize>,
    weight: u64,
}

impl Queues {
    /// For entries that weigh no more than `limit` together.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            nodes: slab::Slab::new(),
            small: Queue::default(),
            main: Queue::default(),
            ghosts: Ghosts::default(),
            cursor: 0,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether so much more would be too much.
    pub(super) fn is_short_of(&self, weight: u64) -> bool {
        self.small.weight.saturating_add(self.main.weight).saturating_add(weight) > self.limit
    }

    /// Adds an entry; returns where it stands.
    pub(super) fn enter(&mut self, hash: u64, weight: u64) -> usize {
        let is_main = self.ghosts.take(hash);
        let node = self.nodes.insert(Node { hash, weight, is_main, before: None, behind: None });
        self.append(node);
        node
    }

    /// The entry at `node` has another weight from now on.
    pub(super) fn reweigh(&mut self, node: usize, weight: u64) {
        let Some(known) = self.nodes.get_mut(node) else { return };
        let queue = if known.is_main { &mut self.main } else { &mut self.small };
        queue.weight = queue.weight - known.weight + weight;
        known.weight = weight;
    }

    /// Takes out the entry at `node`.
    pub(super) fn leave(&mut self, node: usize) {
        self.detach(node);
        self.nodes.try_remove(node);
    }

    /// Takes out the entry to be given up next; `uses` tells how an entry was used.
    pub(super) fn give_up<'u>(&mut self, uses: impl Fn(u64) -> Option<&'u Uses>) -> Option<u64> {
        let mut spared = 0;
        loop {
            let small_has_its_share = self.small.weight.saturating_mul(10) >= self.limit;
            let from_main = self.small.first.is_none() || (!small_has_its_share && self.main.first.is_some());
            let queue = if from_main { &self.main } else { &self.small };
            let (index, hash) = queue.first.and_then(|index| Some((index, self.nodes.get(index)?.hash)))?;
            let uses = uses(hash);
            let used = uses.map_or(0, Uses::get);
            let is_spared = spared < MAX_SPARED && if from_main { used > 0 } else { used > 1 };
            if !is_spared {
                self.leave(index);
                if !from_main {
                    self.ghosts.add(hash, self.nodes.len());
                }
                return Some(hash);
            }
            spared += 1;
            if let Some(uses) = uses {
                if from_main { uses.take_one() } else { uses.reset() }
            }
            self.detach(index);
            if let Some(node) = self.nodes.get_mut(index) {
                node.is_main = true;
            }
            self.append(index);
        }
    }

    /// The next entry in a walk through all of them that never ends.
    pub(super) fn next_in_walk(&mut self) -> Option<u64> {
        self.cursor = if self.cursor < self.nodes.capacity() { self.cursor + 1 } else { 0 };
        self.nodes.get(self.cursor).map(|node| node.hash)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn append(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let queue = if node.is_main { &mut self.main } else { &mut self.small };
        queue.weight += node.weight;
        (node.before, node.behind) = (queue.last, None);
        let last = queue.last.replace(index);
        match last.and_then(|last| self.nodes.get_mut(last)) {
            Some(last) => last.behind = Some(index),
            None => queue.first = Some(index),
        }
    }

    fn detach(&mut self, index: usize) {
        let Some(&Node { weight, is_main, before, behind, .. }) = self.nodes.get(index) else { return };
        let queue = if is_main { &mut self.main } else { &mut self.small };
        queue.weight -= weight;
        match before.and_then(|before| self.nodes.get_mut(before)) {
            Some(before) => before.behind = behind,
            None => queue.first = behind,
        }
        match behind.and_then(|behind| self.nodes.get_mut(behind)) {
            Some(behind) => behind.before = before,
            None => queue.last = before,
        }
    }
}

/// Hashes of entries that left the small queue.
#[derive(Debug, Default)]
struct Ghosts {
    known: HashSet<u64, Identity>,
    /// Oldest first; some are not known any more.
    order: VecDeque<u64>,
}

impl Ghosts {
    fn take(&mut self, hash: u64) -> bool {
        self.known.remove(&hash)
    }

    /// Remembers `hash`, among `most` others.
    fn add(&mut self, hash: u64, most: usize) {
        self.known.insert(hash);
        self.order.push_back(hash);
        while self.order.len() > most.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of unit weights over [`Queues`].
    struct Model {
        queues: Queues,
        entries: std::collections::HashMap<u64, (usize, Uses)>,
    }

    impl Model {
        fn new(limit: u64) -> Self {
            Self { queues: Queues::new(limit), entries: Default::default() }
        }

        /// Asks for an entry and stores it on a miss; returns whether it was there.
        fn ask(&mut self, hash: u64) -> bool {
            if let Some((_, uses)) = self.entries.get(&hash) {
                uses.count();
                return true;
            }
            while self.queues.is_short_of(1) {
                let given_up =
                    self.queues.give_up(|hash| self.entries.get(&hash).map(|(_, uses)| uses)).unwrap();
                self.entries.remove(&given_up).unwrap();
            }
            self.entries.insert(hash, (self.queues.enter(hash, 1), Uses::default()));
            assert_eq!(self.queues.len(), self.entries.len());
            false
        }
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_used() {
        let mut model = Model::new(100);
        for _ in 0..4 {
            (0..50).for_each(|hash| _ = model.ask(hash));
        }
        (1_000..10_000).for_each(|hash| _ = model.ask(hash));
        let kept = (0..50).filter(|hash| model.entries.contains_key(hash)).count();
        assert_eq!(kept, 50);
    }

    #[test]
    fn who_comes_back_in_time_stays_longer() {
        let mut model = Model::new(100);
        (0..200).for_each(|hash| _ = model.ask(hash));
        assert!(!model.ask(50), "given up, and remembered");
        (1_000..1_080).for_each(|hash| _ = model.ask(hash));
        assert!(model.ask(50));
    }

    #[test]
    fn a_store_of_one_takes_what_comes() {
        let mut model = Model::new(1);
        for hash in 0..10 {
            assert!(!model.ask(hash));
            assert!(model.ask(hash));
        }
    }

    #[test]
    fn queues_hold_together_whatever_happens() {
        let mut random = 1_u64;
        let mut model = Model::new(20);
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let hash = random >> 33 & 63;
            if random >> 60 == 0 {
                if let Some((node, _)) = model.entries.remove(&hash) {
                    model.queues.leave(node);
                }
            } else {
                model.ask(hash);
            }
            let both = [&model.queues.small, &model.queues.main];
            assert_eq!(both.map(|queue| queue.weight).iter().sum::<u64>(), model.entries.len() as u64);
            let mut walked = 0;
            for queue in both {
                let mut next = queue.first;
                while let Some(index) = next {
                    walked += 1;
                    next = model.queues.nodes[index].behind;
                }
            }
            assert_eq!(walked, model.entries.len());
            assert!(model.queues.ghosts.known.len() <= 20);
        }
    }
}
