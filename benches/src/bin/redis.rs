//! Redis: this against `redis`, `cached`, hitbox, cachekit and raw TCP, blocking and async.
//!
//! Our side is the cached function itself: key, digest, request, checksum, decoding, statistics, generation.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cache_benches::async_peers::hitbox;
use cache_benches::load::{KEYS, large, runtime, small, tasks, threads};
use cache_benches::raw_protocol::Raw;
use cache_benches::{Case, Goal, Part, Settings, counter, machine};
use cache_runtime::Config;
use cache_tests::servers::RedisServer;
use cachekit::backend::redis::RedisBackend as CachekitRedis;
use cachekit::{CacheKit, CachekitError};
use hitbox_fn::Cache;
use hitbox_redis::{ConnectionMode, RedisBackend as HitboxRedis};
use redis::{Client, Connection, RedisResult, cmd};

const TTL: Duration = Duration::from_secs(3600);
static URL: OnceLock<String> = OnceLock::new();

fn url() -> &'static str {
    URL.get().expect("set before the first call")
}

macro_rules! functions {
    ($module:ident, $hitbox:ident, $operation:literal, $value:ty, $body:path) => {
        mod $module {
            use super::*;

            #[cache_runtime::cached(backend = "redis", ttl = 3600)]
            pub fn ours(id: u64) -> $value {
                $body(id)
            }

            #[cache_runtime::cached(backend = "redis", ttl = 3600)]
            pub async fn ours_async(id: u64) -> $value {
                $body(id)
            }

            type Peer = cached::RedisCache<u64, $value>;
            type PeerAsync = cached::AsyncRedisCache<u64, $value>;

            #[cached::macros::concurrent_cached(
                ty = "Peer",
                create = {
                    let builder = Peer::builder(stringify!($module)).ttl(TTL).connection_string(url());
                    builder.build().expect("the server is there")
                },
                map_error = |error| format!("{error:?}")
            )]
            pub fn peer(id: u64) -> Result<$value, String> {
                Ok($body(id))
            }

            #[cached::macros::concurrent_cached(
                ty = "PeerAsync",
                create = {
                    let builder = PeerAsync::builder(stringify!($module)).ttl(TTL).connection_string(url());
                    builder.build().await.expect("the server is there")
                },
                map_error = |error| format!("{error:?}")
            )]
            pub async fn peer_async(id: u64) -> Result<$value, String> {
                Ok($body(id))
            }

            /// hitbox puts the function's name into the key.
            #[hitbox_fn::cached]
            pub async fn $hitbox(id: u64) -> $value {
                $body(id)
            }

            #[cachekit::cachekit(client = cache, ttl = 3600, interop = $operation, namespace = "benches")]
            pub async fn cachekit(cache: &CacheKit, id: u64) -> Result<$value, CachekitError> {
                Ok($body(id))
            }

            pub fn raw_key(id: u64) -> String {
                format!("{}:{id}", stringify!($module))
            }

            pub fn get(connection: &mut Connection, id: u64) {
                let value: RedisResult<Vec<u8>> = cmd("GET").arg(raw_key(id)).query(connection);
                assert!(!value.expect("the server answers").is_empty());
            }

            /// Puts everything on the server.
            pub fn fill(connection: &mut Connection, others: &Others, runtime: &tokio::runtime::Runtime) {
                for id in 0..KEYS {
                    let value: &[u8] = &$body(id).into_bytes();
                    cmd("SET").arg(raw_key(id)).arg(value).exec(connection).expect("the server stores");
                    ours(id);
                    peer(id).expect("the server answers");
                    runtime.block_on(async {
                        ours_async(id).await;
                        peer_async(id).await.expect("the server answers");
                        $hitbox(id).cache(&others.hitbox).await;
                        cachekit(&others.cachekit, id).await.expect("the server answers");
                    });
                }
            }

            /// All comparisons of values of this size, with `goals` or without.
            pub fn compare(
                part: &mut Part,
                place: &str,
                processors: usize,
                server: &RedisServer,
                has_goals: bool,
            ) {
                let goals = |holds: bool, goals: Vec<Goal>| if holds && has_goals { goals } else { Vec::new() };
                let settings = &Settings::waiting(&[server.pid()]);
                let client = Client::open(server.url()).expect("the URL is right");
                let connect = || client.get_connection().expect("the server is there");
                let runtime = runtime(processors);
                let (mut connection, mut raw) = (connect(), Raw::connect(server.addr()));
                let others = runtime.block_on(Others::connect(&server.url()));
                fill(&mut connection, &others, &runtime);
                let size = $operation.replace('-', " ");
                part.compare(
                    &format!("Redis, one blocking caller, {size}, {place}"),
                    &settings.in_pieces(15),
                    &goals(true, vec![Goal::time("redis-rs", 1.05), Goal::time("cached", 0.5)]),
                    vec![
                        Case::each("cache-runtime", |index| ours(index % KEYS)),
                        Case::each("redis-rs", |index| get(&mut connection, index % KEYS)),
                        Case::each("cached", |index| peer(index % KEYS)),
                        Case::each("GET over TCP", |index| raw.get(&raw_key(index % KEYS)).expect("it is there")),
                    ],
                );
                let mut connections: Vec<Connection> = (0..64).map(|_| connect()).collect();
                let mut raw: Vec<Raw> = (0..64).map(|_| Raw::connect(server.addr())).collect();
                part.compare(
                    &format!("Redis, 64 threads, {size}, {place}"),
                    settings,
                    &goals(true, vec![Goal::speed("redis-rs, a connection each", 0.95), Goal::speed("cached", 2.5)]),
                    vec![
                        Case::new("cache-runtime", |operations| {
                            threads(&mut [(); 64], operations, |(), id| drop(ours(id)));
                        }),
                        Case::new("redis-rs, a connection each", |operations| {
                            threads(&mut connections, operations, get);
                        }),
                        Case::new("cached", |operations| {
                            threads(&mut [(); 64], operations, |(), id| drop(peer(id)));
                        }),
                        Case::new("GET over TCP, a connection each", |operations| {
                            threads(&mut raw, operations, |raw, id| drop(raw.get(&raw_key(id))));
                        }),
                    ],
                );
                let shared =
                    runtime.block_on(client.get_multiplexed_async_connection()).expect("the server is there");
                for count in [1, 64, 512] {
                    part.compare(
                        &format!("Redis, {count} tasks, {size}, {place}"),
                        settings,
                        &goals(count == 64, vec![Goal::speed("redis-rs, multiplexed", 1.5), Goal::speed("cached", 1.8)]),
                        vec![
                            Case::new("cache-runtime", |operations| {
                                tasks(&runtime, count, operations, |id| async move {
                                    ours_async(id).await;
                                });
                            }),
                            Case::new("redis-rs, multiplexed", |operations| {
                                let shared = shared.clone();
                                tasks(&runtime, count, operations, move |id| {
                                    let mut shared = shared.clone();
                                    async move {
                                        let key = raw_key(id);
                                        let value: RedisResult<Vec<u8>> =
                                            cmd("GET").arg(key).query_async(&mut shared).await;
                                        assert!(!value.expect("the server answers").is_empty());
                                    }
                                });
                            }),
                            Case::new("cached", |operations| {
                                tasks(&runtime, count, operations, |id| async move {
                                    peer_async(id).await.expect("the server answers");
                                });
                            }),
                            Case::new("hitbox", |operations| {
                                let hitbox = others.hitbox.clone();
                                tasks(&runtime, count, operations, move |id| {
                                    let hitbox = hitbox.clone();
                                    async move { drop($hitbox(id).cache(&hitbox).await) }
                                });
                            }),
                            Case::new("cachekit, no first layer", |operations| {
                                let kit = others.cachekit.clone();
                                tasks(&runtime, count, operations, move |id| {
                                    let kit = kit.clone();
                                    async move { drop(cachekit(&kit, id).await.expect("the server answers")) }
                                });
                            }),
                        ],
                    );
                }
            }
        }
    };
}

