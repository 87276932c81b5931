use std::cell::RefCell;
use std::ops::Range;

use super::*;

fn new(deadline: u64, size: u64) -> New {
    of_value(Arc::new(()), deadline, size)
}

fn of_value(value: Arc<impl Send + Sync + 'static>, deadline: u64, size: u64) -> New {
    New {
        entry: Entry { value: Value::Shared(value), deadline, end: deadline, cost: 0 },
        generation: 0,
        size,
    }
}

fn of(bound: Bound) -> Store {
    Store::new(bound, 0, Clock::manual())
}

fn entry(store: &Store, key: &[u8]) -> Option<Entry> {
    store.get(key, |value, Life { deadline, cost }| {
        Some(Entry { value: value.clone(), deadline, end: deadline, cost })
    })
}

fn number(store: &Store, number: u64) -> New {
    let entry = Entry { value: Value::new(&number), deadline: u64::MAX, end: u64::MAX, cost: 0 };
    New { entry, generation: store.generation(), size: 0 }
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
                stored.store(value, SeqCst);
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                let mut last = 0;
                while last < LAST {
                    let at_least = stored.load(SeqCst).max(last);
                    last = hit(store, 7).unwrap();
                    assert!(last >= at_least, "{last} after {at_least}");
                }
            });
        }
    });
}

#[test]
fn clear_also_ends_values_being_computed() {
    let store = of(Bound::default());
    let computed_before = new(u64::MAX, 0);
    store.set(b"other", new(u64::MAX, 0), 0).unwrap();
    store.clear();
    store.set(b"key", computed_before, 0).unwrap();
    assert!(entry(&store, b"key").is_none() && entry(&store, b"other").is_none());
    assert_eq!(store.counts().0, 0);
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
    store.delete(b"key");
    assert_eq!(Arc::strong_count(&value), 1, "deleted");
}

/// A value that uses the store again when it is dropped.
struct Reentrant(Arc<Store>);

impl Drop for Reentrant {
    fn drop(&mut self) {
        entry(&self.0, b"any");
        self.0.set(b"any", new(u64::MAX, 0), 0).unwrap();
        self.0.delete(b"any");
    }
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
                            let entry = Entry {
                                value: Value::new(&key),
                                deadline: round % 50,
                                end: round % 50,
                                cost: 0,
                            };
                            let new = New { entry, generation, size: 0 };
                            store.set(&key.to_le_bytes(), new, round % 50).unwrap();
                        }
                        6..9 => store.delete(&key.to_le_bytes()),
                        9 if round % 100 == 0 => store.clear(),
                        _ => {
                            assert!(hit(store, key).is_none_or(|found| found == key));
                        }
                    }
                }
            });
        }
    });
    assert!(len(&store, 0..32) <= 20);
    for key in 0..32_u64 {
        store.delete(&key.to_le_bytes());
    }
    assert_eq!(store.counts().0, 0);
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
        assert_eq!(entry(store, b"late").unwrap().deadline, 10);
        store.delete(b"early");
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
    assert!(entry(&store, b"late").is_some() && entry(&store, b"early").is_none());
}

/// A value whose end is a use of the store it was in.
struct Dependent(Arc<Store>);

