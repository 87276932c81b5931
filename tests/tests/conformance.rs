//! Every backend passes the one suite, blocking and async.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use cache_runtime::{Batched, Memcached, Memory, Redis};
use cache_tests::authority::Authority;
use cache_tests::conformance::{asynchronous, blocking};
use cache_tests::fleet::{RedisCluster, RedisSentinels};
use cache_tests::servers::{MemcachedServer, RedisServer};

/// Long enough for a machine that runs all tests at once.
const PATIENT: &str = "?timeout=10s";

fn redis(server: &RedisServer) -> Arc<Redis> {
    Arc::new(Redis::from_url(&(server.url() + PATIENT)).unwrap())
}

fn memcached(servers: &[MemcachedServer]) -> Arc<Memcached> {
    let hosts: Vec<_> = servers.iter().map(|server| server.addr().to_string()).collect();
    Arc::new(Memcached::from_url(&format!("memcached://{}{PATIENT}", hosts.join(","))).unwrap())
}

fn three() -> [MemcachedServer; 3] {
    std::array::from_fn(|_| MemcachedServer::start())
}

#[test]
fn memory_blocking() {
    blocking(Arc::new(Memory::default()));
}

#[tokio::test]
async fn memory_async() {
    asynchronous(Arc::new(Memory::default())).await;
}

#[test]
fn redis_blocking() {
    let server = RedisServer::start();
    blocking(redis(&server));
}

#[tokio::test]
async fn redis_async() {
    let server = RedisServer::start();
    asynchronous(redis(&server)).await;
}

/// Scripts are replaced by transactions.
#[tokio::test]
async fn redis_without_scripts() {
    let server = RedisServer::start_with(&["--rename-command", "EVAL", ""]);
    asynchronous(redis(&server)).await;
}

#[test]
fn redis_over_a_unix_socket_blocking() {
    let server = RedisServer::start_unix();
    blocking(redis(&server));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_over_a_unix_socket_async() {
    let server = RedisServer::start_unix();
    asynchronous(redis(&server)).await;
}

fn over_tls(authority: &Authority) -> (RedisServer, Arc<Redis>) {
    let server = RedisServer::start_tls(authority, &authority.issue("127.0.0.1"), &[]);
    let redis = Redis::from_url(&(server.tls_url(authority) + "&timeout=10s")).unwrap();
    (server, Arc::new(redis))
}

#[test]
fn redis_over_tls_blocking() {
    let authority = Authority::new();
    let (_server, redis) = over_tls(&authority);
    blocking(redis);
}

#[tokio::test]
async fn redis_over_tls_async() {
    let authority = Authority::new();
    let (_server, redis) = over_tls(&authority);
    asynchronous(redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_over_tls_async() {
    let authority = Authority::new();
    let server = MemcachedServer::start_tls(&authority.issue("127.0.0.1"));
    let memcached = Memcached::from_url(&(server.tls_url(&authority) + "&timeout=10s")).unwrap();
    asynchronous(Arc::new(memcached)).await;
}

fn cluster(cluster: &RedisCluster) -> Arc<Redis> {
    Arc::new(Redis::from_url(&(cluster.url() + PATIENT)).unwrap())
}

#[test]
fn redis_cluster_blocking() {
    let nodes = RedisCluster::start(3);
    blocking(cluster(&nodes));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_async() {
    let nodes = RedisCluster::start(3);
    asynchronous(cluster(&nodes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batched_redis_cluster() {
    let nodes = RedisCluster::start(3);
    let redis = Redis::from_url(&(nodes.url() + PATIENT)).unwrap();
    asynchronous(Arc::new(Batched::new(redis))).await;
}

fn sentinels(servers: &RedisSentinels) -> Arc<Redis> {
    let url = format!("redis+sentinel://:secret@{}/main/1{PATIENT}&sentinel_password=other", servers.hosts());
    Arc::new(Redis::from_url(&url).unwrap())
}

#[test]
fn redis_behind_sentinels_blocking() {
    let servers = RedisSentinels::start("secret", "other");
    blocking(sentinels(&servers));
}

#[tokio::test]
async fn redis_behind_sentinels_async() {
    let servers = RedisSentinels::start("secret", "other");
    asynchronous(sentinels(&servers)).await;
}

#[test]
fn memcached_blocking() {
    let server = MemcachedServer::start();
    blocking(memcached(&[server]));
}

#[tokio::test]
async fn memcached_async() {
    let server = MemcachedServer::start();
    asynchronous(memcached(&[server])).await;
}

#[test]
fn three_memcached_blocking() {
    let servers = three();
    blocking(memcached(&servers));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_memcached_async() {
    let servers = three();
    asynchronous(memcached(&servers)).await;
}

#[tokio::test]
async fn batched_redis() {
    let server = RedisServer::start();
    asynchronous(Arc::new(Batched::new(Redis::from_url(&(server.url() + PATIENT)).unwrap()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batched_memcached_on_three_servers() {
    let servers = three();
    let hosts: Vec<_> = servers.iter().map(|server| server.addr().to_string()).collect();
    let url = format!("memcached://{}{PATIENT}", hosts.join(","));
    asynchronous(Arc::new(Batched::new(Memcached::from_url(&url).unwrap()))).await;
}
