//! Reads that arrive together travel together, and nobody pays for another's.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{
    AsyncBackend, Backend, Batched, BoxFuture, Bytes, Config, Error, ErrorKind, Memcached, Redis, SetOptions,
    cached,
};
use cache_tests::servers::{MemcachedServer, Process, RedisServer};
use cache_tests::{is_pending, poll_all};
use tokio::task::{JoinHandle, yield_now};

const PATIENT: &str = "?timeout=10s";

fn soon() -> Instant {
    within(Duration::from_secs(10))
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

fn key(n: u32) -> String {
    format!("key:{n}")
}

fn redis(server: &RedisServer) -> Arc<Batched> {
    Arc::new(Batched::new(Redis::from_url(&(server.url() + PATIENT)).unwrap()))
}

fn memcached(server: &MemcachedServer) -> Arc<Batched> {
    Arc::new(Batched::new(Memcached::from_url(&(server.url() + PATIENT)).unwrap()))
}

/// Stores the numbers below `count` under their keys.
async fn fill(backend: &Batched, count: u32) {
    for n in 0..count {
        backend.set(key(n).as_bytes(), n.to_string().into(), SetOptions::new(), soon()).await.unwrap();
    }
}

/// A task that reads the key of `n`.
fn ask(backend: &Arc<Batched>, n: u32, deadline: Instant) -> JoinHandle<Result<Option<Bytes>, Error>> {
    let backend = backend.clone();
    tokio::spawn(async move { backend.get(key(n).as_bytes(), deadline).await })
}

fn is(n: u32, value: &Result<Option<Bytes>, Error>) {
    assert_eq!(value.as_ref().unwrap().as_deref(), Some(n.to_string().as_bytes()));
}

#[tokio::test]
async fn those_who_ask_in_one_turn_go_as_one() {
    let server = RedisServer::start();
    let backend = redis(&server);
    fill(&backend, 100).await;
    let tasks: Vec<_> = (0..110).map(|n| ask(&backend, n, soon())).collect();
    for (n, task) in (0..).zip(tasks) {
        match n < 100 {
            true => is(n, &task.await.unwrap()),
            false => assert_eq!(task.await.unwrap().unwrap(), None),
        }
    }
    assert_eq!((server.calls("mget"), server.calls("get")), (1, 0));
}

#[tokio::test]
async fn a_lone_call_goes_by_itself() {
    let server = RedisServer::start();
    let backend = redis(&server);
    fill(&backend, 10).await;
    for n in 0..10 {
        is(n, &backend.get(key(n).as_bytes(), soon()).await);
    }
    assert_eq!((server.calls("mget"), server.calls("get")), (0, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_task_gets_its_own_value() {
    let servers = (RedisServer::start(), MemcachedServer::start());
    for backend in [redis(&servers.0), memcached(&servers.1)] {
        fill(&backend, 500).await;
        let tasks = (0..300_u32).map(|task| {
            let backend = backend.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    let n = (task * 7 + round * 13) % 500;
                    is(n, &backend.get(key(n).as_bytes(), soon()).await);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }
}

/// While the server stands still: every second call is given up, the first ones among them.
async fn some_give_up(backend: Arc<Batched>, server: &Process) {
    fill(&backend, 64).await;
    server.freeze();
    let tasks: Vec<_> = (0..64).map(|n| ask(&backend, n, soon())).collect();
    for _ in 0..10 {
        yield_now().await;
    }
    for task in tasks.iter().step_by(2) {
        task.abort();
    }
    server.thaw();
    for (n, task) in (0..).zip(tasks) {
        match n % 2 {
            0 => assert!(task.await.unwrap_err().is_cancelled()),
            _ => is(n, &task.await.unwrap()),
        }
    }
    is(5, &backend.get(key(5).as_bytes(), soon()).await);
}

#[tokio::test]
async fn who_gives_up_takes_nothing_from_the_others() {
    let (one, other) = (RedisServer::start(), MemcachedServer::start());
    some_give_up(redis(&one), &one).await;
    some_give_up(memcached(&other), &other).await;
}

#[tokio::test]
async fn who_gives_up_before_the_start_leaves_it_to_the_others() {
    let server = RedisServer::start();
    let backend = redis(&server);
    fill(&backend, 3).await;
    // The first two have asked when the third task runs, and the first has not set out.
    let (first, second) = (ask(&backend, 0, soon()), ask(&backend, 1, soon()));
    tokio::spawn(async move { first.abort() }).await.unwrap();
    is(1, &second.await.unwrap());
    let alone = ask(&backend, 0, soon());
    tokio::spawn(async move { alone.abort() }).await.unwrap();
    is(2, &backend.get(b"key:2", soon()).await);
}

#[tokio::test]
async fn one_with_less_time_fails_alone_and_in_time() {
    let servers = (RedisServer::start(), MemcachedServer::start());
    let both: [(Arc<Batched>, &Process); 2] =
        [(redis(&servers.0), &servers.0), (memcached(&servers.1), &servers.1)];
    for (backend, server) in both {
        fill(&backend, 8).await;
        server.freeze();
        let others: Vec<_> = (0..8).map(|n| ask(&backend, n, soon())).collect();
        let start = Instant::now();
        let hasty = ask(&backend, 3, within(Duration::from_millis(50))).await.unwrap();
        assert_eq!(hasty.unwrap_err().kind(), ErrorKind::Timeout);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        server.thaw();
        for (n, other) in (0..).zip(others) {
            is(n, &other.await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_server_that_is_gone_fails_all_of_a_trip_and_none_of_the_next() {
    let mut server = RedisServer::start();
    let backend = redis(&server);
    fill(&backend, 8).await;
    server.kill();
    let tasks: Vec<_> = (0..8).map(|n| ask(&backend, n, soon())).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
    server.restart();
    fill(&backend, 8).await;
    let tasks: Vec<_> = (0..8).map(|n| ask(&backend, n, soon())).collect();
    for (n, task) in (0..).zip(tasks) {
        is(n, &task.await.unwrap());
    }
}

struct Panics;

impl AsyncBackend for Panics {
    fn get<'a>(&'a self, _: &'a [u8], _: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async {
            yield_now().await;
            panic!("on purpose")
        })
    }

    fn set<'a>(
        &'a self,
        _: &'a [u8],
        _: Bytes,
        _: SetOptions,
        _: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        unreachable!("only reads are tested")
    }

    fn add<'a>(
        &'a self,
        _: &'a [u8],
        _: Bytes,
        _: SetOptions,
        _: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        unreachable!("only reads are tested")
    }

    fn compare_and_set<'a>(
        &'a self,
        _: &'a [u8],
        _: &'a [u8],
        _: Bytes,
        _: SetOptions,
        _: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        unreachable!("only reads are tested")
    }

    fn delete<'a>(&'a self, _: &'a [u8], _: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        unreachable!("only reads are tested")
    }
}

#[tokio::test]
async fn a_panic_leaves_nobody_waiting() {
    let backend = Arc::new(Batched::new(Panics));
    let tasks: Vec<_> = (0..3).map(|n| ask(&backend, n, soon())).collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

/// Polls `reads` so often, and then keeps them and never polls them again, as `buffer_unordered` does whose consumer is busy.
async fn leave_unpolled<F: Future>(reads: impl Iterator<Item = F>, polls: u32) {
    let mut reads: Vec<_> = reads.map(Box::pin).collect();
    for _ in 0..polls {
        poll_all(&mut reads).await;
        yield_now().await;
    }
    pending::<()>().await;
}

#[tokio::test]
async fn reads_that_are_not_polled_hold_up_nobody() {
    let server = RedisServer::start();
    let backend = redis(&server);
    fill(&backend, 16).await;
    for (others, polls) in [(1, 1), (1, 2), (1, 5), (10, 1), (10, 2), (10, 5)] {
        let first = backend.clone();
        let stalled = tokio::spawn(async move {
            let keys: Vec<_> = (0..others).map(key).collect();
            leave_unpolled(keys.iter().map(|key| first.get(key.as_bytes(), soon())), polls).await;
        });
        let asked = ask(&backend, 12, soon());
        let value = tokio::time::timeout(Duration::from_secs(5), asked).await;
        is(12, &value.expect("another task's read waits").unwrap());
        stalled.abort();
    }
}

#[test]
fn passengers_may_move_to_another_runtime() {
    let server = RedisServer::start();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (idle, other, backend) = (runtime(), runtime(), redis(&server));
    let mut reads = [ask_here(&backend, 1), ask_here(&backend, 2)];
    let poll_once = |context: &mut Context<'_>| {
        Poll::Ready(reads.iter_mut().all(|read| read.as_mut().poll(context).is_pending()))
    };
    assert!(idle.block_on(poll_fn(poll_once)));
    other.block_on(async {
        for read in reads {
            let value = tokio::time::timeout(Duration::from_secs(5), read).await;
            assert_eq!(value.expect("the idle runtime has the trip").unwrap(), None);
        }
    });
}

/// A read of the key of `n` that no task has yet.
fn ask_here(backend: &Arc<Batched>, n: u32) -> Pin<Box<impl Future<Output = Result<Option<Bytes>, Error>>>> {
    let (backend, deadline) = (backend.clone(), soon());
    Box::pin(async move { backend.get(key(n).as_bytes(), deadline).await })
}

#[tokio::test]
async fn a_read_that_is_not_polled_says_nothing_of_the_server() {
    let server = RedisServer::start();
    let scope = Scope::with_config(Config::new().url("redis", &server.url())).unwrap();
    let test = async {
        half_async(1).await;
        half_async(2).await;
        let mut kept = Box::pin(half_async(1));
        for _ in 0..2 {
            assert!(is_pending(kept.as_mut()).await);
        }
        // Longer than the budget, in real time, because a server's timers know no other.
        tokio::time::sleep(Duration::from_millis(320)).await;
        assert_eq!(kept.await, 0);
        half_async(2).await;
        let stats = half_async::stats();
        assert_eq!((stats.runs, stats.hits, stats.errors), (2, 2, 0), "{stats}");
    };
    scope.run(test).await;
}

#[cached(backend = "redis", ttl = 60)]
async fn half_async(n: u32) -> u32 {
    n / 2
}

/// On a runtime's own thread a socket that may not be read for now wakes its task at once.
#[test]
fn a_task_that_has_used_up_its_turn_does_not_spin() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        runtime.block_on(async {
            let backend = redis(&server);
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            (0..1000).for_each(|n| sender.send(n).unwrap());
            drop(sender);
            let drain = async { while receiver.recv().await.is_some() {} };
            let read = async {
                for n in 0..20 {
                    backend.get(key(n).as_bytes(), soon()).await.unwrap();
                }
            };
            tokio::join!(drain, read, async { backend.get(b"beside", soon()).await.unwrap() });
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(60)).expect("it ends");
}

#[cached(backend = "memcached", ttl = 60)]
async fn double(n: u32) -> u32 {
    2 * n
}

#[tokio::test]
async fn cached_functions_on_several_servers_get_their_own() {
    let servers = [MemcachedServer::start(), MemcachedServer::start(), MemcachedServer::start()];
    let hosts: Vec<_> = servers.iter().map(|server| server.addr().to_string()).collect();
    let url = format!("memcached://{}{PATIENT}", hosts.join(","));
    let scope = Scope::with_config(Config::new().url("memcached", &url)).unwrap();
    let _inside = scope.enter();
    for _ in 0..2 {
        let tasks: Vec<_> = (0..200).map(|n| tokio::spawn(double(n))).collect();
        for (n, task) in (0..).zip(tasks) {
            assert_eq!(task.await.unwrap(), 2 * n);
        }
    }
    let stats = double::stats();
    assert_eq!((stats.runs, stats.hits, stats.errors), (200, 200, 0), "{stats}");
}

// Threads, whose reads travel together where they find no connection free.

const THREADS: u32 = 64;

/// Far fewer connections than threads.
const FEW: &str = "?timeout=10s&pool=2";

/// The clients of Redis, of one Memcached server and of three.
fn of_few_connections(redis: &RedisServer, memcached: &[MemcachedServer; 3]) -> [Arc<dyn Backend>; 3] {
    let hosts = memcached.each_ref().map(|server| server.addr().to_string()).join(",");
    [
        Arc::new(Redis::from_url(&(redis.url() + FEW)).unwrap()),
        Arc::new(Memcached::from_url(&(memcached[0].url() + FEW)).unwrap()),
        Arc::new(Memcached::from_url(&format!("memcached://{hosts}{FEW}")).unwrap()),
    ]
}

/// What `call` gives in each of the threads, which begin at about the same time.
fn in_threads<T: Send>(call: impl Fn(u32) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let call = &call;
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || call(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn every_thread_gets_its_own_value() {
    let servers = (RedisServer::start(), std::array::from_fn(|_| MemcachedServer::start()));
    for backend in of_few_connections(&servers.0, &servers.1) {
        for n in (0..500).step_by(2) {
            backend.set(key(n).as_bytes(), n.to_string().into(), SetOptions::new(), soon()).unwrap();
        }
        in_threads(|thread| {
            let own = format!("own:{thread}").into_bytes();
            for round in 0..100 {
                let n = (thread * 7 + round * 13) % 500;
                let expected = (n % 2 == 0).then(|| Bytes::from(n.to_string()));
                assert_eq!(backend.get(key(n).as_bytes(), soon()).unwrap(), expected);
                // What isn't read together waits in the same line.
                if round % 10 == thread % 10 {
                    let value = Bytes::from(round.to_string());
                    backend.set(&own, value.clone(), SetOptions::new(), soon()).unwrap();
                    assert_eq!(backend.get(&own, soon()).unwrap(), Some(value));
                    assert!(backend.delete(&own, soon()).unwrap());
                }
            }
        });
    }
    let trips = servers.0.calls("mget") + servers.0.calls("get");
    assert!(trips < 64 * 110 / 2, "{trips} trips for 7040 reads");
}

#[test]
fn threads_wait_for_a_frozen_server_until_their_deadlines() {
    const SHORT: Duration = Duration::from_millis(150);
    let servers = (RedisServer::start(), std::array::from_fn(|_| MemcachedServer::start()));
    let [redis, memcached, _] = of_few_connections(&servers.0, &servers.1);
    let both: [(_, &Process); 2] = [(redis, &servers.0), (memcached, &servers.1[0])];
    for (backend, server) in both {
        backend.set(b"key", "value".into(), SetOptions::new(), soon()).unwrap();
        server.freeze();
        in_threads(|thread| {
            // Some have less time than those who drive, and some more.
            let time = SHORT + Duration::from_millis(1) * (thread * 7 % 100);
            let start = Instant::now();
            let error = backend.get(b"key", start + time).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            assert!(start.elapsed() < time + SHORT, "{:?} of {time:?}", start.elapsed());
        });
        server.thaw();
        for value in in_threads(|_| backend.get(b"key", soon())) {
            assert_eq!(value.unwrap().as_deref(), Some(&b"value"[..]));
        }
    }
}

static RUNS: AtomicU32 = AtomicU32::new(0);

#[cached(backend = "redis", ttl = 60)]
fn half(n: u32) -> u32 {
    RUNS.fetch_add(1, Ordering::Relaxed);
    n / 2
}

#[test]
fn threads_that_travel_when_the_server_dies_run_the_body() {
    let mut server = RedisServer::start();
    let scope = Scope::with_config(Config::new().url("redis", &(server.url() + FEW))).unwrap();
    let (begun, ended) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|threads| {
        let callers = (0..THREADS).map(|thread| {
            let (scope, begun, ended) = (&scope, &begun, &ended);
            threads.spawn(move || {
                let _inside = scope.enter();
                // Until each thread has made some calls with the server, and some without.
                let mut without = 0;
                for round in 0.. {
                    let n = (thread + 7 * round) % 1000;
                    assert_eq!(half(n), n / 2);
                    begun.fetch_add(u32::from(round == 50), Ordering::Relaxed);
                    without += ended.load(Ordering::Relaxed);
                    if without > 50 {
                        break;
                    }
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        while begun.load(Ordering::Relaxed) < THREADS && !callers.iter().any(|caller| caller.is_finished()) {
            thread::yield_now();
        }
        let runs = RUNS.load(Ordering::Relaxed);
        assert!(runs <= 1000 + THREADS, "{runs} runs for 1000 keys, while the server is there");
        server.kill();
        ended.store(1, Ordering::Relaxed);
    });
    let _inside = scope.enter();
    let stats = half::stats();
    assert!(stats.errors > 0, "{stats}");
}
