//! `single_flight(detach = true)`: a run goes on when its caller gives up, so that slow bodies fill the cache even if every
//! caller is impatient.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{Config, Stats, cached};
use cache_tests::servers::RedisServer;
use tokio::sync::Semaphore;

/// How long to wait for what a busy machine does.
const PATIENCE: Duration = Duration::from_secs(30);

async fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never comes");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A failure that can't be copied, so that only the caller of the run gets it.
#[derive(Debug, PartialEq)]
struct Failure;

macro_rules! suite {
    ($module:ident, $backend:literal) => {
        mod $module {
            use super::*;

            fn run(test: impl Future<Output = ()>) {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .unwrap();
                let server = RedisServer::start();
                let config = Config::new().url("bytes", "memory://").url("redis", &server.url());
                let scope = Scope::with_config(config).unwrap();
                runtime.block_on(scope.run(test));
            }

            static GATE: Semaphore = Semaphore::const_new(0);

            #[cached(backend = $backend, single_flight(detach = true))]
            async fn slow(id: u64, name: &str) -> String {
                GATE.acquire().await.unwrap().forget();
                format!("{id} {name}")
            }

            #[test]
            fn a_run_outlives_its_caller() {
                run(async {
                    let call = tokio::time::timeout(Duration::from_millis(10), slow(1, "a"));
                    assert!(call.await.is_err(), "it takes longer than the caller waits");
                    GATE.add_permits(1);
                    until(|| slow::stats().stores == 1).await;
                    assert_eq!(slow(1, "a").await, "1 a");
                    let Stats { hits, runs, .. } = slow::stats();
                    assert_eq!((hits, runs), (1, 1));
                });
            }

            #[cached(backend = $backend, single_flight(detach = true))]
            async fn failing(id: u64) -> Result<u64, Failure> {
                tokio::task::yield_now().await;
                if id == 0 { Err(Failure) } else { Ok(id) }
            }

            #[cached(backend = $backend, single_flight(detach = true))]
            async fn panicking(id: u64) -> u64 {
                tokio::task::yield_now().await;
                assert_ne!(id, 0, "on purpose");
                id
            }

            #[test]
            fn the_caller_gets_what_its_run_gives() {
                run(async {
                    assert_eq!(failing(0).await, Err(Failure));
                    assert_eq!(failing(1).await, Ok(1));
                    assert_eq!((failing::stats().runs, failing::stats().stores), (2, 1));
                    let panic = tokio::spawn(async { panicking(0).await }).await.unwrap_err().into_panic();
                    assert!(panic.downcast_ref::<String>().unwrap().contains("on purpose"));
                    assert_eq!(panicking(1).await, 1);
                });
            }

            static DEPTH: AtomicU64 = AtomicU64::new(0);

            /// Calls itself, in its own run, the first time.
            #[cached(backend = $backend, single_flight(detach = true))]
            async fn recursive(id: u64) -> u64 {
                if DEPTH.fetch_add(1, Ordering::SeqCst) == 0 { again(id).await } else { id }
            }

            fn again(id: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
                Box::pin(recursive(id))
            }

            #[test]
            fn a_run_does_not_wait_for_itself() {
                run(async { assert_eq!(recursive(7).await, 7) });
            }

            #[cached(backend = $backend, single_flight(detach = true), ttl = 60, stale = "1h")]
            async fn renewed(id: u64) -> u64 {
                id
            }

            #[test]
            fn it_goes_with_renewals() {
                run(async {
                    assert_eq!(renewed(7).await, 7);
                    assert_eq!((renewed::stats().runs, renewed::stats().stores), (1, 1));
                });
            }
        }
    };
}

suite!(memory, "memory");
suite!(bytes, "bytes");
suite!(redis, "redis");

#[cached(single_flight(detach = true))]
async fn anywhere(id: u64) -> u64 {
    id
}

#[test]
fn without_a_runtime_the_caller_runs_the_body() {
    let _entered = Scope::new().enter();
    let mut call = pin!(anywhere(7));
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(7));
}

/// Its own runtime would never come to the run.
#[test]
fn nobody_waits_for_a_runtime_that_is_not_driven() {
    let idle = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let driven = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let scope = Scope::new();
    let call = async {
        let mut call = Box::pin(anywhere(8));
        {
            let _entered = idle.enter();
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "the run has been given to the idle runtime");
        }
        tokio::time::timeout(PATIENCE, call).await.unwrap()
    };
    assert_eq!(driven.block_on(scope.run(call)), 8);
}
