use std::cell::RefCell;
use std::collections::HashSet;

use super::*;

fn new(deadline: u64, size: u64) -> New {
    of_value(Arc::new(()), deadline, size)
}

fn of_value(value: Arc<impl Send + Sync + 'static>, deadline: u64, size: u64) -> New {
    New { slot: Slot { value: Value::Shared(value), deadline, cost: 0 }, generation: 0, size }
}

fn of(bound: Bound) -> Store {
    Store::new(bound, 0)
}

/// How many entries are in the index and in moka; they must be the same.
fn len(store: &Store) -> usize {
    store.stays.run_pending_tasks();
    assert_eq!(store.index.len() as u64, store.stays.entry_count());
    for (hash, entry) in &store.index.pin() {
        assert_eq!(store.stays.get(hash).map(|held| held.stamp), Some(entry.stamp));
    }
    store.index.len()
}

/// What a hit does: the number under `key`.
fn hit(store: &Store, key: u64) -> Option<u64> {
    let key = key.to_le_bytes();
    let number = store.number(short(&key).unwrap(), |_| true);
    number.or_else(|| store.read(&key, |slot| slot.value.copy()))
}

fn number(store: &Store, number: u64) -> New {
    let slot = Slot { value: Value::new(&number), deadline: u64::MAX, cost: 0 };
    New { slot, generation: store.generation(), size: 0 }
}

/// All ways that an entry goes, after it was copied.
#[test]
fn copies_of_numbers_go_with_their_entries() {
    let store = of(Bound { capacity: Some(100), max_bytes: None });
    let set = |key: u64, value| store.set(&key.to_le_bytes(), number(&store, value), 0).unwrap();
    let is_copied = |key: u64| {
        let key = key.to_le_bytes();
        store.number(short(&key).unwrap(), |_| true).is_some()
    };
    let copy = |key, value| {
        set(key, value);
        assert_eq!(hit(&store, key), Some(value));
        assert!(is_copied(key) && hit(&store, key) == Some(value));
    };
    copy(1, 10);
    copy(1, 11);
    assert!(store.delete(&1_u64.to_le_bytes(), 0));
    assert!(!is_copied(1) && hit(&store, 1).is_none(), "deleted");

    copy(1, 12);
    store.clear();
    assert!(!is_copied(1) && hit(&store, 1).is_none(), "cleared");

    let short_lived = Slot { deadline: 10, ..number(&store, 13).slot };
    store.set(&1_u64.to_le_bytes(), New { slot: short_lived, ..number(&store, 13) }, 0).unwrap();
    assert_eq!(hit(&store, 1), Some(13));
    store.sweep(10, &store.index.guard());
    assert!(!is_copied(1) && hit(&store, 1).is_none(), "swept");

    (0..50).for_each(|key| set(key, key));
    assert!((0..50).all(|key| hit(&store, key) == Some(key)));
    assert!((0..50).filter(|key| is_copied(*key)).count() > 30, "what finds its set full waits");
    (50..1_000).for_each(|key| set(key, key));
    store.stays.run_pending_tasks();
    for key in 0..1_000_u64 {
        let is_there = store.get(&key.to_le_bytes(), 0).is_some();
        assert!(is_there || !is_copied(key), "evicted");
        assert_eq!(hit(&store, key), is_there.then_some(key));
    }
}

/// Of a crowded store what was asked for often is copied, because moka has to know of the hits of all others.
#[test]
fn moka_knows_what_is_used_of_a_crowded_store() {
    let store = of(Bound { capacity: Some(100), max_bytes: None });
    for key in 0..100_u64 {
        store.set(&key.to_le_bytes(), number(&store, key), 0).unwrap();
        hit(&store, key);
    }
    assert!(store.is_crowded.load(Ordering::Relaxed));
    let key = (0..100).find(|key| hit(&store, *key).is_some()).unwrap();
    let bytes = key.to_le_bytes();
    let told = || store.index.pin().get(&store.hash(&bytes)).unwrap().told.load(Ordering::Relaxed);
    while told() < TOLD_FIRST {
        let before = told();
        hit(&store, key);
        assert_eq!(told(), before + 1);
    }
    let is_copied = || store.number(short(&bytes).unwrap(), |_| true).is_some();
    assert!(!is_copied());
    (0..1_000).for_each(|_| _ = hit(&store, key));
    assert!(is_copied());
}