/// Functions for each placement, because `cached` keeps its connection in the runtime that called it first.
macro_rules! placement {
    ($module:ident) => {
        mod $module {
            use super::*;

            functions!(value_100_bytes, hitbox_100_bytes, "100-bytes", String, small);
            functions!(value_4_kib, hitbox_4_kib, "4096-bytes", Vec<u8>, large);

            pub fn compare(part: &mut Part, place: &str, processors: usize, server: &RedisServer) {
                let cpus: Vec<usize> = (0..processors).collect();
                machine::place(&[std::process::id(), server.pid()], &cpus);
                value_100_bytes::compare(part, place, processors, server, true);
                value_4_kib::compare(part, place, processors, server, false);
            }
        }
    };
}

placement!(one_cpu);
placement!(unpinned);

/// hitbox and cachekit with connections in a runtime.
struct Others {
    hitbox: Cache<HitboxRedis>,
    cachekit: CacheKit,
}

impl Others {
    async fn connect(url: &str) -> Self {
        let mode = ConnectionMode::single(url);
        let redis = HitboxRedis::builder().connection(mode).build().expect("the settings are right");
        let kit = CachekitRedis::builder().url(url).build().expect("the URL is right");
        kit.connect().await.expect("the server is there");
        let cachekit = CacheKit::builder().backend(Arc::new(kit)).no_l1().build();
        Self { hitbox: hitbox(redis), cachekit: cachekit.expect("the settings are right") }
    }
}

