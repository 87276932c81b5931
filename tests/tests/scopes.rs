//! Testing scopes: isolated from the process, from each other, and carried where they are entered.

use std::sync::Barrier;
use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{Cache, cached};

#[cached(ttl = 60)]
fn local(n: u64) -> u64 {
    n + 1
}

#[cached(backend = "nowhere", ttl = 60)]
fn remote(n: u64) -> u64 {
    n + 1
}

#[test]
fn threads_in_scopes_of_their_own_see_nothing_of_each_other() {
    let barrier = Barrier::new(4);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let scope = Scope::new();
                let _entered = scope.enter();
                barrier.wait();
                for _ in 0..2 {
                    assert_eq!((local(1), remote(1)), (2, 2));
                }
                barrier.wait();
                for stats in [local::stats(), remote::stats()] {
                    assert_eq!((stats.runs, stats.hits, stats.errors), (1, 1, 0), "{stats}");
                }
                local::clear().unwrap();
                barrier.wait();
                assert_eq!(remote::peek(1).unwrap(), Some(2));
            });
        }
    });
}

#[test]
fn scopes_nest_and_are_left() {
    let (outer, inner) = (Scope::new(), Scope::new());
    let _in_outer = outer.enter();
    local(1);
    {
        let _in_inner = inner.enter();
        assert_eq!(local::peek(1).unwrap(), None);
        local(2);
    }
    assert_eq!((local::peek(1).unwrap(), local::peek(2).unwrap()), (Some(2), None));
    // One scope on several threads is one cache.
    std::thread::scope(|threads| {
        threads.spawn(|| {
            assert_eq!(Cache::named("memory").unwrap().get::<u8>("n").unwrap(), None);
            let _in_outer = outer.enter();
            assert_eq!(local::peek(1).unwrap(), Some(2));
        });
    });
}

/// The servers don't exist, and a call would be an error.
#[cfg(feature = "servers")]
#[test]
fn a_plain_cache_in_a_scope_asks_no_server() {
    use cache_runtime::{Config, ErrorKind};

    let memory_only = Scope::with_config(Config::new().memory_only()).unwrap();
    for scope in [Scope::new(), memory_only] {
        let _entered = scope.enter();
        for url in ["redis://127.0.0.1:1?prefix=app:", "memcached://127.0.0.1:1", "unix:///no/such.sock"] {
            Cache::from_url(url).unwrap().set("n", &1_u8, None).unwrap();
            assert_eq!(Cache::from_url(url).unwrap().get("n").unwrap(), Some(1_u8), "{url} is one server");
            let outside = std::thread::scope(|threads| {
                threads
                    .spawn(|| Cache::from_url(url).unwrap().get::<u8>("n").unwrap_err().kind())
                    .join()
                    .unwrap()
            });
            assert_eq!(outside, ErrorKind::Unavailable);
        }
        assert_eq!(Cache::from_url("redis://h?speed=1").unwrap_err().kind(), ErrorKind::Config);
    }
}

#[test]
fn a_bad_url_is_an_error_where_it_is_given() {
    use cache_runtime::{Config, ErrorKind};

    for url in ["memory://?speed=1", "redis//h", "gopher://h", "memcached://a;b"] {
        let error = Scope::with_config(Config::new().url("cache", url)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let error = Config::new().url("cache", url).install().unwrap_err();
        assert!(error.to_string().contains("Config::url(\"cache\", …)"), "{error}");
        assert!(Scope::with_config(Config::new().url("cache", url).memory_only()).is_ok(), "nobody reads it");
    }
}

#[test]
fn only_its_own_clock_moves() {
    let (moved, still) = (Scope::new(), Scope::new());
    for scope in [&moved, &still] {
        let _entered = scope.enter();
        assert_eq!((local(1), remote(1)), (2, 2));
    }
    moved.advance(Duration::from_secs(60));
    for (scope, found) in [(&moved, None), (&still, Some(2))] {
        let _entered = scope.enter();
        assert_eq!((local::peek(1).unwrap(), remote::peek(1).unwrap()), (found, found));
    }
}

#[test]
fn a_future_carries_its_scope_from_thread_to_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let scope = Scope::new();
            runtime.spawn(async move {
                let calls = async {
                    for n in 0..50 {
                        local(n % 5);
                        tokio::task::yield_now().await;
                    }
                    local::stats()
                };
                let stats = scope.run(calls).await;
                assert_eq!((stats.runs, stats.hits), (5, 45));
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
}

#[test]
fn a_scope_goes_where_it_is_carried() {
    let scope = Scope::new();
    let _entered = scope.enter();
    let current = Scope::current().unwrap();
    let carried = std::thread::spawn(move || {
        assert!(Scope::current().is_none(), "not inherited");
        let _entered = current.enter();
        local(1)
    });
    assert_eq!(carried.join().unwrap(), 2);
    assert_eq!(local::stats().runs, 1);
}

/// In a process of their own, because other tests here are outside of scopes too.
#[test]
fn the_whole_process_is_in_a_scope() {
    let [out, err] = scene("process");
    assert_eq!((&*out, &*err), ("runs 1, then 2, then 1\n", ""));
}

#[test]
fn a_call_that_leaves_a_scope_behind_is_reported() {
    let [out, err] = scene("stray");
    assert_eq!(out, "runs 0\n");
    assert!(err.starts_with("counted was called outside of the testing scopes"), "{err}");
    assert_eq!(err.lines().count(), 2, "once: {err}");
}

fn scene(name: &str) -> [String; 2] {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_scoped")).arg(name).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
}
