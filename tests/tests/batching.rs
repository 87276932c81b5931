//! Reads that arrive together travel together, and nobody pays for another's.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{
    AsyncBackend, Batched, BoxFuture, Bytes, Config, Error, ErrorKind, Memcached, Redis, cached,
};
use cache_tests::servers::{MemcachedServer, Process, RedisServer};
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
        backend.set(key(n).as_bytes(), n.to_string().into(), None, soon()).await.unwrap();
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

/// How often the server was asked `command`.
fn calls(server: &RedisServer, command: &str) -> usize {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"INFO commandstats\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
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
    assert_eq!((calls(&server, "mget"), calls(&server, "get")), (1, 0));
}

#[tokio::test]
async fn a_lone_call_goes_by_itself() {
    let server = RedisServer::start();
    let backend = redis(&server);
    fill(&backend, 10).await;
    for n in 0..10 {
        is(n, &backend.get(key(n).as_bytes(), soon()).await);
    }
    assert_eq!((calls(&server, "mget"), calls(&server, "get")), (0, 10));
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
        _: Option<Duration>,
        _: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        unreachable!("only reads are tested")
    }

    fn add<'a>(
        &'a self,
        _: &'a [u8],
        _: Bytes,
        _: Option<Duration>,
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
    let mut panics = 0;
    for task in tasks {
        match task.await {
            Err(error) => panics += u32::from(error.is_panic()),
            Ok(result) => assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable),
        }
    }
    assert_eq!(panics, 1);
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
    let scope = Scope::with(Config::new().url("memcached", &url)).unwrap();
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
