//! Several processes, modeled as isolated scopes on one server: each sees what the others do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{Cache, Config, SetOptions, cached};
use cache_tests::servers::{MemcachedServer, RedisServer};

macro_rules! suite {
    ($module:ident, $backend:literal, $server:ty, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[cached(backend = $backend)]
            $($asyncness)? fn load(n: u64) -> u64 {
                n * 2
            }

            fn run<F: Future<Output = ()>>(test: impl FnOnce(Scope, Scope, String) -> F) {
                let server = <$server>::start();
                let process = || Scope::with_config(Config::new().url($backend, &server.url())).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(test(process(), process(), server.url()));
            }

            #[test]
            fn what_one_process_stored_the_others_find() {
                run(|one, other, _| async move {
                    assert_eq!(one.run(async { load(4)$($wait)* }).await, 8);
                    assert_eq!(other.run(async { load(4)$($wait)* }).await, 8);
                    let ran = other.run(async { (load::stats().runs, load::stats().hits) }).await;
                    assert_eq!(ran, (0, 1));
                });
            }

            #[test]
            fn a_clear_is_seen_by_others_within_a_second() {
                run(|one, other, _| async move {
                    one.run(async { load(4)$($wait)* }).await;
                    other.run(async { load(4)$($wait)* }).await;
                    one.run(async { load::clear()$($wait)*.unwrap() }).await;
                    assert_eq!(one.run(async { load::peek(4)$($wait)*.unwrap() }).await, None);
                    other.advance(Duration::from_secs(1));
                    assert_eq!(other.run(async { load::peek(4)$($wait)*.unwrap() }).await, None);
                });
            }

            #[test]
            fn an_invalidation_is_seen_at_once() {
                run(|one, other, _| async move {
                    one.run(async { load(4)$($wait)* }).await;
                    other.run(async { load(4)$($wait)* }).await;
                    one.run(async { load::invalidate(4)$($wait)*.unwrap() }).await;
                    assert_eq!(other.run(async { load::peek(4)$($wait)*.unwrap() }).await, None);
                });
            }

            #[test]
            fn a_lost_generation_brings_nothing_back() {
                run(|one, other, url| async move {
                    one.run(async { load(4)$($wait)* }).await;
                    one.run(async { load::clear()$($wait)*.unwrap(); load(5)$($wait)* }).await;
                    let generation = keys(&url).into_iter().find(|key| key.ends_with(":generation")).unwrap();
                    assert!(delete(&url, &generation), "{generation}");
                    for id in [4, 5] {
                        assert_eq!(other.run(async { load::peek(id)$($wait)*.unwrap() }).await, None);
                    }
                });
            }

            #[test]
            fn bytes_of_somebody_else_are_a_miss_and_counted() {
                run(|one, _, url| async move {
                    one.run(async { load(4)$($wait)*; load(5)$($wait)* }).await;
                    let (key, other_key) = one.run(async { (load::key(4), load::key(5)) }).await;
                    let bytes = get(&url, &other_key);
                    assert!(bytes.len() > 16);
                    for wrong in [&b"garbage"[..], b"", &bytes, &bytes[1..], &[0xff; 100]] {
                        set(&url, &key, wrong);
                        let found = one.run(async { load::peek(4)$($wait)*.unwrap() }).await;
                        assert_eq!(found, None, "{wrong:?}");
                    }
                    assert_eq!(one.run(async { load(4)$($wait)* }).await, 8);
                    let stats = one.run(async { load::stats() }).await;
                    assert_eq!((stats.runs, stats.decode_failures), (3, 1));
                });
            }
        }
    };
}

suite!(redis, "redis", RedisServer, [], []);
suite!(redis_async, "redis", RedisServer, [async], [.await]);
suite!(memcached, "memcached", MemcachedServer, [], []);
suite!(memcached_async, "memcached", MemcachedServer, [async], [.await]);

// Raw access to a server, through the backends.

fn backend(url: &str) -> Box<dyn cache_runtime::Backend> {
    match url.starts_with("redis") {
        true => Box::new(cache_runtime::Redis::from_url(url).unwrap()),
        false => Box::new(cache_runtime::Memcached::from_url(url).unwrap()),
    }
}

fn soon() -> std::time::Instant {
    std::time::Instant::now() + Duration::from_secs(5)
}

fn get(url: &str, key: &str) -> cache_runtime::Bytes {
    backend(url).get(key.as_bytes(), soon()).unwrap().unwrap()
}

fn set(url: &str, key: &str, value: &[u8]) {
    backend(url).set(key.as_bytes(), value.to_vec().into(), SetOptions::new(), soon()).unwrap();
}

fn delete(url: &str, key: &str) -> bool {
    backend(url).delete(key.as_bytes(), soon()).unwrap()
}

