//! Code that runs only because of the cache never fails a call: what panics there is not cached, and the caller gets the
//! result of the body.

use std::cell::Cell;
use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{Config, ErrorKind, Stats, cached};
use serde::{Deserialize, Serialize};

/// The code that panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    None,
    Serialize,
    Deserialize,
    PartialEq,
    Clone,
    CacheIf,
    Ttl,
    NegativeTtl,
}

thread_local! {
    static PANICS: Cell<Code> = const { Cell::new(Code::None) };
}

#[track_caller]
fn run(code: Code) {
    assert_ne!(PANICS.get(), code, "on purpose");
}

/// An argument and a value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
struct Item(u64);

impl From<u64> for Item {
    fn from(id: u64) -> Self {
        run(Code::Deserialize);
        Self(id)
    }
}

impl From<Item> for u64 {
    fn from(item: Item) -> Self {
        run(Code::Serialize);
        item.0
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        run(Code::PartialEq);
        self.0 == other.0
    }
}

impl Clone for Item {
    fn clone(&self) -> Self {
        run(Code::Clone);
        Self(self.0)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// What has been counted since `before`: errors, entries that didn't decode, runs.
fn counted(before: &Stats, now: &Stats) -> [u64; 3] {
    [now.errors - before.errors, now.decode_failures - before.decode_failures, now.runs - before.runs]
}

/// The tests of one place and kind of caller; `$wait` is `.await` or nothing. `$storing` runs when a value is stored, and
/// `$reading` when it is read.
macro_rules! suite {
    (
        $module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*],
        storing: $($storing:ident)*, reading: $reading:ident
    ) => {
        mod $module {
            use super::*;

            #[cached(
                backend = $backend,
                ttl = |_: &Item| { run(Code::Ttl); MINUTE },
                cache_if = |_: &Item| { run(Code::CacheIf); true },
            )]
            $($asyncness)? fn item(id: u64) -> Item {
                Item(id)
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn by_item(item: &Item) -> u64 {
                item.0
            }

            #[cached(backend = $backend, cache_none = true, negative_ttl = { run(Code::NegativeTtl); MINUTE })]
            $($asyncness)? fn absent(id: u64) -> Option<u64> {
                id.checked_sub(10)
            }

            async fn storing() {
                for code in [$(Code::$storing),*] {
                    let before = item::stats();
                    PANICS.set(code);
                    assert_eq!(item(1)$($wait)*.0, 1, "{code:?}");
                    PANICS.set(Code::None);
                    assert!(item::peek(1)$($wait)*.unwrap().is_none(), "{code:?}");
                    assert_eq!(counted(&before, &item::stats()), [1, 0, 1], "{code:?}");
                }
            }

            async fn inserting() {
                for code in [$(Code::$storing),*].into_iter().filter(|code| *code != Code::CacheIf) {
                    item(1)$($wait)*;
                    let value = Item(1);
                    PANICS.set(code);
                    let inserted = item::insert(1, value)$($wait)*;
                    PANICS.set(Code::None);
                    assert_eq!(inserted.unwrap_err().kind(), ErrorKind::Encode, "{code:?}");
                    assert!(item::peek(1)$($wait)*.unwrap().is_none(), "{code:?}");
                }
            }

            async fn reading() {
                item(1)$($wait)*;
                let before = item::stats();
                PANICS.set(Code::$reading);
                assert_eq!(item(1)$($wait)*.0, 1);
                let counts = counted(&before, &item::stats());
                assert!(counts[1..] == [1, 1], "{counts:?}");
                assert!(item::peek(1)$($wait)*.unwrap().is_none());
                PANICS.set(Code::None);
            }

            async fn keys() {
                PANICS.set(Code::Serialize);
                assert_eq!(by_item(&Item(7))$($wait)*, 7);
                assert_eq!(by_item::invalidate(&Item(7))$($wait)*.unwrap_err().kind(), ErrorKind::Key);
                PANICS.set(Code::None);
                assert_eq!(by_item::peek(&Item(7))$($wait)*.unwrap(), None);
            }

            async fn lifetimes_of_none() {
                PANICS.set(Code::NegativeTtl);
                assert_eq!(absent(1)$($wait)*, None);
                PANICS.set(Code::None);
                assert_eq!((absent::stats().errors, absent::stats().stores), (1, 0));
            }

            #[cached(backend = $backend, ttl = 60, stale = "1h", key = (item.0))]
            $($asyncness)? fn of_item(item: Item) -> u64 {
                item.0
            }

            async fn copies_for_renewals(scope: &Scope) {
                assert_eq!(of_item(Item(7))$($wait)*, 7);
                scope.advance(2 * MINUTE);
                PANICS.set(Code::Clone);
                assert_eq!(of_item(Item(7))$($wait)*, 7);
                PANICS.set(Code::None);
                assert_eq!(of_item::stats().runs, 2, "the caller ran it");
            }

            #[test]
            fn calls_get_their_results() {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let scope = Scope::with_config(Config::new().url("bytes", "memory://")).unwrap();
                runtime.block_on(scope.run(async {
                    storing().await;
                    inserting().await;
                    reading().await;
                    keys().await;
                    lifetimes_of_none().await;
                    copies_for_renewals(&scope).await;
                }));
            }
        }
    };
}

suite!(typed, "memory", [], [], storing: Clone CacheIf Ttl, reading: Clone);
suite!(typed_async, "memory", [async], [.await], storing: Clone CacheIf Ttl, reading: Clone);
suite!(encoded, "bytes", [], [], storing: Serialize Deserialize PartialEq CacheIf Ttl, reading: Deserialize);
#[cfg(feature = "servers")]
suite!(encoded_async, "bytes", [async], [.await], storing: Serialize Deserialize PartialEq CacheIf Ttl, reading: Deserialize);
