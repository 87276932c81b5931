//! One run of the body per key at a time, through failures, panics, cancellations and invalidations.
//!
//! Bodies meet the test at gates and barriers, so the order of events is fixed and nothing depends on timing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};

use cache_runtime::testing::Scope;
use cache_runtime::{Config, SetOptions, cached};

/// What bodies and the test share.
#[derive(Default)]
struct World {
    runs: AtomicU64,
    open: Mutex<bool>,
    opened: Condvar,
}

impl World {
    /// Counts a run; returns its number, from 1.
    fn run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }

    /// Waits until the test opens the gate.
    fn pass(&self) {
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    /// Waits until `count` runs have begun.
    fn until_runs(&self, count: u64) {
        while self.runs() < count {
            std::thread::yield_now();
        }
    }
}

/// Waits until `count` calls of a function have missed: by then they lead or wait, or are about to.
fn until_misses(stats: impl Fn() -> cache_runtime::Stats, count: u64) {
    while stats().misses < count {
        std::thread::yield_now();
    }
}

macro_rules! suite {
    ($module:ident, $backend:literal, $flight:literal, $world:expr) => {
        mod $module {
            use super::*;

            fn scope() -> (Scope, impl Sized) {
                let (config, servers) = $world;
                (Scope::with_config(config).unwrap(), servers)
            }

            /// Runs `call` on `count` threads in `scope`; returns their results.
            fn threads<T: Send>(scope: &Scope, count: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
                std::thread::scope(|threads| {
                    let call = &call;
                    let handles: Vec<_> = (0..count)
                        .map(|index| {
                            threads.spawn(move || {
                                let _entered = scope.enter();
                                call(index)
                            })
                        })
                        .collect();
                    handles.into_iter().map(|handle| handle.join().unwrap()).collect()
                })
            }

            #[cached(backend = $backend, single_flight = $flight, skip(world))]
            fn gated(world: &World, n: u64) -> u64 {
                world.run();
                world.pass();
                n * 10
            }

            #[test]
            fn many_cold_callers_run_the_body_once() {
                let (scope, _servers) = scope();
                let world = World::default();
                let results = threads(&scope, 33, |index| {
                    if index == 0 {
                        until_misses(gated::stats, 32);
                        world.open();
                    }
                    gated(&world, 4)
                });
                assert_eq!(results, [40; 33]);
                let _entered = scope.enter();
                let stats = gated::stats();
                assert_eq!((world.runs(), stats.runs, stats.waits + stats.hits), (1, 1, 32), "{stats}");
                assert_eq!(gated::peek(4).unwrap(), Some(40));
            }

            #[test]
            fn different_keys_dont_wait_for_each_other() {
                #[cached(backend = $backend, single_flight = $flight, skip(barrier))]
                fn meeting(barrier: &Barrier, n: usize) -> usize {
                    barrier.wait();
                    n
                }
                let (scope, _servers) = scope();
                let barrier = Barrier::new(8);
                assert_eq!(threads(&scope, 8, |n| meeting(&barrier, n)), (0..8).collect::<Vec<_>>());
            }

            #[test]
            fn errors_that_cant_be_copied_make_nobody_wait_in_line() {
                #[derive(Debug, PartialEq)]
                struct Down;

                #[cached(backend = $backend, single_flight = $flight, skip(world, together))]
                fn failing(world: &World, together: &Barrier) -> Result<u64, Down> {
                    match world.run() {
                        1 => world.pass(),
                        // Never returns unless all waiters run their bodies at the same time.
                        _ => drop(together.wait()),
                    }
                    Err(Down)
                }
                let (scope, _servers) = scope();
                let (world, together) = (World::default(), Barrier::new(9));
                let results = threads(&scope, 10, |index| {
                    if index > 0 {
                        world.until_runs(1);
                        if index == 9 {
                            until_misses(failing::stats, 9);
                            // The gate opens only when the last caller has missed, too.
                            std::thread::scope(|threads| {
                                threads.spawn(|| {
                                    let _entered = scope.enter();
                                    until_misses(failing::stats, 10);
                                    world.open();
                                });
                                failing(&world, &together)
                            })
                        } else {
                            failing(&world, &together)
                        }
                    } else {
                        failing(&world, &together)
                    }
                });
                assert!(results.iter().all(|result| *result == Err(Down)), "{results:?}");
                assert_eq!(world.runs(), 10);
            }

            #[test]
            fn what_is_not_stored_is_shared_all_the_same() {
                #[cached(backend = $backend, single_flight = $flight, skip(world))]
                fn absent(world: &World) -> Result<Option<u64>, String> {
                    world.run();
                    world.pass();
                    Ok(None)
                }
                #[cached(backend = $backend, single_flight = $flight, skip(world), cache_if = |value| *value > 7)]
                fn refused(world: &World) -> Option<u64> {
                    world.run();
                    world.pass();
                    Some(7)
                }
                type Failing = Result<u64, String>;
                #[cached(backend = $backend, single_flight = $flight, skip(world))]
                fn failing(world: &World) -> Failing {
                    world.run();
                    world.pass();
                    Err("down".to_owned())
                }
                let (scope, _servers) = scope();
                let [one, other, third] = [World::default(), World::default(), World::default()];
                let results = threads(&scope, 10, |index| {
                    if index == 0 {
                        until_misses(absent::stats, 9);
                        one.open();
                        return Ok(None);
                    }
                    absent(&one)
                });
                assert!(results.iter().all(|result| *result == Ok(None)), "{results:?}");
                let results = threads(&scope, 10, |index| {
                    if index == 0 {
                        until_misses(refused::stats, 9);
                        other.open();
                        return Some(7);
                    }
                    refused(&other)
                });
                assert_eq!(results, [Some(7); 10]);
                let results = threads(&scope, 10, |index| {
                    if index == 0 {
                        until_misses(failing::stats, 9);
                        third.open();
                        return Err("down".to_owned());
                    }
                    failing(&third)
                });
                assert_eq!(results, vec![Err("down".to_owned()); 10]);
                let _entered = scope.enter();
                assert_eq!((absent::stats().runs, absent::stats().waits), (1, 8));
                assert_eq!((refused::stats().runs, refused::stats().waits), (1, 8));
                assert_eq!((failing::stats().runs, failing::stats().waits), (1, 8));
                assert_eq!((absent::peek().unwrap(), refused::peek().unwrap()), (None, None));
            }

            #[test]
            fn a_panic_is_its_callers_and_a_waiter_takes_over() {
                #[cached(backend = $backend, single_flight = $flight, skip(world))]
                fn panicking(world: &World) -> u64 {
                    if world.run() == 1 {
                        world.pass();
                        panic!("on purpose");
                    }
                    7
                }
                let (scope, _servers) = scope();
                let world = World::default();
                let results = threads(&scope, 5, |index| {
                    if index == 0 {
                        until_misses(panicking::stats, 4);
                        world.open();
                    }
                    catch_unwind(AssertUnwindSafe(|| panicking(&world))).ok()
                });
                assert_eq!(results.iter().filter(|result| result.is_none()).count(), 1);
                assert_eq!(results.iter().filter(|result| **result == Some(7)).count(), 4);
                assert_eq!(world.runs(), 2);
            }

            #[cached(backend = $backend, single_flight = $flight, skip(depth))]
            fn nested(depth: u64, n: u64) -> u64 {
                if depth == 0 { n } else { nested(depth - 1, n) + 1 }
            }

            #[test]
            fn a_run_may_call_its_own_key() {
                let (scope, _servers) = scope();
                let _entered = scope.enter();
                assert_eq!(nested(3, 10), 13);
                assert_eq!((nested(0, 10), nested::stats().runs), (13, 4));
            }

            #[cached(backend = $backend, single_flight = $flight, skip(both, depth))]
            fn circle(both: &Barrier, depth: u64, n: u64) -> u64 {
                if depth == 0 {
                    return n;
                }
                both.wait();
                circle(both, depth - 1, 1 - n) + 10
            }

            #[test]
            fn runs_that_wait_for_each_other_go_on() {
                let (scope, _servers) = scope();
                let both = Barrier::new(2);
                let results = threads(&scope, 2, |n| circle(&both, 1, n as u64));
                // Each got the result of the other, or ran the other's key itself.
                assert!(results.iter().all(|result| [10, 11, 20, 21].contains(result)), "{results:?}");
            }

            #[test]
            fn a_run_that_is_invalidated_is_returned_and_not_stored() {
                let (scope, _servers) = scope();
                let _entered = scope.enter();
                for (key, invalidate) in [
                    gated::invalidate as fn(u64) -> Result<(), cache_runtime::Error>,
                    |_| gated::clear(),
                    |n| gated::insert(n, 99),
                ]
                .into_iter()
                .enumerate()
                {
                    let (key, world) = (key as u64, World::default());
                    let results = threads(&scope, 2, |index| {
                        if index == 0 {
                            return gated(&world, key);
                        }
                        world.until_runs(1);
                        invalidate(key).unwrap();
                        world.open();
                        0
                    });
                    assert_eq!(results, [key * 10, 0]);
                    assert_eq!(gated::peek(key).unwrap(), if key == 2 { Some(99) } else { None });
                }
            }

            #[test]
            fn calls_after_an_invalidation_start_anew() {
                let (scope, _servers) = scope();
                let world = World::default();
                threads(&scope, 2, |index| {
                    if index == 1 {
                        world.until_runs(1);
                        gated::invalidate(4).unwrap();
                        // Does not join the run that began before the invalidation.
                        std::thread::scope(|threads| {
                            threads.spawn(|| {
                                world.until_runs(2);
                                world.open();
                            });
                            gated(&world, 4)
                        })
                    } else {
                        gated(&world, 4)
                    }
                });
                assert_eq!(world.runs(), 2);
            }

            #[test]
            fn who_has_waited_long_enough_runs_the_body() {
                #[cached(backend = $backend, skip(world), single_flight(wait = "20ms"))]
                fn slow(world: &World) -> u64 {
                    let number = world.run();
                    if number == 1 {
                        // Ends only after the other caller has run the body.
                        world.pass();
                    }
                    number
                }
                let (scope, _servers) = scope();
                let world = World::default();
                let results = threads(&scope, 2, |index| {
                    if index == 0 {
                        return slow(&world);
                    }
                    world.until_runs(1);
                    let own = slow(&world);
                    world.open();
                    own
                });
                assert_eq!(results, [1, 2]);
                let _entered = scope.enter();
                assert_eq!(slow::peek().unwrap(), Some(1), "what ran alone is not stored");
                assert_eq!((slow::stats().runs, slow::stats().waits), (2, 0));
            }

            #[test]
            fn off_is_off() {
                #[cached(backend = $backend, skip(together), single_flight = "off")]
                fn free(together: &Barrier) -> u64 {
                    together.wait();
                    7
                }
                let (scope, _servers) = scope();
                let together = Barrier::new(4);
                assert_eq!(threads(&scope, 4, |_| free(&together)), [7; 4]);
                let _entered = scope.enter();
                assert_eq!((free::stats().runs, free::stats().waits, free::peek().unwrap()), (4, 0, Some(7)));
            }

            #[test]
            fn without_single_flight_an_invalidation_wins_over_all_runs() {
                #[cached(backend = $backend, skip(world), single_flight = "off")]
                fn apart(world: &World, n: u64) -> u64 {
                    world.run();
                    world.pass();
                    n
                }
                let (scope, _servers) = scope();
                for (n, void) in [apart::invalidate as fn(u64) -> _, |_| apart::clear()].into_iter().enumerate() {
                    let (n, world) = (n as u64, World::default());
                    let calls = threads(&scope, 3, |index| {
                        if index > 0 {
                            return apart(&world, n);
                        }
                        world.until_runs(2);
                        void(n).unwrap();
                        world.open();
                        n
                    });
                    assert_eq!((calls, world.runs()), (vec![n; 3], 2));
                    let _entered = scope.enter();
                    assert_eq!(apart::peek(n).unwrap(), None);
                }
            }
        }
    };
}

