//! Whatever happens to the server, calls get the right value in time, the body runs rarely, and hits resume afterwards.
//!
//! The scope's clock moves only when a test advances it, so "once per second" means once between two such steps.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::ops::DerefMut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};
use cache_tests::proxy::{Fault, Proxy};
use cache_tests::servers::{MemcachedServer, Process, RedisServer};

const BUDGET: Duration = Duration::from_millis(500);
/// For a busy machine; less than a budget, so that one spent twice shows.
const SLACK: Duration = Duration::from_millis(450);
/// How soon after the end of an outage hits resume.
const RECOVERY: Duration = Duration::from_secs(2);

const KEYS: u64 = 20;

/// The data behind the cache. It has a version, and counts runs of the body per key.
#[derive(Default)]
struct Source {
    version: AtomicU64,
    runs: Mutex<HashMap<u64, u32>>,
}

impl Source {
    fn run(&self, key: u64) -> (u64, u64) {
        *self.runs.lock().unwrap().entry(key).or_default() += 1;
        (key, self.version.load(Ordering::SeqCst))
    }

    fn change(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The most runs of any one key since the last call of this function.
    fn most_runs(&self) -> u32 {
        self.runs.lock().unwrap().drain().map(|(_, runs)| runs).max().unwrap_or(0)
    }
}

/// A server, a proxy in front of it, and a process that uses it.
struct Case<S> {
    server: S,
    proxy: Proxy,
    scope: Scope,
    source: Arc<Source>,
}

impl<S: DerefMut<Target = Process>> Case<S> {
    /// Calls go straight to the server.
    fn direct(server: S, scheme: &str) -> Self {
        let address = server.addr();
        Self::at(server, &format!("{scheme}://{address}"), scheme)
    }

    /// Calls go through the proxy.
    fn proxied(server: S, scheme: &str) -> Self {
        let mut case = Self::direct(server, scheme);
        case.scope = scope(&format!("{scheme}://{}", case.proxy.addr()), scheme);
        case
    }

    fn at(server: S, url: &str, scheme: &str) -> Self {
        let proxy = Proxy::to(server.addr());
        Self { server, proxy, scope: scope(url, scheme), source: Arc::default() }
    }