/// The keys that the server at `url` holds.
fn keys(url: &str) -> Vec<String> {
    let (scheme, address) = url.split_once("://").unwrap();
    let (command, end) = match scheme {
        "redis" => ("KEYS *\r\nPING\r\n", "+PONG"),
        _ => ("lru_crawler metadump all\r\n", "END"),
    };
    let mut stream = BufReader::new(TcpStream::connect(address.trim_end_matches('/')).unwrap());
    stream.get_mut().write_all(command.as_bytes()).unwrap();
    let lines = stream.lines().map(Result::unwrap).take_while(|line| line != end);
    // Memcached's lines are `key=… exp=…`, with escapes.
    let keys = lines.filter_map(|line| match line.strip_prefix("key=") {
        Some(fields) => fields.split(' ').next().map(|key| key.replace("%3A", ":")),
        None => (!line.starts_with(['*', '$'])).then_some(line),
    });
    keys.collect()
}

/// Functions of the same names in two blocks: their results, and the key of a method.
fn namesakes(is_first: bool) -> ([String; 2], String) {
    if is_first {
        #[cached(backend = "redis")]
        fn get(id: u64) -> String {
            format!("first {id}")
        }
        #[cached(backend = "redis", companions = false)]
        fn bare(id: u64) -> String {
            format!("first {id}")
        }
        struct Local;
        impl Local {
            #[cached(backend = "redis", skip(self))]
            #[expect(dead_code, reason = "only its key is looked at")]
            fn get(&self, id: u64) -> String {
                format!("first {id}")
            }
        }
        ([get(1), bare(1)], Local::get_key(1))
    } else {
        #[cached(backend = "redis")]
        fn get(id: u64) -> String {
            format!("second {id}")
        }
        #[cached(backend = "redis", companions = false)]
        fn bare(id: u64) -> String {
            format!("second {id}")
        }
        struct Local;
        impl Local {
            #[cached(backend = "redis", skip(self))]
            #[expect(dead_code, reason = "only its key is looked at")]
            fn get(&self, id: u64) -> String {
                format!("second {id}")
            }
        }
        ([get(1), bare(1)], Local::get_key(1))
    }
}

struct FirstOfTwo;
struct SecondOfTwo;

const _: () = {
    #[cached(backend = "redis")]
    fn get(id: u64) -> String {
        format!("first {id}")
    }

    impl FirstOfTwo {
        fn get(id: u64) -> String {
            get(id)
        }
    }
};

const _: () = {
    #[cached(backend = "redis")]
    fn get(id: u64) -> String {
        format!("second {id}")
    }

    impl SecondOfTwo {
        fn get(id: u64) -> String {
            get(id)
        }
    }
};

#[test]
fn namesakes_in_blocks_share_no_entries() {
    let server = RedisServer::start();
    let process = || Scope::with_config(Config::new().url("redis", &server.url())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..2 {
            assert_eq!(process().run(async { namesakes(true).0 }).await, ["first 1"; 2]);
            assert_eq!(process().run(async { namesakes(false).0 }).await, ["second 1"; 2]);
            assert_eq!(process().run(async { FirstOfTwo::get(1) }).await, "first 1");
            assert_eq!(process().run(async { SecondOfTwo::get(1) }).await, "second 1");
        }
        // In one process they don't clash.
        let both = process();
        let ((_, first), (_, second)) = both.run(async { (namesakes(true), namesakes(false)) }).await;
        let namespace = |key: &str| key.split_once(":0:").unwrap().0.to_owned();
        assert_ne!(namespace(&first), namespace(&second));
        let stats = both.run(async { cache_runtime::stats() }).await;
        let functions = stats.iter().filter(|stats| !stats.function.contains("Local"));
        assert_eq!(functions.clone().count(), 4);
        assert!(functions.into_iter().all(|stats| (stats.hits, stats.errors) == (1, 0)), "{stats}");
    });
}

#[cached(backend = "redis")]
fn counted(n: u64) -> u64 {
    n
}

/// The number of commands that a Redis server has run.
fn commands(server: &RedisServer) -> u64 {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", server.port())).unwrap());
    stream.get_mut().write_all(b"INFO stats\r\n").unwrap();
    let line = stream
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with("total_commands_processed:"))
        .unwrap();
    line.trim().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn a_hit_costs_one_round_trip_also_when_the_generation_is_read() {
    let server = RedisServer::start();
    let scope = Scope::with_config(Config::new().url("redis", &server.url())).unwrap();
    let _entered = scope.enter();
    counted(1);
    counted(1);
    let before = commands(&server);
    for _ in 0..10 {
        counted(1);
        scope.advance(Duration::from_millis(200));
    }
    // The second INFO counts itself.
    assert_eq!(commands(&server) - before, 10 + 1);
    assert_eq!(counted::stats().hits, 11);
}

#[test]
fn an_oversize_result_is_returned_and_counted() {
    #[cached(backend = "memcached")]
    fn large(length: usize) -> Vec<u8> {
        vec![7; length]
    }

    let server = MemcachedServer::start();
    let scope = Scope::with_config(Config::new().url("memcached", &(server.url() + "?timeout=5s"))).unwrap();
    let _entered = scope.enter();
    for length in [1 << 19, 1 << 20, 3 << 20] {
        assert_eq!(large(length).len(), length);
        assert_eq!(large(length).len(), length);
    }
    let stats = large::stats();
    assert_eq!((stats.runs, stats.hits, stats.too_large, stats.errors), (5, 1, 4, 0), "{stats}");
    // The plain cache of the same server goes on.
    Cache::named("memcached").unwrap().set("n", &1, None).unwrap();
}
