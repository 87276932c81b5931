//! Misses: every key is new. There is room for all, or another has to go for each that comes.

use std::time::Duration;

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
    let goals = [Goal::time("cached(max_size, ttl)", 3.0)];
    part.compare("miss and insert at capacity, u64 -> u64", &Settings::busy(1), &goals, cases);

    let cases = vec![
        Case::each("cache-runtime", |_| ready(ours_async(new()))),
        Case::each(body, |_| ready(ours_async::uncached(new()))),
        Case::each("cached(max_size, ttl), async", |_| ready(bounded_async(new()))),
        Case::each("concurrent_cached(max_size, ttl), async", |_| ready(concurrent_async(new()))),
    ];
    part.compare("miss and insert at capacity, async, u64 -> u64", &Settings::busy(1), &[], cases);
}

macro_rules! with_room {
    ($(fn $name:ident($n:ident: $ty:ty) -> $ret:ty $body:block $key:literal $convert:tt;)*) => {$(
        mod $name {
            #[cache_runtime::cached(capacity = 4_000_000, ttl = 3600)]
            pub fn ours($n: $ty) -> $ret $body

            #[cached::macros::cached(key = $key, convert = $convert)]
            pub fn plain($n: $ty) -> $ret $body

            #[cached::macros::cached(max_size = 4_000_000, ttl_secs = 3600, key = $key, convert = $convert)]
            pub fn bounded($n: $ty) -> $ret $body
        }
    )*};
}

with_room! {
    fn number(n: u64) -> u64 { n.wrapping_mul(7) } "u64" { n };
    fn text(n: &str) -> String { n.to_owned() } "String" { n.to_owned() };
}

/// Stores that get no fuller than they may be.
pub fn with_room(part: &mut Part) {
    // Few, so that the stores stay below their capacity.
    let settings = Settings { rounds: 11, ..Settings::busy(1) };
    let quick = quick_cache::sync::Cache::<u64, u64>::new(4_000_000);
    let new = counter();
    let cases = vec![
        Case::each("cache-runtime", |_| number::ours(new())),
        Case::each("cached", |_| number::plain(new())),
        Case::each("cached(max_size, ttl)", |_| number::bounded(new())),
        Case::each("quick_cache alone: get, insert", |_| {
            let n = new();
            if quick.get(&n).is_none() {
                quick.insert(n, n);
            }
        }),
    ];
    part.compare("miss with room, u64 -> u64", &settings, &[Goal::time("cached", 2.5)], cases);

    let key = || format!("{:>24}", new());
    let cases = vec![
        Case::each("cache-runtime", |_| text::ours(&key())),
        Case::each("cached", |_| text::plain(&key())),
        Case::each("cached(max_size, ttl)", |_| text::bounded(&key())),
    ];
    part.compare("miss with room, &str -> String", &settings, &[Goal::time("cached", 2.5)], cases);
}

/// A side of the grid.
const SIDE: u32 = 250;

/// Paths from a corner of a grid, where each step goes one of two ways.
#[cache_runtime::cached(capacity = "unbounded")]
fn paths(x: u32, y: u32) -> u64 {
    if x == 0 || y == 0 { 1 } else { paths(x - 1, y).wrapping_add(paths(x, y - 1)) }
}

#[cached::macros::cached]
fn plain_paths(x: u32, y: u32) -> u64 {
    if x == 0 || y == 0 { 1 } else { plain_paths(x - 1, y).wrapping_add(plain_paths(x, y - 1)) }
}

/// Memoized recursion: as many misses as there are places in the grid, and as many hits.
pub fn recursion(part: &mut Part) {
    let settings = Settings { rounds: 11, sample: Duration::from_millis(50), ..Settings::busy(1) };
    let cases = vec![
        Case::each("cache-runtime", |_| {
            paths::clear().expect("memory can be cleared");
            paths(SIDE, SIDE)
        }),
        Case::each("cached", |_| {
            cached::Cached::cache_clear(&mut *PLAIN_PATHS.write());
            plain_paths(SIDE, SIDE)
        }),
    ];
    part.compare("paths in a grid of 250 x 250, recursion", &settings, &[Goal::time("cached", 2.5)], cases);
}