    fn second_passes(&self) {
        self.scope.advance(Duration::from_secs(1));
    }
}

fn scope(url: &str, backend: &str) -> Scope {
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{separator}timeout={}ms", BUDGET.as_millis());
    Scope::with_config(Config::new().url(backend, &url)).unwrap()
}

/// Waits until `condition` holds; fails after `time`, measured by the machine's clock.
macro_rules! within {
    ($time:expr, $condition:expr) => {
        let started = Instant::now();
        while !$condition {
            assert!(started.elapsed() < $time + SLACK, "not within {:?}: {}", $time, stringify!($condition));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
}

macro_rules! suite {
    ($module:ident, $backend:literal, $server:ident, [$($asyncness:tt)?], [$($wait:tt)*], $spawn:ident, $more:ident) => {
        mod $module {
            use super::*;

            #[cached(backend = $backend, ttl = 60, skip(source))]
            $($asyncness)? fn value(source: &Source, key: u64) -> (u64, u64) {
                source.run(key)
            }

            type Case = super::Case<$server>;

            /// Makes some calls, each with the right value and in time; returns what they took together.
            async fn calls(case: &Case, count: u64) -> Duration {
                let all = Instant::now();
                for n in 0..count {
                    let (key, started) = (n % KEYS, Instant::now());
                    let version = case.source.version.load(Ordering::SeqCst);
                    assert_eq!(value(&case.source, key)$($wait)*, (key, version));
                    let took = started.elapsed();
                    assert!(took < BUDGET + SLACK, "call {n} took {took:?}");
                }
                all.elapsed()
            }

            fn hits_of_the_server() -> u64 {
                value::stats().hits - value::stats().fallback_hits
            }

            /// Stores all keys.
            async fn warm_up(case: &Case) {
                within!(RECOVERY, {
                    calls(case, KEYS).await;
                    let before = hits_of_the_server();
                    calls(case, KEYS).await;
                    hits_of_the_server() - before == KEYS
                });
                case.source.most_runs();
            }

            /// The server is useless: calls are answered in time, and run the body at most once per key and second.
            async fn bear(case: &Case) {
                calls(case, 1).await;
                let took = calls(case, 1000).await;
                assert!(took < 10 * BUDGET, "a thousand calls took {took:?}");
                assert!(case.source.most_runs() <= 1);
                for _ in 0..3 {
                    case.second_passes();
                    calls(case, 2 * KEYS).await;
                    assert!(case.source.most_runs() <= 1);
                }
            }

            /// The server works again: hits on it resume.
            async fn recover(case: &Case) {
                let before = hits_of_the_server();
                within!(RECOVERY, {
                    calls(case, 1).await;
                    hits_of_the_server() > before
                });
                warm_up(case).await;
            }

            fn run<F: Future<Output = ()>>(case: Case, test: impl FnOnce(Case) -> F) {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .unwrap();
                let scope = case.scope.clone();
                runtime.block_on(scope.run(test(case)));
            }

            fn direct() -> Case {
                Case::direct($server::start(), $backend)
            }

            fn proxied() -> Case {
                Case::proxied($server::start(), $backend)
            }

            #[test]
            fn a_port_that_is_dead_at_the_start() {
                let mut case = direct();
                case.server.kill();
                run(case, |mut case| async move {
                    bear(&case).await;
                    case.server.restart();
                    recover(&case).await;
                });
            }

            #[test]
            fn killed_between_two_calls() {
                run(direct(), |mut case| async move {
                    warm_up(&case).await;
                    case.server.kill();
                    bear(&case).await;
                    case.server.restart();
                    recover(&case).await;
                });
            }

            #[test]
            fn killed_during_a_call() {
                run(direct(), |mut case| async move {
                    warm_up(&case).await;
                    case.server.freeze();
                    let (source, scope) = (case.source.clone(), case.scope.clone());
                    let call = $spawn!(scope, value(&source, 0)$($wait)*);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    case.server.kill();
                    let killed = Instant::now();
                    assert_eq!(call.await.unwrap(), (0, 0));
                    assert!(killed.elapsed() < BUDGET + SLACK);
                    bear(&case).await;
                    case.server.restart();
                    recover(&case).await;
                });
            }

            #[test]
            fn frozen_and_thawed() {
                run(direct(), |case| async move {
                    warm_up(&case).await;
                    case.server.freeze();
                    bear(&case).await;
                    case.server.thaw();
                    recover(&case).await;
                });
            }

            /// Nobody calls between the kill and the restart.
            #[test]
            fn restarted_on_the_same_port() {
                run(direct(), |mut case| async move {
                    warm_up(&case).await;
                    case.server.restart();
                    calls(&case, KEYS).await;
                    assert_eq!(case.source.most_runs(), 1, "the new server is empty");
                    recover(&case).await;
                });
            }

            #[test]
            fn listening_but_silent() {
                run(proxied(), |case| async move {
                    case.proxy.set(Fault::Silence);
                    bear(&case).await;
                    case.proxy.set(Fault::None);
                    recover(&case).await;
                    case.proxy.set(Fault::Silence);
                    bear(&case).await;
                    case.proxy.set(Fault::None);
                    recover(&case).await;
                });
            }

            #[test]
            fn slow_by_most_of_the_budget() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    case.proxy.set(Fault::Delay(BUDGET * 4 / 5));
                    bear(&case).await;
                    case.proxy.set(Fault::None);
                    recover(&case).await;
                });
            }

            #[test]
            fn answering_garbage() {
                run(proxied(), |case| async move {
                    for noise in [&b"\x00\xffVA -7 k\r\n$99999999999\r\n*3\r\n:x\r\n"[..], b"$9999\r\nVA 9999 k\r\n"] {
                        warm_up(&case).await;
                        case.proxy.set(Fault::Garbage(noise));
                        bear(&case).await;
                        case.proxy.set(Fault::None);
                        recover(&case).await;
                    }
                });
            }

            #[test]
            fn closing_instead_of_answering() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    case.proxy.set(Fault::HalfOpen);
                    bear(&case).await;
                    case.proxy.set(Fault::None);
                    recover(&case).await;
                });
            }

            #[test]
            fn dripping() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    case.proxy.set(Fault::Drip(BUDGET / 10));
                    bear(&case).await;
                    case.proxy.set(Fault::None);
                    recover(&case).await;
                });
            }

            /// Two hundred callers at once, and few connections.
            async fn crowd(case: &Case, first: u64) {
                let crowd: Vec<_> = (0..200)
                    .map(|n| {
                        let (source, scope, key) = (case.source.clone(), case.scope.clone(), first + n / 4);
                        $spawn!(scope, {
                            let started = Instant::now();
                            (value(&source, key)$($wait)*, key, started.elapsed())
                        })
                    })
                    .collect();
                for caller in crowd {
                    let (value, key, took) = caller.await.unwrap();
                    assert_eq!(value, (key, 0));
                    assert!(took < BUDGET + 2 * SLACK, "{took:?}");
                }
            }

            #[test]
            fn a_pool_exhausted_by_two_hundred_callers() {
                let mut case = proxied();
                case.scope = scope(&format!("{}://{}?pool=2", $backend, case.proxy.addr()), $backend);
                run(case, |case| async move {
                    warm_up(&case).await;
                    crowd(&case, 100).await;
                    assert_eq!(case.source.most_runs(), 1);
                    case.proxy.set(Fault::Silence);
                    crowd(&case, 200).await;
                    crowd(&case, 200).await;
                    assert_eq!(case.source.most_runs(), 1);
                    case.proxy.set(Fault::None);
                    recover(&case).await;
                });
            }

            // Invalidations

            /// What another process sees.
            fn elsewhere(case: &Case) -> Scope {
                scope(&format!("{}://{}", $backend, case.server.addr()), $backend)
            }

            async fn seen(elsewhere: &Scope, key: u64) -> Option<(u64, u64)> {
                elsewhere.run(async { value::peek(key)$($wait)*.unwrap() }).await
            }

            #[test]
            fn a_lost_invalidation_is_delivered_later_and_the_old_value_not_served_meanwhile() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    let elsewhere = elsewhere(&case);
                    assert_eq!(seen(&elsewhere, 1).await, Some((1, 0)));
                    case.proxy.set(Fault::Silence);
                    case.source.change();
                    value::invalidate(1)$($wait)*.unwrap_err();
                    assert_eq!(value(&case.source, 1)$($wait)*, (1, 1));
                    assert_eq!(value(&case.source, 1)$($wait)*, (1, 1));
                    assert_eq!(case.source.most_runs(), 1);
                    assert_eq!(seen(&elsewhere, 1).await, Some((1, 0)), "the server doesn't know yet");
                    case.proxy.set(Fault::None);
                    within!(RECOVERY, seen(&elsewhere, 1).await.is_none());
                    // The first call may come before this process knows that its invalidation arrived.
                    within!(RECOVERY, {
                        assert_eq!(value(&case.source, 1)$($wait)*, (1, 1));
                        value::peek(1)$($wait)*.is_ok_and(|value| value == Some((1, 1)))
                    });
                    assert_eq!(value::peek(2)$($wait)*.unwrap(), Some((2, 0)), "others stay");
                });
            }

            #[test]
            fn a_call_may_replace_the_old_value_before_the_invalidation_is_delivered() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    case.proxy.set(Fault::Cut);
                    case.source.change();
                    value::invalidate(1)$($wait)*.unwrap_err();
                    case.proxy.set(Fault::None);
                    within!(RECOVERY, {
                        assert_eq!(value(&case.source, 1)$($wait)*, (1, 1));
                        value::peek(1)$($wait)*.is_ok_and(|value| value == Some((1, 1)))
                    });
                });
            }

            #[test]
            fn a_lost_clear_is_delivered_later_and_no_old_value_served_meanwhile() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    let elsewhere = elsewhere(&case);
                    case.proxy.set(Fault::Cut);
                    case.source.change();
                    value::clear()$($wait)*.unwrap_err();
                    calls(&case, 2 * KEYS).await;
                    assert_eq!(case.source.most_runs(), 1);
                    case.proxy.set(Fault::None);
                    calls(&case, KEYS).await;
                    within!(RECOVERY, {
                        // The other process reads the generation again.
                        elsewhere.advance(Duration::from_secs(1));
                        seen(&elsewhere, 1).await != Some((1, 0))
                    });
                    case.source.most_runs();
                    warm_up(&case).await;
                });
            }

            #[test]
            fn more_lost_invalidations_than_are_remembered_become_a_clear() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    let elsewhere = elsewhere(&case);
                    case.proxy.set(Fault::Cut);
                    case.source.change();
                    for key in 0..1100 {
                        value::invalidate(key)$($wait)*.unwrap_err();
                    }
                    calls(&case, KEYS).await;
                    case.proxy.set(Fault::None);
                    calls(&case, KEYS).await;
                    within!(RECOVERY, {
                        elsewhere.advance(Duration::from_secs(1));
                        seen(&elsewhere, 1).await != Some((1, 0))
                    });
                });
            }

            #[test]
            fn a_lost_insert_leaves_no_old_value() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    let elsewhere = elsewhere(&case);
                    case.proxy.set(Fault::Cut);
                    value::insert(1, (1, 7))$($wait)*.unwrap_err();
                    assert_eq!(value(&case.source, 1)$($wait)*, (1, 7), "here it is known");
                    case.proxy.set(Fault::None);
                    within!(RECOVERY, seen(&elsewhere, 1).await != Some((1, 0)));
                });
            }

            #[test]
            fn a_refresh_that_can_not_be_stored_leaves_no_old_value() {
                run(proxied(), |case| async move {
                    warm_up(&case).await;
                    let elsewhere = elsewhere(&case);
                    case.proxy.set(Fault::Cut);
                    case.source.change();
                    assert_eq!(value::refresh(&case.source, 1)$($wait)*, (1, 1));
                    assert_eq!(value(&case.source, 1)$($wait)*, (1, 1));
                    case.proxy.set(Fault::None);
                    within!(RECOVERY, seen(&elsewhere, 1).await != Some((1, 0)));
                    assert_eq!(value(&case.source, 1)$($wait)*, (1, 1));
                });
            }

            $more!([$($wait)*]);
        }
    };
}

