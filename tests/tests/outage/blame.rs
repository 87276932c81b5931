//! Trouble that isn't the server's takes the server from nobody.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};
use cache_tests::proxy::{Fault, Proxy};
use cache_tests::servers::{MemcachedServer, Process, RedisServer};
use tokio::task::JoinSet;

/// The default.
const BUDGET: Duration = Duration::from_millis(250);

const LARGE: u64 = 1000;

/// A value that takes longer to travel over a slow line than a call has, and some that don't.
fn value(id: u64) -> Vec<u8> {
    vec![1; if id == LARGE { 900 << 10 } else { 10 }]
}

#[cached(backend = "server", ttl = 60)]
fn now(id: u64) -> Vec<u8> {
    value(id)
}

#[cached(backend = "server", ttl = 60)]
async fn later(id: u64) -> Vec<u8> {
    value(id)
}

fn scope(url: &str) -> Scope {
    Scope::with_config(Config::new().url("server", url)).unwrap()
}

/// Whether both kinds of callers get a hit from the server.
async fn both_hit(id: u64) -> bool {
    let hits = || {
        let (now, later) = (now::stats(), later::stats());
        now.hits + later.hits - now.fallback_hits - later.fallback_hits
    };
    let before = hits();
    assert_eq!((now(id), later(id).await), (value(id), value(id)));
    hits() == before + 2
}

async fn warm_up() {
    for _ in 0..100 {
        if both_hit(1).await {
            return;
        }
    }
    panic!("no hits");
}

#[test]
fn a_call_outside_a_runtime() {
    let server = RedisServer::start();
    let scope = scope(&server.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scope.run(warm_up()));
    let _entered = scope.enter();
    for _ in 0..3 {
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(pin!(later(2)).poll(&mut context), Poll::Ready(value(2)));
        now::invalidate(3).unwrap();
        assert!(runtime.block_on(both_hit(1)));
    }
    assert!(later::stats().errors >= 3);
}

#[test]
fn a_runtime_without_timers() {
    let server = RedisServer::start();
    let scope = scope(&server.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scope.run(warm_up()));
    let without = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..3 {
        assert_eq!(without.block_on(scope.run(later(2))), value(2));
        assert!(runtime.block_on(scope.run(both_hit(1))));
    }
}

