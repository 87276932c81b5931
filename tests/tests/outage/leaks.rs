//! Outages leak no thread, task or socket, and the log reports each outage once.
//!
//! A test binary of its own: it counts the threads and open files of its process, and installs a logger.
#![cfg(all(feature = "servers", target_os = "linux"))]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};
use cache_tests::proxy::{Fault, Proxy};
use cache_tests::servers::{MemcachedServer, RedisServer};
use log::{Level, LevelFilter, Log, Metadata, Record};
use tokio::runtime::{Builder, Handle};

/// How long a busy machine may take to release everything.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! functions {
    ($($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*];)*) => {
        $(mod $module {
            use super::*;

            #[cached(backend = $backend, ttl = 60)]
            $($asyncness)? fn double(n: u64) -> u64 {
                n * 2
            }

            pub(super) async fn hits() -> bool {
                let before = double::stats().hits - double::stats().fallback_hits;
                assert_eq!(double(1)$($wait)*, 2);
                double::stats().hits - double::stats().fallback_hits > before
            }

            pub(super) async fn call_in_vain() {
                for n in 0..50 {
                    assert_eq!(double(n)$($wait)*, n * 2);
                }
                double::invalidate(1)$($wait)*.unwrap_err();
                double::clear()$($wait)*.unwrap_err();
            }
        })*

        async fn all_hit() -> bool {
            // An array, so that each one is called even if another misses.
            [$($module::hits().await,)*].into_iter().all(|hits| hits)
        }

        async fn call_all_in_vain() {
            $($module::call_in_vain().await;)*
        }
    };
}

functions! {
    redis, "redis", [], [];
    redis_async, "redis", [async], [.await];
    memcached, "memcached", [], [];
    memcached_async, "memcached", [async], [.await];
}

/// What the caches logged.
static TOLD: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

struct Listener;

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("cache_runtime")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            TOLD.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn count(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// Threads and open files.
fn held() -> [usize; 2] {
    [count("/proc/self/task"), count("/proc/self/fd")]
}

async fn eventually<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "never");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn use_caches(proxies: &[Proxy]) {
    let set = |fault| proxies.iter().for_each(|proxy| proxy.set(fault));
    eventually(all_hit).await;
    for fault in [Fault::Silence, Fault::Cut] {
        set(fault);
        call_all_in_vain().await;
        set(Fault::None);
        eventually(all_hit).await;
    }
    // The last outage still lasts when the scope is dropped.
    set(Fault::Silence);
    call_all_in_vain().await;
}

#[test]
fn after_outages_nothing_is_left_behind() {
    log::set_logger(&Listener).unwrap();
    log::set_max_level(LevelFilter::Info);
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    // The first server and the first runtime open files that stay: count those as the baseline.
    drop((RedisServer::start(), runtime()));
    let before = held();

    let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
    let proxies = [redis.addr(), memcached.addr()].map(Proxy::to);
    let url = |scheme: &str, address: SocketAddr| format!("{scheme}://{address}?timeout=200ms");
    let config = Config::new()
        .url("redis", &url("redis", proxies[0].addr()))
        .url("memcached", &url("memcached", proxies[1].addr()));
    let scope = Scope::with_config(config).unwrap();
    let runtime = runtime();
    runtime.block_on(scope.run(use_caches(&proxies)));
    assert!(held()[0] > before[0], "connections and probes have threads: the proxies', and the background's");
    drop(scope);
    runtime.block_on(eventually(async || Handle::current().metrics().num_alive_tasks() == 0));
    drop((runtime, proxies, redis, memcached));

    let started = Instant::now();
    while held() != before {
        assert!(started.elapsed() < PATIENCE, "{:?} instead of {before:?}", held());
        std::thread::sleep(Duration::from_millis(10));
    }

    let told = TOLD.lock().unwrap();
    for place in ["redis://", "memcached://"] {
        let lines = |level, text: &str| {
            told.iter()
                .filter(|(at, line)| *at == level && line.contains(place) && line.contains(text))
                .count()
        };
        let ends = [lines(Level::Warn, "unavailable; bypassed"), lines(Level::Info, "back after")];
        assert_eq!(ends, [3, 2], "three outages, of which two ended: {told:#?}");
    }
}