/// Errors that Redis may answer with. Calls keep asking it, because it answers.
macro_rules! redis_says {
    ([$($wait:tt)*]) => {
        /// Calls `key` over several seconds: the body runs at most once in each.
        async fn bear_one(case: &Case, key: u64) {
            for _ in 0..3 {
                let version = case.source.version.load(Ordering::SeqCst);
                for _ in 0..100 {
                    assert_eq!(value(&case.source, key)$($wait)*, (key, version));
                }
                assert!(case.source.most_runs() <= 1);
                case.second_passes();
            }
        }

        /// Calls `key` until the server has its value.
        async fn await_store(case: &Case, key: u64) {
            within!(RECOVERY, {
                let right = value(&case.source, key)$($wait)*;
                case.second_passes();
                value::peek(key)$($wait)*.unwrap() == Some(right)
            });
        }

        #[test]
        fn that_it_is_full() {
            run(direct(), |case| async move {
                warm_up(&case).await;
                tell(&case.server, "CONFIG SET maxmemory 1");
                bear_one(&case, 1).await;
                assert_eq!(value::stats().fallback_hits, 0, "reading goes on");
                bear_one(&case, 100).await;
                assert!(value::stats().fallback_hits > 0);
                case.source.change();
                value::insert(1, (1, 1))$($wait)*.unwrap_err();
                bear_one(&case, 1).await;
                // A removal needs no memory.
                value::clear()$($wait)*.unwrap();
                bear_one(&case, 2).await;
                tell(&case.server, "CONFIG SET maxmemory 0");
                await_store(&case, 100).await;
            });
        }

        #[test]
        fn that_it_is_a_replica() {
            run(direct(), |case| async move {
                warm_up(&case).await;
                let elsewhere = elsewhere(&case);
                tell(&case.server, "REPLICAOF 127.0.0.1 1");
                bear_one(&case, 1).await;
                bear_one(&case, 100).await;
                case.source.change();
                let error = value::invalidate(1)$($wait)*.unwrap_err();
                assert!(error.to_string().contains("ReadOnly"), "{error}");
                bear_one(&case, 1).await;
                assert_eq!(seen(&elsewhere, 1).await, Some((1, 0)));
                tell(&case.server, "REPLICAOF NO ONE");
                within!(RECOVERY, seen(&elsewhere, 1).await.is_none());
                await_store(&case, 100).await;
            });
        }

        #[test]
        fn that_a_password_is_missing_or_wrong() {
            for login in ["", ":wrong@"] {
                let server = RedisServer::start_with(&["--requirepass", "right"]);
                let url = format!("redis://{login}{}", server.addr());
                run(Case::at(server, &url, "redis"), |case| async move {
                    bear(&case).await;
                    value::invalidate(1)$($wait)*.unwrap_err();
                    tell(&case.server, "AUTH right\r\nCONFIG SET requirepass wrong");
                    if login.is_empty() {
                        tell(&case.server, "AUTH wrong\r\nCONFIG SET requirepass \"\"");
                    }
                    recover(&case).await;
                });
            }
        }
    };
}

