//! Hits: everything asked for is there.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cache_benches::subjects::{self, ROOM, memoized, numbers, shared, strings, structs};
use cache_benches::{Case, Goal, Part, Settings, machine, ready, zipf};

const BOUNDED: &str = "cached(max_size, ttl)";
const CONCURRENT: &str = "concurrent_cached(max_size, ttl)";
const OURS: &str = "cache-runtime";
const PLAIN: &str = "cached";

/// An entry's first hits are dearer, so there are so many before it is measured.
const WARM: u64 = 150;

/// Keys in an order that the processor can't foresee; all of them before one comes again. `keys` is a power of two.
fn shuffled(index: u64, keys: u64) -> u64 {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15) & (keys - 1)
}

/// A number for a number.
pub fn numbers(part: &mut Part) {
    for keys in [1, 1_024, 131_072] {
        let title = format!("hit, u64 -> u64, {keys} keys");
        if !part.wants(&title) {
            continue;
        }
        let map: HashMap<u64, u64> = (0..keys).map(|n| (n, n)).collect();
        let papaya: papaya::HashMap<u64, u64> = (0..keys).map(|n| (n, n)).collect();
        let quick = quick_cache::sync::Cache::<u64, u64>::new(ROOM);
        let moka = moka::sync::Cache::builder().max_capacity(ROOM as u64).build();
        let expiring_moka = moka::sync::Cache::builder()
            .max_capacity(ROOM as u64)
            .time_to_live(Duration::from_secs(3600))
            .build();
        for n in 0..keys {
            (0..WARM).for_each(|_| _ = black_box(numbers::ours(n)));
            black_box((numbers::plain(n), numbers::bounded(n), numbers::concurrent(n), memoized(n)));
            quick.insert(n, n);
            moka.insert(n, n);
            expiring_moka.insert(n, n);
        }
        let goals = match keys {
            131_072 => vec![Goal::time(BOUNDED, 0.7)],
            _ => vec![Goal::time(BOUNDED, 0.4), Goal::time(PLAIN, 1.1)],
        };
        let at = |index| shuffled(index, keys);
        let cases = vec![
            Case::each(OURS, |index| numbers::ours(at(index))),
            Case::each(BOUNDED, |index| numbers::bounded(at(index))),
            Case::each(PLAIN, |index| numbers::plain(at(index))),
            Case::each(CONCURRENT, |index| numbers::concurrent(at(index))),
            Case::each("memoize(Capacity, TimeToLive, SharedCache)", |index| memoized(at(index))),
            Case::each("moka alone", |index| moka.get(&at(index))),
            Case::each("moka alone, time_to_live", |index| expiring_moka.get(&at(index))),
            Case::each("quick_cache alone", |index| quick.get(&at(index))),
            Case::each("papaya alone, unbounded", |index| papaya.pin().get(&at(index)).copied()),
            Case::each("HashMap, one thread, unbounded", |index| map.get(&at(index)).copied()),
        ];
        part.compare(&title, &Settings::busy(1), &goals, cases);
    }
}

/// Values of several kinds, for 1,024 keys.
pub fn values(part: &mut Part) {
    const KEYS: u64 = 1_024;
    let names = subjects::names(KEYS);
    let name = |index: u64| names[shuffled(index, KEYS) as usize].as_str();
    let title = "hit, (&str of 24 B, u32) -> String of 64 B";
    if part.wants(title) {
        (0..WARM * KEYS).for_each(|index| _ = black_box(strings::ours(name(index), 7)));
        let cases = vec![
            Case::each(OURS, |index| strings::ours(name(index), 7)),
            Case::each(BOUNDED, |index| strings::bounded(name(index), 7)),
            Case::each(PLAIN, |index| strings::plain(name(index), 7)),
            Case::each(CONCURRENT, |index| strings::concurrent(name(index), 7)),
        ];
        part.compare(title, &Settings::busy(1), &[Goal::time(BOUNDED, 0.6)], cases);
    }
    let title = "hit, &str -> Arc<Vec<u8>> of 4 KiB";
    if part.wants(title) {
        (0..WARM * KEYS).for_each(|index| _ = black_box(shared::ours(name(index))));
        let cases = vec![
            Case::each(OURS, |index| shared::ours(name(index))),
            Case::each(BOUNDED, |index| shared::bounded(name(index))),
            Case::each(PLAIN, |index| shared::plain(name(index))),
            Case::each(CONCURRENT, |index| shared::concurrent(name(index))),
        ];
        part.compare(title, &Settings::busy(1), &[Goal::time(BOUNDED, 0.6)], cases);
    }
    let title = "hit, u64 -> struct of 20 fields";
    if part.wants(title) {
        let at = |index| shuffled(index, KEYS);
        (0..WARM * KEYS).for_each(|index| _ = black_box(structs::ours(at(index))));
        let cases = vec![
            Case::each(OURS, |index| structs::ours(at(index))),
            Case::each(BOUNDED, |index| structs::bounded(at(index))),
            Case::each(PLAIN, |index| structs::plain(at(index))),
            Case::each(CONCURRENT, |index| structs::concurrent(at(index))),
        ];
        part.compare(title, &Settings::busy(1), &[], cases);
    }
}

