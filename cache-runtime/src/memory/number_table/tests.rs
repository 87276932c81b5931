use std::hash::BuildHasher as _;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;

/// An entry of the index.
#[derive(Default)]
struct Entry {
    key: ShortKey,
    number: u64,
    is_gone: AtomicBool,
}

impl Entry {
    fn new(number: u64) -> Self {
        Self { key: [number, 0], number, is_gone: AtomicBool::new(false) }
    }

    fn hash(&self) -> u64 {
        foldhash::quality::FixedState::default().hash_one(self.key)
    }

    /// What a hit in the index does.
    fn copy_to(&self, front: &Front, entries: usize) {
        let Self { key, number, ref is_gone } = *self;
        front.put(self.hash(), &Copied { key, number, life: Life::new(u64::MAX, 0), is_gone }, 2 * entries);
    }

    fn leave(&self, front: &Front) {
        self.is_gone.store(true, SeqCst);
        front.remove(self.hash(), self.key);
    }

    fn is_in(&self, front: &Front) -> bool {
        let found = front.newest().and_then(|table| table.get(self.hash(), self.key));
        assert!(found.is_none_or(|(number, _)| number == self.number), "another's number");
        found.is_some()
    }
}

#[test]
fn what_was_copied_is_found_until_it_is_gone() {
    let (front, entries) = (Front::default(), [1, 2, 3].map(Entry::new));
    assert!(!entries[0].is_in(&front));
    front.clear();
    for entry in &entries {
        entry.leave(&front);
        entry.copy_to(&front, 3);
        assert!(!entry.is_in(&front), "it was gone");
        entry.is_gone.store(false, SeqCst);
        entry.copy_to(&front, 3);
        assert!(entry.is_in(&front));
    }
    entries[1].leave(&front);
    assert_eq!(entries.each_ref().map(|entry| entry.is_in(&front)), [true, false, true]);
    front.clear();
    assert_eq!(entries.each_ref().map(|entry| entry.is_in(&front)), [false; 3]);
}

#[test]
fn keys_of_one_hash_are_told_apart() {
    let (front, is_gone) = (Front::default(), AtomicBool::new(false));
    let key = |n: u64| [n, u64::MAX];
    for n in 0..4 {
        let life = Life::new(u64::MAX, 0);
        front.put(7, &Copied { key: key(n), number: n, life, is_gone: &is_gone }, 8);
    }
    front.remove(7, key(2));
    let table = front.newest().unwrap();
    let found = [0, 1, 2, 3, 4].map(|n| table.get(7, key(n)).map(|found| found.0));
    assert_eq!(found, [Some(0), Some(1), None, Some(3), None]);
}

/// The usual way to look for bytes that are zero, without the carry kept out, also finds a one behind a zero.
#[test]
fn a_free_place_is_not_looked_at() {
    let bytes = |word: u64| (0..PLACES).filter(move |at| word.to_le_bytes()[*at] == 0);
    let mut random = 1_u64;
    for _ in 0..10_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Many bytes of 0, 1 and 0x80.
        for word in
            [random & random.rotate_left(13) & random.rotate_left(29), random & ONES, random & (ONES << 7)]
        {
            assert!(zeros(word).eq(bytes(word)), "{word:x}");
        }
    }
}

#[test]
fn it_grows_with_what_is_asked_for_and_no_further() {
    let entries: Vec<Entry> = (0..5_000).map(Entry::new).collect();
    let front = Front::default();
    for _ in 0..100 {
        for entry in entries.iter().filter(|entry| !entry.is_in(&front)) {
            entry.copy_to(&front, entries.len());
        }
    }
    let found = entries.iter().filter(|entry| entry.is_in(&front)).count();
    assert!(found > 4_900, "{found} of 5,000");
    let places = front.newest().unwrap().places.len() * PLACES;
    assert!((2..8).contains(&(places / entries.len())), "{places} places");
}

#[test]
fn a_table_that_is_large_enough_takes_others_places() {
    let entries: Vec<Entry> = (0..5_000).map(Entry::new).collect();
    let front = Front::default();
    // As if the store had hardly any, the others having been given up.
    for entry in &entries {
        entry.copy_to(&front, 1);
    }
    assert_eq!(front.newest().unwrap().places.len(), FIRST);
    let newest = entries.iter().rev().position(|entry| entry.is_in(&front)).unwrap();
    assert!(newest < 100, "of the last entries none is there");
}

#[test]
fn a_life_is_never_longer_or_dearer_than_it_was() {
    let mut random = 1_u64;
    for shift in (0..64).cycle().take(10_000) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (deadline, cost) = (random >> shift, random.rotate_left(32) >> (63 - shift));
        let life = Life::new(deadline, cost);
        assert!(life.deadline() <= deadline && life.cost() <= cost);
        // The clock gets there after 36 years.
        let end = 1 << 60;
        assert!(life.deadline() >= deadline.min(end).saturating_sub(1 << 21), "{deadline}");
        assert!(cost - life.cost() <= cost >> 17, "{cost}");
    }
    assert_eq!(Life::new(u64::MAX, u64::MAX).deadline(), u64::MAX);
}

/// Whoever has seen an entry go never finds it again, however many copy it at that moment.
#[test]
fn nothing_stays_that_is_gone() {
    let front = &Front::default();
    for round in 0..5_000 {
        let entry = &Entry::new(round);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(move || {
                    for _ in 0..20 {
                        entry.copy_to(front, 1);
                        entry.is_in(front);
                    }
                });
            }
            scope.spawn(move || {
                entry.leave(front);
                for _ in 0..20 {
                    assert!(!entry.is_in(front), "round {round}");
                }
            });
        });
        assert!(!entry.is_in(front), "round {round}");
    }
}

/// Writers that take each other's places, and readers.
#[test]
fn what_is_read_was_written_by_one() {
    let (front, entries) = (&Front::default(), &(0..200).map(Entry::new).collect::<Vec<_>>());
    thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || {
                for round in 0..20_000 {
                    let entry = &entries[(round * 7 + thread * 11) % entries.len()];
                    // As if there were few, so that the table stays small.
                    if !entry.is_in(front) {
                        entry.copy_to(front, 1);
                    }
                    if round % 50 == thread {
                        front.remove(entry.hash(), entry.key);
                    }
                }
            });
        }
    });
}

#[test]
fn a_table_beside_bounded_bytes_takes_no_more_than_it_may() {
    let (front, is_gone) = (Front::default(), Gone::default());
    let may_take = 100_000;
    for n in 0..200_000_u64 {
        let copied = Copied { key: [n, 0], number: n, life: Life::new(u64::MAX, 0), is_gone: &is_gone };
        front.put(n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20), &copied, enough_for(may_take));
    }
    let table = front.newest().unwrap();
    let takes = size_of_val(&*table.places) + size_of_val(&*table.heads);
    assert!((may_take / 8..=may_take).contains(&(takes as u64)), "{takes}");
}
