//! A write that fails leaves nothing of what it was to replace: not in memory, not on a server, for no reason.

use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(feature = "servers")]
use cache_runtime::AsyncCache;
use cache_runtime::testing::Scope;
use cache_runtime::{Cache, Config, ErrorKind, cached};
#[cfg(feature = "servers")]
use cache_tests::servers::{MemcachedServer, RedisServer};
use serde::{Deserialize, Serialize, Serializer, ser};

/// The length of a value that nothing here takes.
const TOO_LONG: usize = 3 << 20;

/// A value that can't be encoded if it has this length.
const BROKEN: usize = 13;

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Page(Vec<u8>);

impl Page {
    fn of(len: usize) -> Self {
        Self(vec![7; len])
    }
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() == BROKEN {
            return Err(ser::Error::custom("broken"));
        }
        serializer.serialize_newtype_struct("Page", &self.0)
    }
}

static LEN: AtomicUsize = AtomicUsize::new(0);

#[cached(max_bytes = "4KiB")]
fn in_memory(n: u64) -> Vec<u8> {
    _ = n;
    vec![7; LEN.load(Ordering::SeqCst)]
}

#[test]
fn in_memory_functions() {
    let refresh = |len| {
        LEN.store(len, Ordering::SeqCst);
        in_memory::refresh(1).len()
    };
    let _entered = Scope::new().enter();
    assert_eq!(refresh(10), 10);
    assert_eq!(in_memory(1).len(), 10);
    assert_eq!(refresh(TOO_LONG), TOO_LONG);
    assert_eq!(in_memory::peek(1).unwrap(), None, "after a refresh");
    assert_eq!(refresh(10), 10);
    let error = in_memory::insert(1, vec![7; TOO_LONG]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(in_memory::peek(1).unwrap(), None, "after an insert");
}

/// The tests of one kind of caller; `$wait` is `.await` or nothing.
macro_rules! suite {
    ($module:ident, $cache:ty, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[cached(backend = "store", key = (n))]
            $($asyncness)? fn page(n: u64, len: usize) -> Page {
                _ = n;
                Page::of(len)
            }

            async fn functions(failures: &[(usize, ErrorKind)]) {
                for &(len, kind) in failures {
                    assert_eq!(page(1, 10)$($wait)*, Page::of(10));
                    assert_eq!(page::insert(1, Page::of(len))$($wait)*.unwrap_err().kind(), kind);
                    assert_eq!(page::peek(1)$($wait)*.unwrap(), None, "after an insert: {kind:?}");
                    assert_eq!(page::refresh(1, 10)$($wait)*, Page::of(10));
                    assert_eq!(page::refresh(1, len)$($wait)*, Page::of(len));
                    assert_eq!(page::peek(1)$($wait)*.unwrap(), None, "after a refresh: {kind:?}");
                }
            }

            async fn plain(failures: &[(usize, ErrorKind)]) {
                let cache = <$cache>::named("store").unwrap();
                for &(len, kind) in failures {
                    cache.set("page", &Page::of(10), None)$($wait)*.unwrap();
                    let error = cache.set("page", &Page::of(len), None)$($wait)*.unwrap_err();
                    assert_eq!(error.kind(), kind);
                    assert_eq!(cache.get::<Page>("page")$($wait)*.unwrap(), None, "{kind:?}");
                }
            }

            fn check(url: &str, failures: &[(usize, ErrorKind)]) {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let scope = Scope::with_config(Config::new().url("store", url)).unwrap();
                runtime.block_on(scope.run(async {
                    functions(failures).await;
                    plain(failures).await;
                }));
            }

            #[test]
            fn memory_as_a_backend() {
                check("memory://?max_bytes=1MiB", &[(BROKEN, ErrorKind::Encode), (TOO_LONG, ErrorKind::TooLarge)]);
            }

            #[cfg(feature = "servers")]
            #[test]
            fn redis() {
                let server = RedisServer::start();
                let url = format!("{}?max_value=2MiB", server.url());
                check(&url, &[(BROKEN, ErrorKind::Encode), (TOO_LONG, ErrorKind::TooLarge)]);
            }

            #[cfg(feature = "servers")]
            #[test]
            fn memcached() {
                let server = MemcachedServer::start();
                // The server itself refuses what is only a little longer than its limit of 1 MiB.
                let url = format!("{}?max_value=2MiB", server.url());
                check(
                    &url,
                    &[
                        (BROKEN, ErrorKind::Encode),
                        (TOO_LONG, ErrorKind::TooLarge),
                        ((1 << 20) + 1, ErrorKind::TooLarge),
                    ],
                );
            }
        }
    };
}

suite!(blocking, Cache, [], []);
#[cfg(feature = "servers")]
suite!(asynchronous, AsyncCache, [async], [.await]);