/// A reader sees no value that was replaced before it looked, and none older than one it has seen.
#[test]
fn readers_see_the_newest_number() {
    const LAST: u64 = 20_000;
    let store = &of(Bound::default());
    let stored = &AtomicU64::new(0);
    store.set(&7_u64.to_le_bytes(), number(store, 0), 0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for value in 1..=LAST {
                store.set(&7_u64.to_le_bytes(), number(store, value), 0).unwrap();
                stored.store(value, Ordering::SeqCst);
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut last = 0;
                while last < LAST {
                    let at_least = stored.load(Ordering::SeqCst).max(last);
                    last = hit(store, 7).unwrap();
                    assert!(last >= at_least, "{last} after {at_least}");
                }
            });
        }
    });
}

#[test]
fn expired_entries_are_swept_without_being_read() {
    let store = of(Bound::default());
    for key in 0..1_000_u64 {
        store.set(&key.to_le_bytes(), new(10, 0), 0).unwrap();
    }
    for key in 0..MIN_SWEEP {
        store.set(&(key % 10 + 1_000).to_le_bytes(), new(u64::MAX, 0), 10).unwrap();
    }
    assert_eq!(len(&store), 10);
}

#[test]
fn both_bounds_hold() {
    let store = of(Bound { capacity: Some(10), max_bytes: Some(100_000) });
    for key in 0..1_000_u64 {
        store.set(&key.to_le_bytes(), new(u64::MAX, 1), 0).unwrap();
        assert!(store.index.len() <= 11, "moka is late with one at the most");
    }
    assert!((1..=10).contains(&len(&store)));
    let error = store.set(b"too big", new(u64::MAX, 100_000), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn clear_also_ends_values_being_computed() {
    let store = of(Bound::default());
    let computed_before = new(u64::MAX, 0);
    store.set(b"other", new(u64::MAX, 0), 0).unwrap();
    store.clear();
    store.set(b"key", computed_before, 0).unwrap();
    assert!(store.get(b"key", 0).is_none() && store.get(b"other", 0).is_none());
    assert_eq!(len(&store), 0);
}

#[test]
fn grace_is_for_whoever_reads_to_judge() {
    let store = Store::new(Bound::default(), 5);
    store.set(b"key", new(10, 0), 0).unwrap();
    assert_eq!(store.get(b"key", 14).unwrap().deadline, 10);
    assert!(store.get(b"key", 15).is_none());
    assert!(store.add(b"key", new(30, 0), 15).unwrap());
    assert!(!store.delete(b"key", 35));
}

#[test]
fn keys_of_one_hash_cost_each_other_the_place_only() {
    let store = of(Bound::default());
    store.set(b"one", new(1, 0), 0).unwrap();
    let hash = store.hash(b"one");
    let stamp = store.index.pin().get(&hash).unwrap().stamp;
    // As if "two" had the hash of "one".
    let entry = Entry::new(b"two", new(2, 0).slot, stamp);
    store.index.pin().insert(hash, entry);
    assert!(store.get(b"one", 0).is_none());
    assert!(!store.delete(b"one", 0));
    assert_eq!(len(&store), 1);
    store.set(b"one", new(3, 0), 0).unwrap();
    assert_eq!(store.get(b"one", 0).unwrap().deadline, 3);
    assert_eq!(len(&store), 1);
}

#[test]
fn what_is_removed_is_freed() {
    let store = of(Bound { capacity: Some(4), max_bytes: None });
    let value = Arc::new(());
    let held = |value: &Arc<()>| of_value(value.clone(), u64::MAX, 0);
    for key in 0..100_u64 {
        store.set(&key.to_le_bytes(), held(&value), 0).unwrap();
        assert!(Arc::strong_count(&value) <= 5, "evicted");
    }
    store.clear();
    assert_eq!(Arc::strong_count(&value), 1, "cleared");
    let now_on = |new: New| New { generation: store.generation(), ..new };
    store.set(b"key", now_on(held(&value)), 0).unwrap();
    assert_eq!(Arc::strong_count(&value), 2);
    store.set(b"key", now_on(new(u64::MAX, 0)), 0).unwrap();
    assert_eq!(Arc::strong_count(&value), 1, "replaced");
    store.set(b"key", now_on(held(&value)), 0).unwrap();
    assert!(store.delete(b"key", 0));
    assert_eq!(Arc::strong_count(&value), 1, "deleted");
}

/// A value that uses the store again when it is dropped.
struct Reentrant(Arc<Store>);

impl Drop for Reentrant {
    fn drop(&mut self) {
        self.0.get(b"any", 0);
        self.0.set(b"any", new(u64::MAX, 0), 0).unwrap();
        self.0.delete(b"any", 0);
    }
}

#[test]
fn values_are_dropped_without_the_lock() {
    let store = Arc::new(of(Bound { capacity: Some(4), max_bytes: None }));
    for key in 0..200_u64 {
        let value = Arc::new(Reentrant(store.clone()));
        store.set(&(key % 10).to_le_bytes(), of_value(value, key % 3, 0), key % 2).unwrap();
        store.delete(&(key % 7).to_le_bytes(), 0);
    }
    store.clear();
    assert_eq!(len(&store), 0);
}

#[test]
fn racing_changes_leave_nothing_behind() {
    let store = of(Bound { capacity: Some(20), max_bytes: None });
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                let mut random = thread;
                for round in 0..20_000_u64 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let key = random >> 40 & 31;
                    let generation = store.generation();
                    match random >> 60 {
                        0..6 => {
                            let slot = Slot { value: Value::new(&key), deadline: round % 50, cost: 0 };
                            let new = New { slot, generation, size: 0 };
                            store.set(&key.to_le_bytes(), new, round % 50).unwrap();
                        }
                        6..9 => _ = store.delete(&key.to_le_bytes(), 0),
                        9 if round % 100 == 0 => store.clear(),
                        _ => {
                            assert!(hit(store, key).is_none_or(|found| found == key));
                        }
                    }
                }
            });
        }
    });
    assert!(len(&store) <= 20);
    for key in 0..32_u64 {
        store.delete(&key.to_le_bytes(), 0);
    }
    assert_eq!(len(&store), 0);
}

