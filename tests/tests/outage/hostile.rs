//! A server that answers anything costs misses and time, and nothing more.
//!
//! A test binary of its own: it counts the memory and the panics of its process.
#![cfg(feature = "servers")]

use std::alloc::System;
use std::net::SocketAddr;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{
    AsyncBackend, Batched, BoxFuture, Bytes, Config, Error, ErrorKind, Memcached, Redis, SetOptions, cached,
};
use cache_tests::conformance::Ready;
use cache_tests::fleet::{self, RedisCluster};
use cache_tests::hostile::Hostile;
use cache_tests::servers::{MemcachedServer, RedisServer};
use cap::Cap;

/// For all kinds of connections together. An announced length that somebody trusts is more, and aborts the process.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, 64 << 20);

/// How much more memory may be in use after all questions than after the first tenth. A connection keeps up to 64 KiB for
/// the next answer, and each kind has up to 4 connections. The rest is for results and marks that wait for the server.
const GROWTH: usize = 4 << 20;

/// For each kind of connection.
const QUESTIONS: usize = 10_000;

/// For an operation of a client.
const TIMEOUT: Duration = Duration::from_millis(5);
/// For all that a function's call asks: the default.
const BUDGET: Duration = Duration::from_millis(250);
/// For a busy machine. A call that hangs takes longer.
const SLACK: Duration = Duration::from_secs(1);

const KEYS: u64 = 20;

/// Longer than this process keeps what the server didn't take, so that every call asks the server.
const PAUSE: Duration = Duration::from_secs(11);

/// A client, each of whose calls must end in time. A failure looks like an answer, because a breaker would keep most calls
/// from the server.
#[derive(Clone)]
struct Watched(Arc<dyn AsyncBackend>);

async fn watched<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let started = Instant::now();
    let result = call.await;
    assert!(started.elapsed() < TIMEOUT + SLACK, "a call took {:?}", started.elapsed());
    result.map_err(|error| Error::new(ErrorKind::Server, error.to_string()))
}

impl AsyncBackend for Watched {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(watched(self.0.get(key, deadline)))
    }

    fn get_many<'a>(
        &'a self,
        keys: &'a [&'a [u8]],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(watched(self.0.get_many(keys, deadline)))
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(watched(self.0.set(key, value, options, deadline)))
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(watched(self.0.add(key, value, options, deadline)))
    }

    fn compare_and_set<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(watched(self.0.compare_and_set(key, old, new, options, deadline)))
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(watched(self.0.delete(key, deadline)))
    }
}

fn truth(key: u64) -> String {
    format!("{key}:").repeat(usize::try_from(key).unwrap() * 5)
}

#[cached(backend = "hostile", ttl = 1_000_000_000)]
async fn text(key: u64) -> String {
    truth(key)
}

/// Four calls at once, each with the right result, in time.
async fn call(key: u64) {
    let keys = [key, (key + 1) % KEYS, key, (key + 7) % KEYS];
    let started = Instant::now();
    let results = tokio::join!(text(keys[0]), text(keys[1]), text(keys[2]), text(keys[3]));
    assert_eq!(<[String; 4]>::from(results), keys.map(truth));
    assert!(started.elapsed() < BUDGET + SLACK, "calls took {:?}", started.elapsed());
    if key == 0 {
        // May fail, as may all that follows.
        let _ = text::invalidate(key).await;
    }
}

/// Operations that no function needs. Their results are up to the server.
async fn operate(client: &dyn AsyncBackend, key: &[u8]) {
    let late = Instant::now() + SLACK;
    let entries = [(key, Bytes::from_static(b"1")), (&b"other"[..], Bytes::from_static(b"text"))];
    let _ = watched(client.set_many(&entries, SetOptions::new().ttl(SLACK), late)).await;
    let _ = watched(client.get_many(&[key, b"other", b"none"], late)).await;
    let _ = watched(client.incr(key, 1, late)).await;
    let _ = watched(client.touch(key, None, late)).await;
    let _ = watched(client.ttl(key, late)).await;
    let _ = watched(client.contains(key, late)).await;
    let _ = watched(client.delete_many(&[key, b"other"], late)).await;
}

/// Asks until the server has been asked often enough.
async fn ask(scope: &Scope, client: &dyn AsyncBackend, server: &Hostile) {
    let mut early = None;
    for round in 0.. {
        scope.advance(PAUSE);
        call(round % KEYS).await;
        if round % 4 == 0 {
            operate(client, format!("number-{}", round % KEYS).as_bytes()).await;
        }
        match server.questions() {
            QUESTIONS.. => break,
            questions if questions > QUESTIONS / 10 => _ = early.get_or_insert_with(|| HEAP.allocated()),
            _ => {}
        }
    }
    let (early, late) = (early.unwrap(), HEAP.allocated());
    assert!(late < early + GROWTH, "{early} bytes were in use, and then {late}");
    let stats = text::stats();
    assert!(stats.hits > 100, "right answers are so rare that this shows nothing: {stats}");
    assert!(stats.decode_failures > 10, "no damaged entry arrived: {stats}");
}

/// Asks a hostile server with one kind of connection.
fn survive(server: SocketAddr, seed: u64, client: impl FnOnce(SocketAddr) -> Arc<dyn AsyncBackend>) {
    let server = Hostile::before(server, seed);
    let client = Watched(client(server.addr()));
    let scope = Scope::with_config(Config::new().async_backend("hostile", client.clone())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scope.run(ask(&scope, &*client.0, &server)));
}

#[test]
fn a_hostile_server_is_survived() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));
    let (redis_server, memcached_server) = (RedisServer::start(), MemcachedServer::start());
    let options = format!("?timeout={}ms&pool=4", TIMEOUT.as_millis());
    let redis = |address| Redis::from_url(&format!("redis://{address}{options}")).unwrap();
    let memcached = |address| Memcached::from_url(&format!("memcached://{address}{options}")).unwrap();
    let (redis_address, memcached_address) = (redis_server.addr(), memcached_server.addr());
    // The hostile server is what the only node says that it is.
    let clusters = [RedisCluster::start(1), RedisCluster::start(1)];
    let [one, other] = clusters.each_ref().map(|cluster| cluster.nodes[0].addr());
    let cluster = |node: SocketAddr, address: SocketAddr| {
        let order = format!("CONFIG SET cluster-announce-port {}", address.port());
        assert_eq!(fleet::ask(node, &order), "+OK");
        Redis::from_url(&format!("redis+cluster://{address}{options}")).unwrap()
    };

    thread::scope(|threads| {
        threads.spawn(|| survive(redis_address, 1, |at| Arc::new(Ready(Arc::new(redis(at))))));
        threads.spawn(|| survive(redis_address, 2, |at| Arc::new(Batched::new(redis(at)))));
        threads.spawn(|| survive(one, 5, |at| Arc::new(Ready(Arc::new(cluster(one, at))))));
        threads.spawn(|| survive(other, 6, |at| Arc::new(Batched::new(cluster(other, at)))));
        threads.spawn(|| survive(memcached_address, 3, |at| Arc::new(Ready(Arc::new(memcached(at))))));
        threads.spawn(|| survive(memcached_address, 4, |at| Arc::new(Batched::new(memcached(at)))));
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "panics, some of which may have been caught");
}
