//! Who is compared in memory: for each signature ours first, its peers beside it.
//!
//! Each case is asked for the arguments that its index stands for, and hits once it was asked for them before.

use std::sync::Arc;

use crate::async_peers::{FIRST_LAYER, cachekit_number, cachekit_string, hitbox_number, hitbox_string};
use crate::functions::{Record, memoized, numbers, shared, strings, structs};
use crate::{Case, bare_stores, ready};

/// This, with a bound, a lifetime and statistics.
pub const OURS: &str = "cache-runtime";
/// `cached` with a bound and a lifetime.
pub const BOUNDED: &str = "cached(max_size, ttl)";
/// `cached` with neither.
pub const PLAIN: &str = "cached";
/// `cached` in shards, with a bound and a lifetime.
pub const CONCURRENT: &str = "concurrent_cached(max_size, ttl)";
/// The same, async.
pub const CONCURRENT_ASYNC: &str = "concurrent_cached(max_size, ttl), async";
/// `memoize` with a bound and a lifetime, for all threads.
pub const MEMOIZE: &str = "memoize(Capacity, TimeToLive, SharedCache)";

/// A number for a number.
pub fn numbers<'a>(at: impl Fn(u64) -> u64 + Copy + 'a) -> Vec<Case<'a>> {
    let mut cases = vec![
        Case::each(OURS, move |index| numbers::ours(at(index))),
        Case::each(BOUNDED, move |index| numbers::bounded(at(index))),
        Case::each(PLAIN, move |index| numbers::plain(at(index))),
        Case::each(CONCURRENT, move |index| numbers::concurrent(at(index))),
        Case::each(MEMOIZE, move |index| memoized::numbers(at(index))),
    ];
    cases.extend(bare_stores::cases(at, |n: &u64| numbers::body(*n)));
    cases
}

/// A text for a text and a number.
pub fn strings<'a>(name: impl Fn(u64) -> &'a str + Copy + 'a) -> Vec<Case<'a>> {
    let mut cases = vec![
        Case::each(OURS, move |index| strings::ours(name(index), 7)),
        Case::each(BOUNDED, move |index| strings::bounded(name(index), 7)),
        Case::each(PLAIN, move |index| strings::plain(name(index), 7)),
        Case::each(CONCURRENT, move |index| strings::concurrent(name(index), 7)),
        Case::each(MEMOIZE, move |index| memoized::strings(name(index).to_owned(), 7)),
    ];
    let owned = move |index| (name(index).to_owned(), 7);
    cases.extend(bare_stores::cases(owned, |(name, n): &(String, u32)| strings::body(name, *n)));
    cases
}

/// Something shared for a text.
pub fn shared<'a>(name: impl Fn(u64) -> &'a str + Copy + 'a) -> Vec<Case<'a>> {
    let mut cases = vec![
        Case::each(OURS, move |index| shared::ours(name(index))),
        Case::each(BOUNDED, move |index| shared::bounded(name(index))),
        Case::each(PLAIN, move |index| shared::plain(name(index))),
        Case::each(CONCURRENT, move |index| shared::concurrent(name(index))),
        Case::each(MEMOIZE, move |index| memoized::shared(name(index).to_owned())),
    ];
    cases.extend(bare_stores::cases::<str, _, Arc<Vec<u8>>>(name, shared::body));
    cases
}

/// A struct for a number.
pub fn structs<'a>(at: impl Fn(u64) -> u64 + Copy + 'a) -> Vec<Case<'a>> {
    let mut cases = vec![
        Case::each(OURS, move |index| structs::ours(at(index))),
        Case::each(BOUNDED, move |index| structs::bounded(at(index))),
        Case::each(PLAIN, move |index| structs::plain(at(index))),
        Case::each(CONCURRENT, move |index| structs::concurrent(at(index))),
        Case::each(MEMOIZE, move |index| memoized::structs(at(index))),
    ];
    cases.extend(bare_stores::cases::<u64, _, Record>(at, |n| structs::body(*n)));
    cases
}

/// A number for a number, async, polled where it is awaited.
pub fn numbers_async<'a>(at: impl Fn(u64) -> u64 + Copy + 'a) -> Vec<Case<'a>> {
    vec![
        Case::each(OURS, move |index| ready(numbers::ours_async(at(index)))),
        Case::each("cached(max_size, ttl), async", move |index| ready(numbers::bounded_async(at(index)))),
        Case::each("cached, async", move |index| ready(numbers::plain_async(at(index)))),
        Case::each(CONCURRENT_ASYNC, move |index| ready(numbers::concurrent_async(at(index)))),
        Case::each("hitbox on moka", move |index| ready(hitbox_number(at(index)))),
        Case::each("cachekit, first layer", move |index| ready(cachekit_number(&FIRST_LAYER, at(index)))),
    ]
}

/// A text for a text and a number, async, polled where it is awaited.
pub fn strings_async<'a>(name: impl Fn(u64) -> &'a str + Copy + 'a) -> Vec<Case<'a>> {
    vec![
        Case::each(OURS, move |index| ready(strings::ours_async(name(index), 7))),
        Case::each("cached(max_size, ttl), async", move |index| {
            ready(strings::bounded_async(name(index), 7))
        }),
        Case::each("cached, async", move |index| ready(strings::plain_async(name(index), 7))),
        Case::each(CONCURRENT_ASYNC, move |index| ready(strings::concurrent_async(name(index), 7))),
        Case::each("hitbox on moka", move |index| ready(hitbox_string(name(index).to_owned(), 7))),
        Case::each("cachekit, first layer", move |index| {
            ready(cachekit_string(&FIRST_LAYER, name(index), 7))
        }),
    ]
}