/// A process that is stopped during its calls finds their answers when it goes on.
#[test]
fn a_process_that_stands_still() {
    let servers = (RedisServer::start(), MemcachedServer::start());
    for (scheme, server) in [("redis", servers.0.addr()), ("memcached", servers.1.addr())] {
        let proxy = Proxy::to(server);
        // All calls are always under way.
        proxy.set(Fault::Delay(Duration::from_millis(20)));
        let mut child = Command::new(env!("CARGO_BIN_EXE_configured"))
            .arg("busy")
            .env_clear()
            .env("CACHE_SESSIONS_URL", format!("{scheme}://{}?timeout=800ms", proxy.addr()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "busy\n");
        let signal = |name: &str| {
            assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
        };
        for _ in 0..3 {
            let before = proxy.requests();
            while proxy.requests() < before + 50 {
                thread::yield_now();
            }
            signal("-STOP");
            thread::sleep(Duration::from_secs(1));
            signal("-CONT");
        }
        let before = proxy.requests();
        while proxy.requests() < before + 50 {
            thread::yield_now();
        }
        drop(child.stdin.take());
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(rest, "", "nothing is wrong with the server");
    }
}

/// What is sent to a frozen server fills the buffers of the line, and stops there.
fn large_values_to_a_frozen_server(server: &Process, scheme: &str) {
    let scope = scope(&format!("{scheme}://{}", server.addr()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scope.run(warm_up()));
    server.freeze();
    let _entered = scope.enter();
    now::insert(1, value(LARGE)).unwrap_err();
    runtime.block_on(later::insert(1, value(LARGE))).unwrap_err();
    let started = Instant::now();
    for id in 2..10 {
        now::insert(id, value(LARGE)).unwrap_err();
        runtime.block_on(later::insert(id, value(LARGE))).unwrap_err();
    }
    // Sixteen that wait take four seconds.
    assert!(started.elapsed() < 4 * BUDGET, "{:?}", started.elapsed());
}

#[test]
fn frozen_servers_are_noticed_by_large_values_too() {
    large_values_to_a_frozen_server(&RedisServer::start(), "redis");
    large_values_to_a_frozen_server(&MemcachedServer::start(), "memcached");
}

/// One of many asks for a value that takes twice as long over the line as a call may.
fn large_value_and_neighbours(scheme: &str, server: SocketAddr) {
    let proxy = Proxy::to(server);
    let (fast, slow) =
        (scope(&format!("{scheme}://{server}")), scope(&format!("{scheme}://{}", proxy.addr())));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ids = || (0..30).chain([LARGE]);
    runtime.block_on(fast.run(async {
        for id in ids() {
            while !both_hit(id).await {}
        }
    }));
    runtime.block_on(slow.run(warm_up()));
    proxy.set(Fault::Slow(2_000_000));
    let _entered = slow.enter();
    for round in 0..5 {
        let (runs, started) = (now::stats().runs + later::stats().runs, Instant::now());
        thread::scope(|threads| {
            for id in ids() {
                let scope = slow.clone();
                threads.spawn(move || {
                    let _entered = scope.enter();
                    assert_eq!(now(id), value(id));
                });
            }
            let mut tasks = JoinSet::new();
            for id in ids() {
                let scope = slow.clone();
                tasks.spawn_on(async move { scope.run(later(id)).await == value(id) }, runtime.handle());
            }
            assert!(runtime.block_on(tasks.join_all()).into_iter().all(|is_right| is_right));
        });
        // First all neighbours of the value are suspects, then it alone.
        if round >= 2 {
            assert!(now::stats().runs + later::stats().runs <= runs + 2, "round {round}: {}", later::stats());
            assert!(started.elapsed() < BUDGET, "round {round}: {:?}", started.elapsed());
        }
        assert!(runtime.block_on(both_hit(1)), "round {round}: {} {}", now::stats(), later::stats());
    }
}

#[test]
fn a_value_too_large_for_the_line_to_redis() {
    let server = RedisServer::start();
    large_value_and_neighbours("redis", server.addr());
}

#[test]
fn a_value_too_large_for_the_line_to_memcached() {
    let server = MemcachedServer::start();
    large_value_and_neighbours("memcached", server.addr());
}

/// More callers than connections that the server takes: they take turns.
fn few_connections(url: &str) {
    // A budget that a busy machine keeps, so that every failure counts.
    let config = Config::new().url("server", url).timeout(Duration::from_secs(5));
    let scope = Scope::with_config(config).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(scope.run(warm_up()));
    thread::scope(|threads| {
        for n in 0..60 {
            let scope = scope.clone();
            threads.spawn(move || {
                let _entered = scope.enter();
                (0..5).for_each(|id| assert_eq!(now(100 + n * 5 + id), value(0)));
            });
        }
        let mut tasks = JoinSet::new();
        for n in 0..300 {
            let scope = scope.clone();
            tasks.spawn_on(async move { scope.run(later(100 + n)).await == value(0) }, runtime.handle());
        }
        assert!(runtime.block_on(tasks.join_all()).into_iter().all(|is_right| is_right));
    });
    let _entered = scope.enter();
    let (before, now_errors, later_errors) = (now::stats().hits, now::stats().errors, later::stats().errors);
    assert_eq!((now_errors, later_errors), (0, 0), "{} {}", now::stats(), later::stats());
    (100..400).for_each(|id| assert_eq!(now(id), value(0)));
    assert_eq!(now::stats().hits - before, 300, "all are stored");
}

#[test]
fn few_connections_to_redis() {
    let server = RedisServer::start_with(&["--maxclients", "8"]);
    few_connections(&server.url());
}

#[test]
fn few_connections_to_memcached() {
    let server = MemcachedServer::start_with(&["-c", "24", "-t", "1"]);
    few_connections(&server.url());
}
