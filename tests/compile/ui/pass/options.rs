//! Every option in every form, on functions of every kind that is supported.

use std::time::Duration;

use cache_runtime::cached;

const LIFETIME: Duration = Duration::from_secs(5);

#[cached]
fn plain(id: u64) -> u64 {
    id
}

#[cached()]
pub fn nothing() {}

#[cached(ttl = 60, capacity = 10_000, max_bytes = "64MiB", version = 3, namespace = "users")]
fn numbers(id: u64) -> u64 {
    id
}

#[cached(ttl = 1.5, max_bytes = 4096, crate = ::cache_runtime)]
fn fraction(id: u64) -> u64 {
    id
}

#[cached(ttl = "5m", cache_none = true, negative_ttl = "250ms", companions = finder)]
fn find(id: u64) -> Option<u64> {
    (id != 0).then_some(id)
}

#[cached(ttl = LIFETIME * 2, cache_err = true, negative_ttl = LIFETIME, companions = false)]
async fn load(id: u64) -> Result<u64, String> {
    if id == 0 { Err("no such user".to_owned()) } else { Ok(id) }
}

#[cached(ttl = |_| LIFETIME, cache_if = |_| true)]
fn judged(id: u64) -> u64 {
    id
}

#[cached(ttl = 60, stale = "30s", early = true, jitter = 0.1)]
fn renewed(id: u64, name: &str) -> u64 {
    id + name.len() as u64
}

#[cached(ttl = 60, stale = LIFETIME, early = 1.5, single_flight(wait = LIFETIME))]
async fn renewed_async(id: u64, name: &str) -> u64 {
    id + name.len() as u64
}

/// A name that generated code could have used.
const SITE: Duration = LIFETIME;

#[cached(ttl = SITE, negative_ttl = SITE, cache_none = true, stale = SITE, cache_if = |_| SITE == LIFETIME)]
fn ones_own_names(id: u64) -> Option<u64> {
    Some(id)
}

#[cached(ttl = |_| SITE, single_flight(wait = SITE), companions = false)]
fn ones_own_names_bare<const N: u64>(id: u64) -> u64 {
    id + N
}

#[cached(backend = "sessions", ttl = 60, codec = "bincode")]
fn remote(id: u64) -> u64 {
    id
}

pub(crate) fn main() {
    assert_eq!(plain(7), 7);
    assert_eq!(plain(7), 7);
    nothing();
    assert_eq!((numbers(7), fraction(7), judged(7)), (7, 7, 7));
    assert_eq!((find(7), find(0)), (Some(7), None));
    assert_eq!((ones_own_names(7), ones_own_names_bare::<1>(7)), (Some(7), 8));
    assert_eq!(renewed(7, "a"), 8);
    drop((load(7), renewed_async(7, "a")));
    let _: fn(u64) -> u64 = remote;
}
