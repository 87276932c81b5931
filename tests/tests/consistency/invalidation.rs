//! A result that is older than an invalidation is neither stored nor served, whichever process made either of them.
//!
//! Two isolated scopes on one server stand for two processes. The first run reads the truth and then waits, so that the
//! truth changes, and the key is invalidated, while it is under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};
use cache_tests::servers::{MemcachedServer, RedisServer};

const OLD: u64 = 1;
const NEW: u64 = 2;

/// What bodies read. The first one that does waits afterwards until it is told to go on.
struct Truth {
    value: AtomicU64,
    reads: AtomicU64,
    has_read: Barrier,
    goes_on: Barrier,
}

impl Truth {
    fn old() -> Arc<Self> {
        let [has_read, goes_on] = std::array::from_fn(|_| Barrier::new(2));
        Arc::new(Self { value: AtomicU64::new(OLD), reads: AtomicU64::new(0), has_read, goes_on })
    }

    fn read(&self) -> u64 {
        let value = self.value.load(Ordering::SeqCst);
        if self.reads.fetch_add(1, Ordering::SeqCst) == 0 {
            self.has_read.wait();
            self.goes_on.wait();
        }
        value
    }

    fn change(&self) {
        self.value.store(NEW, Ordering::SeqCst);
    }

    /// The next read waits for nobody.
    fn has_been_read(self: Arc<Self>) -> Arc<Self> {
        self.reads.store(1, Ordering::SeqCst);
        self
    }

    /// The next read waits, as the first one does.
    fn waits_again(&self) {
        self.reads.store(0, Ordering::SeqCst);
    }
}

/// A process, as a scope whose calls run on threads of their own. Its tasks outlive them.
struct Process {
    scope: Scope,
    runtime: tokio::runtime::Runtime,
}

impl Process {
    fn new(config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { scope: Scope::with_config(config).unwrap(), runtime: runtime.unwrap() }
    }

    fn tell<F: Future<Output: Send> + Send + 'static>(&self, call: F) -> JoinHandle<F::Output> {
        let (scope, runtime) = (self.scope.clone(), self.runtime.handle().clone());
        thread::spawn(move || runtime.block_on(scope.run(call)))
    }

    fn ask<F: Future<Output: Send> + Send + 'static>(&self, call: F) -> F::Output {
        self.tell(call).join().unwrap()
    }
}