trait IntoBytes {
    fn into_bytes(self) -> Vec<u8>;
}

impl IntoBytes for Vec<u8> {
    fn into_bytes(self) -> Vec<u8> {
        self
    }
}

/// What a miss costs beside the body and its two round trips.
fn misses(part: &mut Part, server: &RedisServer, client: &Client) {
    #[cache_runtime::cached(backend = "redis", ttl = 3600)]
    fn ours(id: u64) -> String {
        small(id)
    }
    let mut connection = client.get_connection().expect("the server is there");
    let mut raw = Raw::connect(server.addr());
    let new = counter();
    let floor = "the body, GET and SET over TCP";
    part.compare(
        "Redis, misses, 100 bytes, one CPU",
        &Settings::waiting(&[server.pid()]),
        &[Goal::more(floor, 3_000.0)],
        vec![
            Case::each("cache-runtime", |_| ours(new())),
            Case::each(floor, |_| {
                let id = new();
                let key = format!("miss:{id}");
                assert!(raw.get(&key).is_none());
                raw.set(&key, small(id).as_bytes());
            }),
            Case::each("redis-rs, GET and SET", |_| {
                let id = new();
                let key = format!("miss:{id}");
                let found: Option<Vec<u8>> =
                    cmd("GET").arg(&key).query(&mut connection).expect("the server answers");
                assert!(found.is_none());
                cmd("SET")
                    .arg(&key)
                    .arg(small(id))
                    .arg("PX")
                    .arg(3_600_000)
                    .exec(&mut connection)
                    .expect("the server stores");
            }),
        ],
    );
}

fn main() {
    let mut part = Part::new("redis");
    let server = RedisServer::start();
    Config::new().url("redis", &server.url()).install().expect("the settings are right");
    URL.set(server.url()).expect("set once");
    let client = Client::open(server.url()).expect("the URL is right");
    one_cpu::compare(&mut part, "one CPU", 1, &server);
    misses(&mut part, &server, &client);
    unpinned::compare(&mut part, "unpinned", machine::cpus(), &server);
    part.finish();
}