impl Drop for Dependent {
    fn drop(&mut self) {
        for _ in 0..3 {
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

/// What a hit does: the number under `key`.
fn hit(store: &Store, key: u64) -> Option<u64> {
    let key = key.to_le_bytes();
    let number = store.number(short(&key).unwrap(), |_| true);
    number.or_else(|| entry(store, &key).and_then(|entry| entry.value.copy()))
}

fn set(store: &Store, key: u64, new: New, now: u64) {
    store.set(&key.to_le_bytes(), new, now).unwrap();
}

/// How many of the keys are there; as many as the store counts.
fn len(store: &Store, keys: Range<u64>) -> u64 {
    let found = keys.filter(|key| entry(store, &key.to_le_bytes()).is_some()).count() as u64;
    assert_eq!(found, store.counts().0);
    found
}

#[test]
fn numbers_go_with_their_entries() {
    let store = of(Bound::default());
    let key = 1_u64.to_le_bytes();
    set(&store, 1, number(&store, 10), 0);
    assert_eq!(store.number(short(&key).unwrap(), |_| true), Some(10));
    set(&store, 1, number(&store, 11), 0);
    assert_eq!(store.number(short(&key).unwrap(), |_| true), Some(11), "replaced");
    set(&store, 1, new(u64::MAX, 0), 0);
    assert_eq!(store.number(short(&key).unwrap(), |_| true), None, "not a number");
    set(&store, 1, number(&store, 12), 0);
    store.delete(&key);
    assert!(hit(&store, 1).is_none(), "deleted");
    set(&store, 1, number(&store, 13), 0);
    store.clear();
    assert!(hit(&store, 1).is_none(), "cleared");
}

#[test]
fn keys_of_all_lengths_are_told_apart() {
    let store = of(Bound::default());
    let keys: Vec<Vec<u8>> = (0..100).map(|len| vec![7; len]).collect();
    for (at, key) in (0..).zip(&keys) {
        store.set(key, number(&store, at), 0).unwrap();
    }
    for (at, key) in (0_u64..).zip(&keys) {
        assert_eq!(entry(&store, key).and_then(|entry| entry.value.copy()), Some(at));
        store.delete(key);
        assert!(entry(&store, key).is_none());
    }
    assert_eq!(store.counts().0, 0);
}

#[test]
fn a_store_grows_and_keeps_everything() {
    let store = of(Bound { capacity: Some(u64::MAX), max_bytes: None });
    (0..100_000).for_each(|key| set(&store, key, number(&store, key), 0));
    (0..100_000).step_by(3).for_each(|key| store.delete(&u64::to_le_bytes(key)));
    assert!((0..100_000).all(|key| hit(&store, key) == (key % 3 != 0).then_some(key)));
    (0..200_000).for_each(|key| set(&store, key, number(&store, key + 1), 0));
    assert!((0..200_000).all(|key| hit(&store, key) == Some(key + 1)));
    assert_eq!(store.counts(), (200_000, 0));
}

#[test]
fn both_bounds_hold() {
    let store = of(Bound { capacity: Some(10), max_bytes: Some(100_000) });
    for key in 0..1_000 {
        set(&store, key, new(u64::MAX, 1), 0);
        assert_eq!(store.counts().0, 10.min(key + 1));
        assert!(entry(&store, &key.to_le_bytes()).is_some(), "the newest is there");
    }
    assert_eq!(len(&store, 0..1_000), 10);
    assert_eq!(store.counts().1, 990);
    // Large ones go by their bytes.
    store.clear();
    let generation = store.generation();
    for key in 0..100 {
        set(&store, key, New { generation, ..new(u64::MAX, 30_000) }, 0);
        assert!(store.shared.totals.weight.load(Relaxed) <= 100_000);
    }
    assert_eq!(len(&store, 0..1_000), 3);
}

#[test]
fn all_shards_share_the_bound() {
    let store = of(Bound { capacity: Some(10_000), max_bytes: None });
    assert!(store.shared.shards.len() > 1);
    (0..10_000).for_each(|key| set(&store, key, number(&store, key), 0));
    assert_eq!((len(&store, 0..10_000), store.counts().1), (10_000, 0), "there is room for all");
    (10_000..50_000).for_each(|key| set(&store, key, number(&store, key), 0));
    assert_eq!(len(&store, 0..50_000), 10_000);
    // As if the shard of the next entry were empty.
    let room = store.shared.room(0);
    let (shard, _) = store.place(&50_000_u64.to_le_bytes());
    while shard.evict_one(&room).0 {}
    (0..50_000).for_each(|key| set(&store, key, number(&store, key), 0));
    assert_eq!(len(&store, 0..50_000), 10_000);
}

#[test]
fn what_can_not_fit_leaves_nothing_of_what_was_there() {
    let store = of(Bound { capacity: None, max_bytes: Some(1_000) });
    store.set(b"key", new(u64::MAX, 10), 0).unwrap();
    let error = store.set(b"key", new(u64::MAX, 1_000), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(entry(&store, b"key").is_none());
    assert!(store.set(b"key", new(u64::MAX, u64::MAX), 0).is_err());
    assert_eq!(store.shared.totals.weight.load(Relaxed), 0);
}

#[test]
fn used_entries_stay_while_others_pass() {
    let store = of(Bound { capacity: Some(1_000), max_bytes: None });
    for key in 0..100_000 {
        set(&store, key + 1_000, number(&store, key), 0);
        let hot = key % 500;
        if hit(&store, hot).is_none() {
            assert!(key < 1_500, "{hot} went at {key}");
            set(&store, hot, number(&store, hot), 0);
        }
    }
}

#[test]
fn what_is_evicted_and_asked_for_again_is_reported_once() {
    let store = of(Bound { capacity: Some(10), max_bytes: None });
    (0..10).for_each(|key| set(&store, key, number(&store, key), 0));
    assert!(!store.begins_to_miss_evicted());
    (10..20).for_each(|key| set(&store, key, number(&store, key), 0));
    assert!(!store.begins_to_miss_evicted(), "no key has come back");
    (0..20).for_each(|key| set(&store, key, number(&store, key), 0));
    assert!(store.begins_to_miss_evicted());
    assert!(!store.begins_to_miss_evicted());
}

#[test]
fn expired_entries_make_room_for_fresh_ones() {
    let store = of(Bound { capacity: Some(1_000), max_bytes: None });
    for key in 0..1_000 {
        set(&store, key, new(10, 0), 0);
        // Used, so that they would stay.
        (0..5).for_each(|_| _ = entry(&store, &key.to_le_bytes()));
    }
    (2_000..2_500).for_each(|key| set(&store, key, number(&store, key), 10));
    assert!((2_000..2_500).all(|key| hit(&store, key) == Some(key)));
    assert_eq!(store.counts().1, 0, "nothing that lived was evicted");
}

#[test]
fn expired_entries_are_removed_after_their_grace() {
    let store = Store::new(Bound::default(), 5, Clock::manual());
    (0..1_000).for_each(|key| set(&store, key, new(10 + key % 2, 0), 0));
    set(&store, 1_000, number(&store, 1), 0);
    assert_eq!(store.shared.remove_expired(14), 15);
    assert_eq!(len(&store, 0..1_001), 1_001);
    assert_eq!(store.shared.remove_expired(15), 16);
    assert_eq!(len(&store, 0..1_001), 501);
    assert_eq!(store.shared.remove_expired(16), u64::MAX);
    assert_eq!(len(&store, 0..1_001), 1);
}

/// Without traffic, on the system's clock.
#[test]
fn expired_entries_are_removed_in_the_background() {
    let clock = Clock::system();
    let store = Store::new(Bound::default(), 0, clock.clone());
    let (gone, is_gone) = std::sync::mpsc::channel();
    for key in 0..3 {
        let (now, value) = (clock.monotonic(), Arc::new(Rings(gone.clone())));
        set(&store, key, of_value(value, now + 1_000_000 * key, 0), now);
    }
    set(&store, 3, of_value(Arc::new(Rings(gone)), u64::MAX, 0), 0);
    for _ in 0..3 {
        is_gone.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    }
    assert_eq!(store.counts(), (1, 0));
}

/// Tells when it is dropped.
struct Rings(std::sync::mpsc::Sender<()>);

impl Drop for Rings {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn values_are_dropped_without_the_lock() {
    let store = Arc::new(of(Bound { capacity: Some(4), max_bytes: None }));
    for key in 0..200_u64 {
        let value = Arc::new(Reentrant(store.clone()));
        set(&store, key % 10, of_value(value, key % 3, 0), key % 2);
        store.delete(&(key % 7).to_le_bytes());
    }
    store.clear();
    assert_eq!(store.counts().0, 0);
}

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn a_value_that_panics_when_it_is_dropped_fails_no_call() {
    let store = of(Bound { capacity: Some(1), max_bytes: None });
    for key in 0..10 {
        set(&store, key, of_value(Arc::new(Panics), u64::MAX, 0), 0);
    }
    store.clear();
    set(&store, 1, number(&store, 1), 0);
}