/// Async functions, polled where they are awaited.
pub fn asynchronous(part: &mut Part) {
    const KEYS: u64 = 1_024;
    let title = "hit, async, u64 -> u64, 1024 keys";
    if !part.wants(title) {
        return;
    }
    let at = |index| shuffled(index, KEYS);
    for index in 0..WARM * KEYS {
        black_box((ready(numbers::ours_async(at(index))), numbers::ours(at(index))));
    }
    let blocking = "cache-runtime, blocking";
    let concurrent = "concurrent_cached(max_size, ttl), async";
    let cases = vec![
        Case::each(OURS, |index| ready(numbers::ours_async(at(index)))),
        Case::each(blocking, |index| numbers::ours(at(index))),
        Case::each("cached(max_size, ttl), async", |index| ready(numbers::bounded_async(at(index)))),
        Case::each(concurrent, |index| ready(numbers::concurrent_async(at(index)))),
    ];
    let goals = [Goal::time(blocking, 1.1), Goal::time(concurrent, 0.3)];
    part.compare(title, &Settings::busy(1), &goals, cases);
}

/// Two threads on the same entries.
pub fn threads(part: &mut Part) {
    let order: Arc<Vec<u64>> = Arc::new(zipf(10_000, 1.0).take(1 << 16).collect());
    for (title, keys) in [
        ("hit, two threads, u64 -> u64, one key", vec![3; 16]),
        ("hit, two threads, u64 -> u64, Zipf 1.0 of 10,000 keys", order.to_vec()),
    ] {
        if !part.wants(title) {
            continue;
        }
        let at = |index: u64| keys[index as usize & (keys.len() - 1)];
        let moka = moka::sync::Cache::new(ROOM as u64);
        let quick = quick_cache::sync::Cache::<u64, u64>::new(ROOM);
        for index in 0..keys.len() as u64 {
            let n = at(index);
            (0..WARM).for_each(|_| _ = black_box(numbers::ours(n)));
            black_box((numbers::plain(n), numbers::bounded(n), numbers::concurrent(n)));
            moka.insert(n, n);
            quick.insert(n, n);
        }
        let alone = "cache-runtime, one thread at a time";
        let cases = vec![
            two(OURS, |index| numbers::ours(at(index))),
            Case::new(alone, |operations| {
                // As many threads, one after another: the machine is as busy, and both have their caches.
                for cpu in 0..2 {
                    std::thread::scope(|scope| {
                        scope.spawn(move || {
                            machine::pin(&[cpu]);
                            run(operations / 2, &|index| numbers::ours(at(index)));
                        });
                    });
                }
            }),
            two(BOUNDED, |index| numbers::bounded(at(index))),
            two(PLAIN, |index| numbers::plain(at(index))),
            two(CONCURRENT, |index| numbers::concurrent(at(index))),
            two("moka alone", |index| moka.get(&at(index))),
            two("quick_cache alone", |index| quick.get(&at(index))),
        ];
        let goals = [Goal::speed(BOUNDED, 3.0), Goal::speed(PLAIN, 1.5), Goal::speed(alone, 1.6)];
        let settings = Settings { sample: Duration::from_millis(20), ..Settings::threads() };
        part.compare(title, &settings, &goals, cases);
    }
}

/// Two threads that share the operations.
fn two<'a, T>(name: &str, operation: impl Fn(u64) -> T + Sync + 'a) -> Case<'a> {
    Case::new(name, move |operations| {
        std::thread::scope(|scope| {
            for cpu in 0..2 {
                let operation = &operation;
                scope.spawn(move || {
                    // Left alone, both would begin on one processor.
                    machine::pin(&[cpu]);
                    run(operations / 2, operation);
                });
            }
        });
    })
}

fn run<T>(operations: u64, operation: &impl Fn(u64) -> T) {
    for index in 0..operations {
        black_box(operation(black_box(index)));
    }
}
