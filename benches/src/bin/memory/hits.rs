//! Hits: everything asked for is there.

use std::hint::black_box;
use std::time::Duration;

use cache_benches::cases::{self, BOUNDED, CONCURRENT, CONCURRENT_ASYNC, MEMOIZE, OURS, PLAIN};
use cache_benches::functions::{self, ROOM, memoized, numbers};
use cache_benches::{Case, Goal, Part, Settings, machine, zipf};

/// An entry's first hits are dearer, so there are so many before it is measured.
const WARM: u64 = 150;
/// How many keys there are where nothing else is said.
const KEYS: u64 = 1_024;

/// Keys in an order that the processor can't foresee; all of them before one comes again. `keys` is a power of two.
fn shuffled(index: u64, keys: u64) -> u64 {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15) & (keys - 1)
}

/// Measures hits, of entries that are all asked for within `keys` operations.
fn hits(part: &mut Part, title: &str, goals: &[Goal], keys: u64, mut cases: Vec<Case<'_>>) {
    if part.wants(title) {
        cases.iter_mut().for_each(|case| case.warm(keys));
        cases[0].warm(WARM * keys);
        part.compare(title, &Settings::busy(1), goals, cases);
    }
}

/// A number for a number.
pub fn numbers(part: &mut Part) {
    for keys in [1, KEYS, 131_072] {
        let title = format!("hit, u64 -> u64, {keys} keys");
        let goals = match keys {
            131_072 => vec![Goal::time(BOUNDED, 0.7), Goal::time("quick_cache alone", 1.5)],
            _ => vec![Goal::time(BOUNDED, 0.4), Goal::time(PLAIN, 1.1)],
        };
        hits(part, &title, &goals, keys, cases::numbers(|index| shuffled(index, keys)));
    }
    let order: Vec<u64> = zipf(10_000, 1.0).take(1 << 16).collect();
    let cases = cases::numbers(|index| order[index as usize & (order.len() - 1)]);
    hits(part, "hit, u64 -> u64, Zipf 1.0 of 10,000 keys", &[], order.len() as u64, cases);
}

/// Values of several kinds.
pub fn values(part: &mut Part) {
    let names = functions::names(KEYS);
    let at = |index| shuffled(index, KEYS);
    let name = |index| names[at(index) as usize].as_str();
    let goals = [Goal::time(BOUNDED, 0.6)];
    hits(part, "hit, (&str of 24 B, u32) -> String of 64 B", &goals, KEYS, cases::strings(name));
    hits(part, "hit, &str -> Arc<Vec<u8>> of 4 KiB", &goals, KEYS, cases::shared(name));
    hits(part, "hit, u64 -> struct of 20 fields", &[], KEYS, cases::structs(at));
}

/// Async functions, polled where they are awaited.
pub fn asynchronous(part: &mut Part) {
    let names = functions::names(KEYS);
    let at = |index| shuffled(index, KEYS);
    let name = |index| names[at(index) as usize].as_str();
    let mut blocking = Case::each("cache-runtime, blocking", |index| numbers::ours(at(index)));
    blocking.warm(WARM * KEYS);
    let goals = [Goal::time(blocking.name(), 1.1), Goal::time(CONCURRENT_ASYNC, 0.3)];
    let mut cases = cases::numbers_async(at);
    cases.push(blocking);
    hits(part, "hit, async, u64 -> u64, 1024 keys", &goals, KEYS, cases);
    hits(part, "hit, async, (&str of 24 B, u32) -> String of 64 B", &[], KEYS, cases::strings_async(name));
}

/// Two threads on the same entries.
pub fn threads(part: &mut Part) {
    for (title, keys) in [
        ("hit, two threads, u64 -> u64, one key", vec![3; 16]),
        ("hit, two threads, u64 -> u64, Zipf 1.0 of 10,000 keys", zipf(10_000, 1.0).take(1 << 16).collect()),
    ] {
        if !part.wants(title) {
            continue;
        }
        let at = |index: u64| keys[index as usize & (keys.len() - 1)];
        let moka = moka::sync::Cache::new(ROOM as u64);
        let quick = quick_cache::sync::Cache::<u64, u64>::new(ROOM);
        let papaya = papaya::HashMap::<u64, u64>::new();
        for index in 0..keys.len() as u64 {
            let n = at(index);
            (0..WARM).for_each(|_| _ = black_box(numbers::ours(n)));
            black_box((numbers::plain(n), numbers::bounded(n), numbers::concurrent(n), memoized::numbers(n)));
            moka.insert(n, n);
            quick.insert(n, n);
            papaya.pin().insert(n, n);
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
            two(MEMOIZE, |index| memoized::numbers(at(index))),
            two("moka alone", |index| moka.get(&at(index))),
            two("quick_cache alone", |index| quick.get(&at(index))),
            two("papaya alone, unbounded", |index| papaya.pin().get(&at(index)).copied()),
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