/// Errors that Memcached may answer with.
macro_rules! memcached_says {
    ([$($wait:tt)*]) => {
        #[test]
        fn that_it_is_full() {
            let server = MemcachedServer::start_with(&["-m", "2", "-M"]);
            run(Case::direct(server, "memcached"), |case| async move {
                warm_up(&case).await;
                let mut key = 1000;
                while value::stats().errors == 0 {
                    assert_eq!(value(&case.source, key)$($wait)*, (key, 0));
                    key += 1;
                    assert!(key < 100_000, "it is never full");
                }
                case.source.most_runs();
                for _ in 0..3 {
                    for _ in 0..100 {
                        assert_eq!(value(&case.source, key)$($wait)*, (key, 0));
                    }
                    assert!(case.source.most_runs() <= 1);
                    calls(&case, KEYS).await;
                    assert_eq!(case.source.most_runs(), 0, "reading goes on");
                    case.second_passes();
                }
                for freed in 1000..1100 {
                    value::invalidate(freed)$($wait)*.unwrap();
                }
                within!(RECOVERY, {
                    value(&case.source, key)$($wait)*;
                    case.second_passes();
                    value::peek(key)$($wait)*.unwrap() == Some((key, 0))
                });
            });
        }
    };
}

/// Sends `commands` to a Redis.
fn tell(server: &Process, commands: &str) {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    write!(stream, "{commands}\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answers = BufReader::new(stream);
    for command in commands.lines() {
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "+OK\r\n", "{command}");
    }
}

