//! Readers without a lock beside every change, in every order, tried by a model checker: see `flight/model.rs`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64 as Unchecked;

use shuttle::thread;

use super::*;
use crate::key::short;
use crate::memory::Bound;

/// Stores and removes numbers of two keys with one hash. A key's numbers grow.
struct World {
    shard: Shard,
    totals: Totals,
    /// By key, the last number that was stored, and the one that was stored or removed last, to the knowledge of all.
    stored: [Unchecked; 2],
    removed: [Unchecked; 2],
}

impl World {
    fn new() -> Self {
        let zeros = || [Unchecked::new(0), Unchecked::new(0)];
        let shard = Shard::new(1_000);
        Self { shard, totals: Totals::default(), stored: zeros(), removed: zeros() }
    }

    fn set(&self, key: usize, number: u64, capacity: u64) {
        let bytes = (key as u64).to_le_bytes();
        let entry = Entry {
            value: Value::Number(number * 2 + key as u64),
            deadline: u64::MAX,
            end: u64::MAX,
            cost: 0,
        };
        let room = room(&self.totals, capacity);
        drop(self.shard.set(place(7, &bytes), entry, 1, &room, || true));
        self.stored[key].store(number, Relaxed);
    }

    fn delete(&self, key: usize) {
        let before = self.stored[key].load(Relaxed);
        drop(self.shard.delete(place(7, &(key as u64).to_le_bytes()), &self.totals));
        self.removed[key].fetch_max(before, Relaxed);
    }

    /// A number is its key's, and not older than what was known before.
    fn look(&self, key: usize) {
        let (stored, removed) = (self.stored[key].load(Relaxed), self.removed[key].load(Relaxed));
        if let Some((number, ..)) = self.shard.number(7, [key as u64, 0]) {
            assert_eq!(number % 2, key as u64, "another's number");
            assert!(number / 2 >= stored, "{} was replaced by {stored}", number / 2);
            assert!(number / 2 > removed, "{} was removed", number / 2);
        }
    }
}

fn place(hash: u32, key: &[u8]) -> Place<'_> {
    Place { hash, key, short: short(key) }
}

fn room(totals: &Totals, capacity: u64) -> Room<'_> {
    Room::new(totals, Bound { capacity: Some(capacity), max_bytes: None }, 0, 0)
}

fn check(steps: &'static [fn(&World)]) {
    let scenario = || {
        let world = Arc::new(World::new());
        let threads: Vec<_> = steps
            .iter()
            .map(|step| {
                let world = world.clone();
                thread::spawn(move || step(&world))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        [0, 1].iter().for_each(|key| world.look(*key));
    };
    shuttle::check_random(scenario, 2_000);
    shuttle::check_pct(scenario, 1_000, 3);
}

fn looks(world: &World) {
    [0, 1, 0, 1].iter().for_each(|key| world.look(*key));
}

#[test]
fn readers_see_the_newest_number() {
    check(&[looks, looks, |world| (1..4).for_each(|number| world.set(0, number, 10))]);
}

#[test]
fn readers_see_no_number_of_another_key_in_its_slot() {
    check(&[looks, looks, |world| {
        for number in 1..4 {
            // Room for one, so that both take turns in one slot.
            world.set(0, number, 1);
            world.delete(0);
            world.set(1, number, 1);
            world.delete(1);
        }
    }]);
}

#[test]
fn readers_find_nothing_that_was_removed_while_the_index_closes_the_gap() {
    check(&[looks, |world| {
        world.set(0, 1, 10);
        world.set(1, 1, 10);
        world.delete(0);
        world.look(1);
        assert!(world.shard.number(7, [1, 0]).is_some(), "nobody changes the shard now");
    }]);
}

#[test]
fn readers_see_no_mix_while_the_index_grows() {
    check(&[looks, |world| {
        world.set(0, 1, 1_000);
        for other in 0..60_u64 {
            let entry = Entry { value: Value::Number(0), deadline: u64::MAX, end: u64::MAX, cost: 0 };
            let (room, bytes) = (room(&world.totals, 1_000), (other + 10).to_le_bytes());
            drop(world.shard.set(place(9, &bytes), entry, 1, &room, || true));
        }
        assert!(world.shard.number(7, [0, 0]).is_some());
    }]);
}
