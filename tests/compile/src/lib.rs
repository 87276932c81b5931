//! Programs with `#[cached]` that must compile, and programs that must not: see `ui/`.
//!
//! What lints and rustdoc say only of exported functions is tested here: [linked] means one item.
#![forbid(clippy::exhaustive_structs, clippy::pedantic, rustdoc::broken_intra_doc_links)]

use cache_runtime::cached;

/// A cached function, see also [`linked`] itself, its [`invalidate`](linked::invalidate) and [wide].
#[must_use]
#[cached]
pub fn linked(id: u64) -> u64 {
    id
}

/// The lint is about this function, once.
#[must_use]
#[expect(clippy::too_many_arguments)]
#[cached]
pub fn wide(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64) -> u64 {
    a + b + c + d + e + f + g + h
}