/// A call of a blocking function, on a thread of its own.
macro_rules! thread {
    ($scope:ident, $call:expr) => {
        tokio::task::spawn_blocking(move || {
            let _entered = $scope.enter();
            $call
        })
    };
}

/// A call of an async function, in a task of its own.
macro_rules! task {
    ($scope:ident, $call:expr) => {
        tokio::spawn(async move { $scope.run(async { $call }).await })
    };
}

suite!(redis, "redis", RedisServer, [], [], thread, redis_says);
suite!(redis_async, "redis", RedisServer, [async], [.await], task, redis_says);
suite!(memcached, "memcached", MemcachedServer, [], [], thread, memcached_says);
suite!(memcached_async, "memcached", MemcachedServer, [async], [.await], task, memcached_says);

#[cached(backend = "memcached", ttl = 60)]
fn spread(n: u64) -> u64 {
    n + 1
}

/// Calls all keys; returns how many the servers had.
fn spread_hits() -> u64 {
    let before = spread::stats().hits - spread::stats().fallback_hits;
    for n in 0..60 {
        assert_eq!(spread(n), n + 1);
    }
    spread::stats().hits - spread::stats().fallback_hits - before
}

/// Each of the three goes down in turn, so the one that holds the function's generation does, too.
#[tokio::test]
async fn one_of_three_memcached_servers_takes_its_own_keys_along_and_no_others() {
    let mut servers: [MemcachedServer; 3] = std::array::from_fn(|_| MemcachedServer::start());
    let hosts = servers.each_ref().map(|server| server.addr().to_string()).join(",");
    let scope = scope(&format!("memcached://{hosts}"), "memcached");
    let _entered = scope.enter();
    for down in &mut servers {
        within!(RECOVERY, spread_hits() == 60);
        down.kill();
        let (hits, runs) = (spread_hits(), spread::stats().runs);
        assert!((20..56).contains(&hits), "{hits} of 60 keys are on two of three servers");
        for _ in 0..10 {
            assert_eq!(spread_hits(), hits);
        }
        assert_eq!(spread::stats().runs, runs, "the results of the others are kept here");
        down.restart();
    }
    within!(RECOVERY, spread_hits() == 60);
}