macro_rules! suite {
    ($module:ident, $backend:literal, $server:ty, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[cached(backend = $backend, ttl = 60, skip(truth))]
            $($asyncness)? fn row(truth: Arc<Truth>) -> u64 {
                truth.read()
            }

            #[cached(backend = $backend, ttl = 1, stale = "1m", skip(truth))]
            $($asyncness)? fn stale(truth: Arc<Truth>) -> u64 {
                truth.read()
            }

            #[cached(backend = $backend, ttl = 0.05, skip(truth))]
            $($asyncness)? fn short(truth: Arc<Truth>) -> u64 {
                truth.read()
            }

            #[cached(backend = $backend, ttl = 60, single_flight = "off", skip(truth))]
            $($asyncness)? fn unshared(truth: Arc<Truth>) -> u64 {
                truth.read()
            }

            fn start() -> ([Process; 2], $server) {
                let server = <$server>::start();
                let url = server.url();
                let process = |_| Process::new(Config::new().url($backend, &url));
                (std::array::from_fn(process), server)
            }

            /// Calls `row` in the first process, then changes the truth and does `change` in the other, while the run of
            /// the first is under way.
            macro_rules! overtake {
                ($function:ident, $one:ident, $other:ident, $truth:ident, $change:expr) => {{
                    let truth = $truth.clone();
                    let late = $one.tell(async move { $function(truth)$($wait)* });
                    $truth.has_read.wait();
                    $truth.change();
                    let changed = $change;
                    $truth.goes_on.wait();
                    assert_eq!(late.join().unwrap(), OLD, "its caller began before the change");
                    changed
                }};
            }

            macro_rules! now {
                ($function:ident, $process:ident, $truth:ident) => {{
                    let truth = $truth.clone();
                    $process.ask(async move { $function(truth)$($wait)* })
                }};
            }

            #[test]
            fn an_older_result_is_not_stored_over_nothing() {
                let ([one, other], _server) = start();
                let truth = Truth::old();
                overtake!(row, one, other, truth, {
                    other.ask(async { row::invalidate()$($wait)*.unwrap() });
                });
                assert_eq!([now!(row, other, truth), now!(row, one, truth)], [NEW, NEW]);
            }

            #[test]
            fn without_single_flight_neither() {
                let ([one, other], _server) = start();
                let truth = Truth::old();
                overtake!(unshared, one, other, truth, {
                    other.ask(async { unshared::invalidate()$($wait)*.unwrap() });
                });
                assert_eq!([now!(unshared, other, truth), now!(unshared, one, truth)], [NEW, NEW]);
            }

            #[test]
            fn an_older_result_is_not_stored_over_an_invalidation_before_the_last() {
                let ([one, other], _server) = start();
                let truth = Truth::old();
                other.ask(async { row::invalidate()$($wait)*.unwrap() });
                overtake!(row, one, other, truth, {
                    other.ask(async { row::invalidate()$($wait)*.unwrap() });
                });
                assert_eq!([now!(row, other, truth), now!(row, one, truth)], [NEW, NEW]);
            }

            #[test]
            fn a_renewal_does_not_undo_an_invalidation() {
                let ([one, other], _server) = start();
                let truth = Truth::old().has_been_read();
                assert_eq!(now!(stale, one, truth), OLD);
                for process in [&one, &other] {
                    process.scope.advance(Duration::from_secs(2));
                }
                truth.waits_again();
                assert_eq!(now!(stale, one, truth), OLD, "it is renewed in the background");
                truth.has_read.wait();
                truth.change();
                other.ask(async { stale::invalidate()$($wait)*.unwrap() });
                truth.goes_on.wait();
                assert_eq!(now!(stale, other, truth), NEW);
                while truth.reads.load(Ordering::SeqCst) < 2 {
                    thread::yield_now();
                }
                assert_eq!([now!(stale, one, truth), now!(stale, other, truth)], [NEW, NEW]);
            }

            #[test]
            fn an_insert_is_not_overwritten_by_what_is_older() {
                let ([one, other], _server) = start();
                let truth = Truth::old();
                overtake!(row, one, other, truth, {
                    other.ask(async { row::insert(NEW)$($wait)*.unwrap() });
                });
                let found = |process: &Process| process.ask(async { row::peek()$($wait)*.unwrap() });
                assert_eq!([found(&one), found(&other)], [Some(NEW), Some(NEW)]);
            }

            /// What has replaced the mark of the invalidation expires long before the older run ends.
            #[test]
            fn a_short_life_leaves_no_gap() {
                let ([one, other], _server) = start();
                let truth = Truth::old();
                overtake!(short, one, other, truth, {
                    other.ask(async { short::invalidate()$($wait)*.unwrap() });
                    assert_eq!(now!(short, other, truth), NEW);
                    // The server's clock is not ours to move.
                    thread::sleep(Duration::from_millis(100));
                });
                let found = |process: &Process| process.ask(async { short::peek()$($wait)*.unwrap() });
                assert_ne!(found(&other), Some(OLD));
            }

            #[test]
            fn a_call_after_an_invalidation_elsewhere_joins_no_older_run() {
                let ([one, other], _server) = start();
                let truth = Truth::old();
                overtake!(row, one, other, truth, {
                    other.ask(async { row::invalidate()$($wait)*.unwrap() });
                    assert_eq!(now!(row, one, truth), NEW);
                });
                assert_eq!([now!(row, other, truth), now!(row, one, truth)], [NEW, NEW]);
            }

            #[test]
            fn a_refresh_elsewhere_stays() {
                let ([one, other], _server) = start();
                let truth = Truth::old();
                overtake!(row, one, other, truth, {
                    let truth = truth.clone();
                    assert_eq!(other.ask(async { row::refresh(truth)$($wait)* }), NEW);
                });
                assert_eq!([now!(row, other, truth), now!(row, one, truth)], [NEW, NEW]);
            }

            #[test]
            fn a_refresh_returns_what_it_has_read_itself() {
                let ([one, _], _server) = start();
                let truth = Truth::old();
                let late = {
                    let truth = truth.clone();
                    one.tell(async move { row(truth)$($wait)* })
                };
                truth.has_read.wait();
                truth.change();
                let refresh = {
                    let truth = truth.clone();
                    one.tell(async move { row::refresh(truth)$($wait)* })
                };
                truth.goes_on.wait();
                assert_eq!((late.join().unwrap(), refresh.join().unwrap()), (OLD, NEW));
                assert_eq!(now!(row, one, truth), NEW);
            }
        }
    };
}

suite!(redis_blocking, "redis", RedisServer, [], []);
suite!(redis_async, "redis", RedisServer, [async], [.await]);
suite!(memcached_blocking, "memcached", MemcachedServer, [], []);
suite!(memcached_async, "memcached", MemcachedServer, [async], [.await]);
