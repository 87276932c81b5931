//! Copies, removals, clears and growth in every order, tried by a model checker: see `flight/model.rs`.

use std::sync::Arc;

use shuttle::thread;

use super::*;

const KEYS: [ShortKey; 2] = [[1, 0], [2, 0]];

/// Both entries have one hash, so that they are in one set.
#[derive(Default)]
struct World {
    front: Front,
    is_gone: [AtomicBool; 2],
    /// Has left the index, and whoever looks from now on must not find it.
    has_left: [AtomicBool; 2],
}

impl World {
    fn copy(&self, n: usize) {
        let (key, life, is_gone) = (KEYS[n], Life::new(u64::MAX, 0), &self.is_gone[n]);
        self.front.put(7, &Copied { key, number: n as u64, life, is_gone }, 4);
    }

    fn look(&self, n: usize) {
        let has_left = self.has_left[n].load(SeqCst);
        let found = self.front.newest().and_then(|table| table.get(7, KEYS[n]));
        if let Some((number, _)) = found {
            assert_eq!(number, n as u64, "another's number");
            assert!(!has_left, "found after it had left");
        }
    }

    fn remove(&self, n: usize) {
        self.is_gone[n].store(true, SeqCst);
        self.front.remove(7, KEYS[n]);
        self.has_left[n].store(true, SeqCst);
    }

    fn clear(&self) {
        self.is_gone.iter().for_each(|is_gone| is_gone.store(true, SeqCst));
        self.front.clear();
        self.has_left.iter().for_each(|has_left| has_left.store(true, SeqCst));
    }
}

fn check(steps: &'static [fn(&World)]) {
    let scenario = || {
        let world = Arc::new(World::default());
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
        [0, 1].iter().for_each(|n| world.look(*n));
    };
    shuttle::check_random(scenario, 4_000);
    shuttle::check_pct(scenario, 1_000, 3);
}

fn looks(world: &World) {
    [0, 1, 0, 1].iter().for_each(|n| world.look(*n));
}

fn copies(world: &World) {
    [0, 1, 0].iter().for_each(|n| world.copy(*n));
}

#[test]
fn nothing_is_found_that_has_left() {
    check(&[copies, copies, looks, |world| world.remove(0)]);
}

#[test]
fn nothing_is_found_that_has_left_while_the_table_grows() {
    check(&[copies, looks, |world| world.remove(0), |world| _ = world.front.make(1)]);
}

#[test]
fn nothing_is_found_that_was_cleared() {
    check(&[copies, looks, |world| _ = world.front.make(1), World::clear]);
}

#[test]
fn the_table_grows_no_further_than_it_has_to() {
    let scenario = || {
        let front = Arc::new(Front::default());
        let put_many = |thread: u64| {
            let front = front.clone();
            move || {
                let is_gone = AtomicBool::new(false);
                for n in 0..40 {
                    let life = Life::new(u64::MAX, 0);
                    front.put(7, &Copied { key: [thread, n], number: n, life, is_gone: &is_gone }, 66);
                }
            }
        };
        let threads: Vec<_> = (0..3).map(|thread| thread::spawn(put_many(thread))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(front.newest.load(SeqCst) <= 1, "256 places are enough for 33 entries");
    };
    shuttle::check_random(scenario, 500);
}
