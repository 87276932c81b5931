//! Memory: hits, misses, threads and hit ratios of this and its peers, in one process.

use std::collections::HashMap;
use std::hint::black_box;

use cache_benches::{Case, Goal, Part, Settings, machine};

#[cache_runtime::cached(capacity = 200_000, ttl = 3600)]
fn ours(n: u64) -> u64 {
    n.wrapping_mul(7)
}

#[cached::macros::cached]
fn plain(n: u64) -> u64 {
    n.wrapping_mul(7)
}

#[cached::macros::cached(max_size = 200_000, ttl_secs = 3600)]
fn bounded(n: u64) -> u64 {
    n.wrapping_mul(7)
}

fn main() {
    let mut part = Part::new("memory");
    machine::pin(&[0]);
    for keys in [1, 1_024, 131_072] {
        let floor: HashMap<u64, u64> = (0..keys).map(|n| (n, n)).collect();
        (0..keys).for_each(|n| _ = black_box((ours(n), plain(n), bounded(n))));
        part.compare(
            &format!("hit, u64 -> u64, {keys} keys"),
            &Settings::busy(1),
            &[Goal::time("cached(max_size, ttl)", 0.4), Goal::time("cached", 1.1)],
            vec![
                Case::each("cache-runtime", |index| ours(index % keys)),
                Case::each("cached(max_size, ttl)", |index| bounded(index % keys)),
                Case::each("cached", |index| plain(index % keys)),
                Case::each("HashMap, one thread only", |index| floor[&(index % keys)]),
            ],
        );
    }
    part.finish();
}
