//! How many requests of a trace a store answers that has room for 1,000 keys.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cache_benches::{Goal, Part};

const KEYS: u64 = 100_000;
const ASKED: u64 = 2_000_000;
/// With scans: so often, so many keys that are asked for once come between.
const SCAN_EVERY: u64 = 100_000;
const SCAN: u64 = 10_000;
/// The keys of the loop.
const LOOP: u64 = 1_500;

static RUNS: AtomicU64 = AtomicU64::new(0);

#[cache_runtime::cached(capacity = 1_000)]
fn ours(n: u64) -> u64 {
    RUNS.fetch_add(1, Relaxed);
    n
}

#[cached::macros::cached(max_size = 1_000)]
fn lru(n: u64) -> u64 {
    RUNS.fetch_add(1, Relaxed);
    n
}

/// Asks each store for the keys of a trace, each raised by `offset`.
fn measure<T: Iterator<Item = u64>>(
    part: &mut Part,
    title: &str,
    goals: &[Goal],
    offset: u64,
    trace: impl Fn() -> T,
) {
    if !part.wants(title) {
        return;
    }
    let moka = moka::sync::Cache::new(1_000);
    let quick = quick_cache::sync::Cache::<u64, u64>::new(1_000);
    let mut ask: Vec<(&str, Box<dyn FnMut(u64) -> bool>)> = vec![
        ("cache-runtime", Box::new(|n| ran(|| ours(n)))),
        ("moka alone", Box::new(move |n| moka.get(&n).is_some() || (moka.insert(n, n), false).1)),
        ("quick_cache alone", Box::new(move |n| quick.get(&n).is_some() || (quick.insert(n, n), false).1)),
        ("cached(max_size), LRU", Box::new(|n| ran(|| lru(n)))),
    ];
    let figures = ask.iter_mut().map(|(name, ask)| {
        let (mut hits, mut asked) = (0_u64, 0_u64);
        for n in trace() {
            hits += u64::from(ask(offset + n));
            asked += 1;
        }
        ((*name).to_owned(), hits as f64 * 100.0 / asked as f64)
    });
    let figures = figures.collect();
    part.note(title, "%", goals, figures);
}

/// Whether a call was a hit.
fn ran(call: impl FnOnce() -> u64) -> bool {
    let before = RUNS.load(Relaxed);
    call();
    RUNS.load(Relaxed) == before
}

/// Skewed requests, alone and with scans between them, and a loop over more keys than there is room for.
pub fn traces(part: &mut Part) {
    let zipf = || cache_benches::zipf(KEYS as usize, 0.9).take(ASKED as usize);
    measure(part, "hits of Zipf 0.9, room for 1 % of 100,000 keys", &[Goal::AtLeast(45.5)], 0, zipf);
    let with_scans = || {
        let scans = (0..ASKED).map(|index| if index % SCAN_EVERY == 0 { SCAN } else { 0 });
        zipf().zip(scans).enumerate().flat_map(|(index, (n, scan))| {
            let scanned = (1 << 40) + index as u64 * SCAN;
            std::iter::once(n).chain(scanned..scanned + scan)
        })
    };
    measure(part, "hits of Zipf 0.9, room for 1 %, with scans", &[], 1 << 50, with_scans);
    let rounds = || (0..ASKED).map(|index| index % LOOP);
    measure(part, "hits of a loop over 1,500 keys, room for 1,000", &[], 1 << 51, rounds);
}