thread_local! {
    static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
}

/// Uses a store when the thread's other variables are gone.
struct AtTheEnd(Arc<Store>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let Self(store) = self;
        store.set(b"late", new(10, 0), 0).unwrap();
        assert_eq!(store.get(b"late", 0).unwrap().deadline, 10);
        assert!(store.delete(b"early", 0));
    }
}

#[test]
fn a_thread_at_its_end_may_use_a_store() {
    let store = Arc::new(of(Bound::default()));
    let theirs = store.clone();
    let ended = std::thread::spawn(move || {
        LAST.with_borrow_mut(|last| *last = Some(AtTheEnd(theirs.clone())));
        theirs.set(b"early", new(10, 0), 0).unwrap();
    });
    ended.join().unwrap();
    assert!(store.get(b"late", 0).is_some() && store.get(b"early", 0).is_none());
}

/// Whatever the seeds of the process: an index looks at the lowest bits and at the highest seven.
#[test]
fn hashes_of_numbers_in_a_row_are_spread() {
    use foldhash::SharedSeed;
    use foldhash::quality::SeedableRandomState;

    for seed in 0..1_000 {
        let shared = Box::leak(Box::new(SharedSeed::from_u64(seed)));
        let hasher = SeedableRandomState::with_seed(seed, shared);
        let places = (0..1_024_u64).map(|number| {
            let mut key = crate::key::Args::new();
            key.arg(&number);
            let hash = hash_short(&hasher, key.0.unwrap().short().unwrap());
            (hash & 4_095, hash >> 57)
        });
        let places: Vec<_> = places.collect();
        let distinct = |of: fn(&(u64, u64)) -> u64| places.iter().map(of).collect::<HashSet<_>>().len();
        // By chance it would be some 906 of 4,096 and all of 128.
        assert!(distinct(|place| place.0) > 800 && distinct(|place| place.1) > 110, "seed {seed}");
    }
}

/// A value whose end is a use of the store it was in.
struct Dependent(Arc<Store>);

impl Drop for Dependent {
    fn drop(&mut self) {
        for _ in 0..=LAG_STORES {
            self.0.set(b"any", new(u64::MAX, 0), 0).unwrap();
        }
    }
}

#[test]
fn values_may_use_the_store_when_they_are_dropped() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let store = Arc::new(of(Bound { capacity: Some(1000), max_bytes: None }));
        let hot = 1_000_000_u64;
        for key in 0..1500_u64 {
            let value = Arc::new(Dependent(store.clone()));
            store.set(&key.to_le_bytes(), of_value(value, u64::MAX, 0), 0).unwrap();
            if hit(&store, hot).is_none() {
                store.set(&hot.to_le_bytes(), number(&store, 7), 0).unwrap();
            }
            for _ in 0..500 {
                store.number(short(&hot.to_le_bytes()).unwrap(), |_| true);
            }
        }
        done.send(()).unwrap();
    });
    is_done
        .recv_timeout(std::time::Duration::from_secs(60))
        .expect("no lock is held when a value is dropped");
}
