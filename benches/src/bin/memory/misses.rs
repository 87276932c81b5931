//! Misses: every key is new, and for each that comes another has to go.

use cache_benches::{Case, Goal, Part, Settings, counter, ready};

macro_rules! functions {
    ($(#[$attribute:meta] $name:ident, $name_async:ident;)*) => {$(
        #[$attribute]
        fn $name(n: u64) -> u64 {
            n.wrapping_mul(7)
        }

        #[$attribute]
        async fn $name_async(n: u64) -> u64 {
            n.wrapping_mul(7)
        }
    )*};
}

functions! {
    #[cache_runtime::cached(capacity = 1_000, ttl = 3600)] ours, ours_async;
    #[cached::macros::cached(max_size = 1_000, ttl_secs = 3600)] bounded, bounded_async;
    #[cached::macros::concurrent_cached(max_size = 1_000, ttl_secs = 3600)] concurrent, concurrent_async;
}

/// A store of 1,000 entries, full.
pub fn at_capacity(part: &mut Part) {
    let moka = moka::sync::Cache::new(1_000);
    let quick = quick_cache::sync::Cache::<u64, u64>::new(1_000);
    let new = counter();
    let body = "the body alone";
    let cases = vec![
        Case::each("cache-runtime", |_| ours(new())),
        Case::each(body, |_| ours::uncached(new())),
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
    let goals = [Goal::more(body, 3_000.0)];
    part.compare("miss and insert at capacity, u64 -> u64", &Settings::busy(1), &goals, cases);

    let cases = vec![
        Case::each("cache-runtime", |_| ready(ours_async(new()))),
        Case::each(body, |_| ready(ours_async::uncached(new()))),
        Case::each("cached(max_size, ttl), async", |_| ready(bounded_async(new()))),
        Case::each("concurrent_cached(max_size, ttl), async", |_| ready(concurrent_async(new()))),
    ];
    part.compare("miss and insert at capacity, async, u64 -> u64", &Settings::busy(1), &goals, cases);
}