suite!(memory, "memory", "process", (Config::new(), ()));
suite!(bytes, "bytes", "process", (Config::new().url("bytes", "memory://"), ()));
suite!(bytes_in_a_cluster, "bytes", "cluster", (Config::new().url("bytes", "memory://"), ()));

#[cfg(feature = "servers")]
mod servers {
    use super::*;
    use cache_tests::servers::{MemcachedServer, RedisServer};

    /// With a budget that a busy machine keeps, so that every failure counts.
    fn patient(backend: &str, url: &str) -> Config {
        Config::new().url(backend, url).timeout(std::time::Duration::from_secs(5))
    }

    suite!(redis, "redis", "process", {
        let server = RedisServer::start();
        (patient("redis", &server.url()), server)
    });
    suite!(redis_in_a_cluster, "redis", "cluster", {
        let server = RedisServer::start();
        (patient("redis", &server.url()), server)
    });
    suite!(memcached, "memcached", "process", {
        let server = MemcachedServer::start();
        (patient("memcached", &server.url()), server)
    });
    suite!(memcached_in_a_cluster, "memcached", "cluster", {
        let server = MemcachedServer::start();
        (patient("memcached", &server.url()), server)
    });
}

/// Two functions of one namespace share entries and leases but not flights, like two processes.
mod leases {
    use super::*;
    use std::collections::HashMap;
    use std::time::{Duration, Instant};

