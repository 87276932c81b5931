//! Misses: every key is new, and for each that comes another has to go.

use std::cell::Cell;

use cache_benches::{Case, Part, Settings};

#[cache_runtime::cached(capacity = 1_000, ttl = 3600)]
fn ours(n: u64) -> u64 {
    n.wrapping_mul(7)
}

#[cached::macros::cached(max_size = 1_000, ttl_secs = 3600)]
fn bounded(n: u64) -> u64 {
    n.wrapping_mul(7)
}

#[cached::macros::concurrent_cached(max_size = 1_000, ttl_secs = 3600)]
fn concurrent(n: u64) -> u64 {
    n.wrapping_mul(7)
}

/// A store of 1,000 entries, full.
pub fn at_capacity(part: &mut Part) {
    let moka = moka::sync::Cache::new(1_000);
    let quick = quick_cache::sync::Cache::<u64, u64>::new(1_000);
    let next = Cell::new(0);
    let new = || {
        next.set(next.get() + 1);
        next.get()
    };
    let cases = vec![
        Case::each("cache-runtime", |_| ours(new())),
        Case::each("cached(max_size, ttl)", |_| bounded(new())),
        Case::each("concurrent_cached(max_size, ttl)", |_| concurrent(new())),
        Case::each("moka alone: get, insert", |_| {
            let n = new();
            if moka.get(&n).is_none() {
                moka.insert(n, n);
            }
        }),
        Case::each("quick_cache alone: get, insert", |_| {
            let n = new();
            if quick.get(&n).is_none() {
                quick.insert(n, n);
            }
        }),
    ];
    part.compare("miss and insert at capacity, u64 -> u64", &Settings::busy(1), &[], cases);
}
