//! How many of skewed requests a store answers that has room for 1 % of the keys.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cache_benches::{Goal, Part};

const KEYS: u64 = 100_000;
const ASKED: u64 = 2_000_000;
/// With scans: so often, so many keys that are asked for once come between.
const SCAN_EVERY: u64 = 100_000;
const SCAN: u64 = 10_000;

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

fn measure(part: &mut Part, title: &str, goals: &[Goal], scans: bool, offset: u64) {
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
        let (mut hits, mut scanned) = (0_u64, offset + (1 << 40));
        for (index, n) in (0..ASKED).zip(cache_benches::zipf(KEYS as usize, 0.9)) {
            hits += u64::from(ask(offset + n));
            if scans && index % SCAN_EVERY == 0 {
                for _ in 0..SCAN {
                    scanned += 1;
                    ask(scanned);
                }
            }
        }
        ((*name).to_owned(), hits as f64 * 100.0 / ASKED as f64)
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

/// Both.
pub fn zipf(part: &mut Part) {
    measure(part, "hits of Zipf 0.9, room for 1 % of 100,000 keys", &[Goal::AtLeast(42.5)], false, 0);
    measure(part, "hits of Zipf 0.9, room for 1 %, with scans", &[], true, 1 << 50);
}