    use cache_runtime::{Backend, Bytes, Error, ErrorKind};

    #[cached(backend = "shared", namespace = "leases", single_flight = "cluster", skip(world), ttl = 60)]
    fn one(world: &World, n: u64) -> u64 {
        world.run();
        world.pass();
        n * 10
    }

    #[cached(backend = "shared", namespace = "leases", single_flight = "cluster", skip(world), ttl = 60)]
    fn other(world: &World, n: u64) -> u64 {
        world.run();
        n * 10
    }

    /// Calls `one`; during its run calls `meanwhile` and then `other`. Returns the number of runs.
    fn both(scope: &Scope, meanwhile: impl FnOnce()) -> u64 {
        let world = World::default();
        std::thread::scope(|threads| {
            let in_scope = |call: fn(&World, u64) -> u64| {
                let world = &world;
                threads.spawn(move || {
                    let _entered = scope.enter();
                    assert_eq!(call(world, 4), 40);
                })
            };
            in_scope(one);
            world.until_runs(1);
            meanwhile();
            let _entered = scope.enter();
            in_scope(other);
            until_misses(other::stats, 1);
            world.open();
        });
        world.runs()
    }

    #[test]
    fn a_clock_moved_by_hand_breaks_no_lease() {
        let scope = Scope::new();
        assert_eq!(both(&scope, || scope.advance(Duration::from_secs(3600))), 1);
        scope.advance(Duration::from_secs(59));
        let _entered = scope.enter();
        assert_eq!(other::peek(4).unwrap(), Some(40), "the entry lives for its own time");
    }

