//! Memcached: this against `memcache`, classic and `exp`, cachekit and the raw meta protocol.
//!
//! Our side is the cached function itself: key, digest, request, checksum, decoding, statistics, generation.

use std::sync::Arc;

use cache_benches::load::{KEYS, large, runtime, small, tasks, threads};
use cache_benches::raw_protocol::Raw;
use cache_benches::{Case, Goal, Part, Settings, counter, machine};
use cache_runtime::Config;
use cache_tests::servers::MemcachedServer;
use cachekit::backend::memcached::MemcachedBackend;
use cachekit::{CacheKit, CachekitError};
use memcache::exp::{AsyncMetaClient, MetaClient};

macro_rules! functions {
    ($module:ident, $operation:literal, $value:ty, $body:path) => {
        mod $module {
            use super::*;

            #[cache_runtime::cached(backend = "memcached", ttl = 3600)]
            pub fn ours(id: u64) -> $value {
                $body(id)
            }

            #[cache_runtime::cached(backend = "memcached", ttl = 3600)]
            pub async fn ours_async(id: u64) -> $value {
                $body(id)
            }

            #[cachekit::cachekit(client = cache, ttl = 3600, interop = $operation, namespace = "benches")]
            pub async fn cachekit(cache: &CacheKit, id: u64) -> Result<$value, CachekitError> {
                Ok($body(id))
            }

            pub fn key(id: u64) -> String {
                format!("{}:{id}", stringify!($module))
            }

            /// All comparisons of values of this size, with `goals` or without.
            pub fn compare(
                part: &mut Part,
                settings: &Settings,
                place: &str,
                processors: usize,
                server: &MemcachedServer,
                has_goals: bool,
            ) {
                let goals =
                    |holds: bool, goals: Vec<Goal>| if holds && has_goals { goals } else { Vec::new() };
                let runtime = runtime(processors);
                let mut raw = Raw::connect(server.addr());
                let exp = MetaClient::connect(server.addr()).expect("the server is there");
                let classic =
                    memcache::Client::with_pool_size(format!("memcache://{}?timeout=5", server.addr()), 64)
                        .expect("the server is there");
                let kit = runtime.block_on(connect_cachekit(server));
                for id in 0..KEYS {
                    exp.set(key(id), $body(id)).send().expect("the server stores");
                    ours(id);
                    runtime.block_on(async {
                        ours_async(id).await;
                        cachekit(&kit, id).await.expect("the server answers");
                    });
                }
                let size = $operation.replace('-', " ");
                part.compare(
                    &format!("Memcached, one blocking caller, {size}, {place}"),
                    &settings.in_pieces(15),
                    &goals(true, vec![Goal::time("mg over TCP", 1.15)]),
                    vec![
                        Case::each("cache-runtime", |index| ours(index % KEYS)),
                        Case::each("mg over TCP", |index| raw.mg(&key(index % KEYS)).expect("it is there")),
                        Case::each("memcache::exp", |index| {
                            exp.get(key(index % KEYS)).send().expect("the server answers")
                        }),
                        Case::each("memcache", |index| {
                            classic.get::<Vec<u8>>(&key(index % KEYS)).expect("the server answers")
                        }),
                    ],
                );
                let mut connections: Vec<Raw> = (0..64).map(|_| Raw::connect(server.addr())).collect();
                part.compare(
                    &format!("Memcached, 64 threads, {size}, {place}"),
                    settings,
                    &[],
                    vec![
                        Case::new("cache-runtime", |operations| {
                            threads(&mut [(); 64], operations, |(), id| drop(ours(id)));
                        }),
                        Case::new("mg over TCP, a connection each", |operations| {
                            threads(&mut connections, operations, |raw, id| drop(raw.mg(&key(id))));
                        }),
                        Case::new("memcache::exp", |operations| {
                            threads(&mut [(); 64], operations, |(), id| {
                                exp.get(key(id)).send().expect("the server answers");
                            });
                        }),
                        Case::new("memcache, 64 connections", |operations| {
                            threads(&mut [(); 64], operations, |(), id| {
                                classic.get::<Vec<u8>>(&key(id)).expect("the server answers");
                            });
                        }),
                    ],
                );
                let shared =
                    runtime.block_on(AsyncMetaClient::connect(server.addr())).expect("the server is there");
                let shared = Arc::new(shared);
                for count in [1, 64, 512] {
                    part.compare(
                        &format!("Memcached, {count} tasks, {size}, {place}"),
                        settings,
                        &goals(count == 64, vec![Goal::speed("memcache::exp", 2.0)]),
                        vec![
                            Case::new("cache-runtime", |operations| {
                                tasks(&runtime, count, operations, |id| async move {
                                    ours_async(id).await;
                                });
                            }),
                            Case::new("memcache::exp", |operations| {
                                let shared = shared.clone();
                                tasks(&runtime, count, operations, move |id| {
                                    let shared = shared.clone();
                                    async move {
                                        shared.get(key(id)).send().await.expect("the server answers");
                                    }
                                });
                            }),
                            Case::new("cachekit, no first layer", |operations| {
                                let kit = kit.clone();
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

functions!(value_100_bytes, "100-bytes", String, small);
functions!(value_4_kib, "4096-bytes", Vec<u8>, large);

async fn connect_cachekit(server: &MemcachedServer) -> CacheKit {
    let builder = MemcachedBackend::builder().url(format!("memcache://{}", server.addr())).pool_size(64);
    let backend = builder.connect().await.expect("the server is there");
    CacheKit::builder().backend(Arc::new(backend)).no_l1().build().expect("the settings are right")
}

/// What a miss costs beside the body and its two round trips.
fn misses(part: &mut Part, settings: &Settings, server: &MemcachedServer) {
    #[cache_runtime::cached(backend = "memcached", ttl = 3600)]
    fn ours(id: u64) -> String {
        small(id)
    }
    let exp = MetaClient::connect(server.addr()).expect("the server is there");
    let mut raw = Raw::connect(server.addr());
    let new = counter();
    let floor = "the body, mg and ms over TCP";
    part.compare(
        "Memcached, misses, 100 bytes, one CPU",
        settings,
        &[Goal::more(floor, 3_000.0)],
        vec![
            Case::each("cache-runtime", |_| ours(new())),
            Case::each(floor, |_| {
                let id = new();
                let key = format!("miss:{id}");
                assert!(raw.mg(&key).is_none());
                raw.ms(&key, small(id).as_bytes());
            }),
            Case::each("memcache::exp, get and set", |_| {
                let id = new();
                let key = format!("miss:{id}");
                exp.get(key.as_str()).send().expect("the server answers");
                exp.set(key, small(id)).send().expect("the server stores");
            }),
        ],
    );
}

fn main() {
    let mut part = Part::new("memcached");
    let server = MemcachedServer::start();
    Config::new().url("memcached", &server.url()).install().expect("the settings are right");
    let settings = Settings::waiting(&[server.pid()]);
    for processors in [1, machine::cpus()] {
        let cpus: Vec<usize> = (0..processors).collect();
        machine::place(&[std::process::id(), server.pid()], &cpus);
        let place = if processors == 1 { "one CPU" } else { "unpinned" };
        value_100_bytes::compare(&mut part, &settings, place, processors, &server, true);
        value_4_kib::compare(&mut part, &settings, place, processors, &server, false);
        if processors == 1 {
            misses(&mut part, &settings, &server);
        }
    }
    part.finish();
}
