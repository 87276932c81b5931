//! What the memory benchmarks call: one function per signature, cached by this and by its peers.
//!
//! Bodies are cheap, so that what is measured is the cache.

use std::sync::Arc;

/// More than any benchmark uses, so that nothing is given up.
pub const ROOM: usize = 200_000;

/// One signature, cached by each.
macro_rules! functions {
    ($module:ident, $about:literal, $convert:tt $key:literal,
     fn($($arg:ident: $ty:ty),*) -> $ret:ty $body:block) => {
        #[doc = $about]
        #[allow(missing_docs, reason = "named after who caches")]
        pub mod $module {
            #[allow(unused_imports)]
            use super::*;

            pub fn body($($arg: $ty),*) -> $ret $body

            #[cache_runtime::cached(capacity = 200_000, ttl = 3600)]
            pub fn ours($($arg: $ty),*) -> $ret $body

            #[cache_runtime::cached(capacity = 200_000, ttl = 3600)]
            pub async fn ours_async($($arg: $ty),*) -> $ret $body

            #[cached::macros::cached(key = $key, convert = $convert)]
            pub fn plain($($arg: $ty),*) -> $ret $body

            #[cached::macros::cached(max_size = 200_000, ttl_secs = 3600, key = $key, convert = $convert)]
            pub fn bounded($($arg: $ty),*) -> $ret $body

            #[cached::macros::concurrent_cached(max_size = 200_000, ttl_secs = 3600, key = $key, convert = $convert)]
            pub fn concurrent($($arg: $ty),*) -> $ret $body

            #[cached::macros::cached(key = $key, convert = $convert)]
            pub async fn plain_async($($arg: $ty),*) -> $ret $body

            #[cached::macros::cached(max_size = 200_000, ttl_secs = 3600, key = $key, convert = $convert)]
            pub async fn bounded_async($($arg: $ty),*) -> $ret $body

            #[cached::macros::concurrent_cached(max_size = 200_000, ttl_secs = 3600, key = $key, convert = $convert)]
            pub async fn concurrent_async($($arg: $ty),*) -> $ret $body
        }
    };
}

functions! { numbers, "A number for a number.", { n } "u64",
fn(n: u64) -> u64 { n.wrapping_mul(7) } }

functions! { strings, "A text of 64 bytes for a text of 24 and a number.", { (name.to_owned(), n) } "(String, u32)",
fn(name: &str, n: u32) -> String { format!("{name:<32}{n:>32}") } }

functions! { shared, "4 KiB, shared, for a text.", { name.to_owned() } "String",
fn(name: &str) -> Arc<Vec<u8>> { Arc::new(vec![name.len() as u8; 4_096]) } }

functions! { structs, "A struct of 20 fields for a number.", { n } "u64",
fn(n: u64) -> Record { Record::of(n) } }

/// The same by `memoize`, which takes owned arguments only, and makes functions without documentation.
#[allow(missing_docs, reason = "the attribute adds functions")]
#[cfg(feature = "peers")]
pub mod memoized {
    use super::*;
    use std::time::Duration;

    #[memoize::memoize(Capacity: 200_000, TimeToLive: Duration::from_secs(3600), SharedCache)]
    pub fn numbers(n: u64) -> u64 {
        super::numbers::body(n)
    }

    #[memoize::memoize(Capacity: 200_000, TimeToLive: Duration::from_secs(3600), SharedCache)]
    pub fn strings(name: String, n: u32) -> String {
        super::strings::body(&name, n)
    }

    #[memoize::memoize(Capacity: 200_000, TimeToLive: Duration::from_secs(3600), SharedCache)]
    pub fn shared(name: String) -> Arc<Vec<u8>> {
        super::shared::body(&name)
    }

    #[memoize::memoize(Capacity: 200_000, TimeToLive: Duration::from_secs(3600), SharedCache)]
    pub fn structs(n: u64) -> Record {
        super::structs::body(n)
    }
}

/// Twenty fields, as a row of a table has.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "it is about their number")]
pub struct Record {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub street: String,
    pub city: String,
    pub country: Option<String>,
    pub tags: Vec<String>,
    pub age: u32,
    pub score: f64,
    pub level: u8,
    pub is_active: bool,
    pub is_admin: bool,
    pub created: u64,
    pub updated: u64,
    pub seen: Option<u64>,
    pub logins: u32,
    pub balance: i64,
    pub parent: Option<u64>,
    pub left: u64,
    pub right: u64,
}

impl Record {
    fn of(n: u64) -> Self {
        Self {
            id: n,
            name: format!("name {n}"),
            email: format!("{n}@example.org"),
            street: "1 Long Street".into(),
            city: "Springfield".into(),
            country: Some("Utopia".into()),
            tags: vec!["a".into(), "b".into()],
            age: 30,
            score: 0.5,
            level: 3,
            is_active: true,
            is_admin: false,
            created: n,
            updated: n + 1,
            seen: Some(n),
            logins: 12,
            balance: -5,
            parent: None,
            left: n,
            right: n,
        }
    }
}

/// Texts of 24 bytes.
pub fn names(count: u64) -> Vec<String> {
    (0..count).map(|n| format!("user-{n:019}")).collect()
}