    /// A backend that refuses to replace what has been read.
    #[derive(Default)]
    struct Simple(Mutex<HashMap<Vec<u8>, Bytes>>);

    impl Backend for Simple {
        fn get(&self, key: &[u8], _: Instant) -> Result<Option<Bytes>, Error> {
            Ok(self.0.lock().unwrap().get(key).cloned())
        }

        fn set(&self, key: &[u8], value: Bytes, _: SetOptions, _: Instant) -> Result<(), Error> {
            self.0.lock().unwrap().insert(key.to_vec(), value);
            Ok(())
        }

        fn add(&self, key: &[u8], value: Bytes, _: SetOptions, _: Instant) -> Result<bool, Error> {
            let mut entries = self.0.lock().unwrap();
            let vacant = !entries.contains_key(key);
            if vacant {
                entries.insert(key.to_vec(), value);
            }
            Ok(vacant)
        }

        fn compare_and_set(
            &self,
            _: &[u8],
            _: &[u8],
            _: Bytes,
            _: SetOptions,
            _: Instant,
        ) -> Result<bool, Error> {
            Err(Error::new(ErrorKind::Denied, "no scripts"))
        }

        fn delete(&self, key: &[u8], _: Instant) -> Result<bool, Error> {
            Ok(self.0.lock().unwrap().remove(key).is_some())
        }
    }

    #[test]
    fn a_backend_that_replaces_nothing_has_one_run_per_process() {
        let scope = Scope::with_config(Config::new().backend("shared", Simple::default())).unwrap();
        assert_eq!(both(&scope, || ()), 2);
        let _entered = scope.enter();
        // Both found nothing, so the second store is refused.
        let stores = one::stats().stores + other::stats().stores;
        assert_eq!((one::peek(4).unwrap(), stores, one::stats().errors), (Some(40), 1, 0));
    }
}

/// What only futures can do: be dropped.
mod futures {
    use super::*;
    use tokio::sync::Notify;

    #[derive(Default)]
    struct Async {
        runs: AtomicU64,
        gate: Notify,
    }

    #[cached(skip(world))]
    async fn load(world: Arc<Async>, n: u64) -> u64 {
        if world.runs.fetch_add(1, Ordering::SeqCst) == 0 {
            world.gate.notified().await;
        }
        n * 10
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
    }

    #[test]
    fn many_tasks_run_the_body_once() {
        let (scope, world) = (Scope::new(), Arc::new(Async::default()));
        let results = runtime().block_on(async {
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let (scope, world) = (scope.clone(), world.clone());
                    tokio::spawn(async move { scope.run(load(world, 4)).await })
                })
                .collect();
            let _entered = scope.enter();
            while load::stats().misses < 50 {
                tokio::task::yield_now().await;
            }
            world.gate.notify_one();
            let mut results = Vec::new();
            for task in tasks {
                results.push(task.await.unwrap());
            }
            results
        });
        assert_eq!(results, [40; 50]);
        assert_eq!(world.runs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_cancelled_leader_leaves_its_run_to_a_waiter() {
        let (scope, world) = (Scope::new(), Arc::new(Async::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(scope.run(async {
            let mut leader = Box::pin(load(world.clone(), 4));
            let mut waiter = Box::pin(load(world.clone(), 4));
            assert!(futures_poll(leader.as_mut()).is_pending());
            assert!(futures_poll(waiter.as_mut()).is_pending());
            drop(leader);
            assert_eq!(waiter.await, 40);
            assert_eq!(world.runs.load(Ordering::SeqCst), 2);
        }));
    }

    #[test]
    fn refreshes_share_the_run_after_the_one_under_way() {
        let (scope, world) = (Scope::new(), Arc::new(Async::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(scope.run(async {
            let mut leader = Box::pin(load(world.clone(), 4));
            assert!(futures_poll(leader.as_mut()).is_pending());
            let mut refreshes: Vec<_> = (0..3).map(|_| Box::pin(load::refresh(world.clone(), 4))).collect();
            for refresh in &mut refreshes {
                assert!(futures_poll(refresh.as_mut()).is_pending(), "that run may have read what is old");
            }
            world.gate.notify_one();
            assert_eq!(leader.await, 40);
            for refresh in refreshes {
                assert_eq!(refresh.await, 40);
            }
            assert!((2..=4).contains(&world.runs.load(Ordering::SeqCst)));
            let before = world.runs.load(Ordering::SeqCst);
            assert_eq!(load::refresh(world.clone(), 4).await, 40);
            assert_eq!(
                world.runs.load(Ordering::SeqCst),
                before + 1,
                "an entry doesn't keep it from running"
            );
        }));
    }

    /// As a `buffer_unordered` does whose consumer asks for the same key.
    #[test]
    fn a_leader_that_nobody_polls_keeps_nobody_waiting() {
        let (scope, world) = (Scope::new(), Arc::new(Async::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(scope.run(async {
            let mut leader = Box::pin(load(world.clone(), 4));
            assert!(futures_poll(leader.as_mut()).is_pending());
            world.gate.notify_one();
            // Nobody polls the leader, which could go on now.
            assert_eq!(load(world.clone(), 4).await, 40);
            assert_eq!(world.runs.load(Ordering::SeqCst), 2);
            assert_eq!(leader.await, 40);
            assert_eq!(load::stats().stores, 1, "its result is older");
        }));
    }

    #[test]
    fn a_cancelled_waiter_and_leader_leave_nothing_behind() {
        let (scope, world) = (Scope::new(), Arc::new(Async::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(scope.run(async {
            let mut leader = Box::pin(load(world.clone(), 4));
            let mut waiter = Box::pin(load(world.clone(), 4));
            assert!(futures_poll(leader.as_mut()).is_pending());
            assert!(futures_poll(waiter.as_mut()).is_pending());
            drop(waiter);
            drop(leader);
            // Nobody holds the key, so this call leads.
            assert_eq!(load(world.clone(), 4).await, 40);
        }));
    }

    #[test]
    fn a_task_that_has_waited_long_enough_runs_the_body() {
        #[cached(skip(world), single_flight("process", wait = 0.02))]
        async fn slow(world: Arc<Async>) -> u64 {
            let number = world.runs.fetch_add(1, Ordering::SeqCst) + 1;
            if number == 1 {
                world.gate.notified().await;
            }
            number
        }
        let (scope, world) = (Scope::new(), Arc::new(Async::default()));
        // A runtime without timers.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(scope.run(async {
            let mut leader = Box::pin(slow(world.clone()));
            assert!(futures_poll(leader.as_mut()).is_pending());
            assert_eq!(slow(world.clone()).await, 2);
            world.gate.notify_one();
            assert_eq!(leader.await, 1);
        }));
    }

    #[test]
    fn a_task_that_waits_for_itself_goes_on() {
        #[cached(skip(depth))]
        async fn nested(depth: u64, n: u64) -> u64 {
            if depth == 0 { n } else { Box::pin(nested(depth - 1, n)).await + 1 }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let scope = Scope::new();
        assert_eq!(runtime.block_on(scope.run(nested(3, 10))), 13);
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
