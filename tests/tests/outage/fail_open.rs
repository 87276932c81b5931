//! A server that is useless from the start does no harm: the body runs once per call and its result is returned.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Nothing listens.
    Refused,
    /// The host doesn't exist.
    Absent,
    /// Connections are accepted and never answered.
    Silent,
    /// Every request is answered with noise.
    Garbage,
}

/// A URL that has this trouble for as long as the returned listener lives.
fn trouble(kind: Trouble, scheme: &str) -> (String, Option<TcpListener>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    match kind {
        Trouble::Refused => (format!("{scheme}://{address}"), None),
        Trouble::Absent => (format!("{scheme}://no-such-host.invalid:1"), None),
        Trouble::Silent => (format!("{scheme}://{address}"), Some(listener)),
        Trouble::Garbage => {
            std::thread::spawn(move || listener.incoming().flatten().for_each(answer_with_noise));
            (format!("{scheme}://{address}"), None)
        }
    }
}

fn answer_with_noise(mut stream: TcpStream) {
    std::thread::spawn(move || {
        let mut request = [0; 4096];
        while stream.read(&mut request).is_ok_and(|length| length > 0) {
            let _ = stream.write_all(b"\x00\xffVA -7 k\r\n$99999999999\r\n*3\r\n:x\r\n");
        }
    });
}

macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[cached(backend = $backend)]
            $($asyncness)? fn plain(n: u32) -> u32 {
                n + 1
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn option(n: u32) -> Option<String> {
                Some(n.to_string())
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn result(n: u32) -> Result<Vec<u32>, String> {
                if n == 0 { Err("zero".into()) } else { Ok(vec![n; 3]) }
            }

            async fn results_arrive(trouble: Trouble) {
                assert_eq!(plain(1)$($wait)*, 2);
                assert_eq!(option(1)$($wait)*, Some("1".into()));
                assert_eq!(result(1)$($wait)*, Ok(vec![1; 3]));
                assert_eq!(result(0)$($wait)*, Err("zero".into()));
                assert_eq!((plain::stats().runs, plain::stats().hits, plain::stats().stores), (1, 0, 0));
                assert_eq!((option::stats().runs, result::stats().runs), (1, 2));
                assert!(plain::stats().errors >= 1, "{trouble:?}: {}", plain::stats());

                plain::invalidate(1)$($wait)*.unwrap_err();
                plain::insert(1, 5)$($wait)*.unwrap_err();
                plain::peek(1)$($wait)*.unwrap_err();
                plain::clear()$($wait)*.unwrap_err();
                assert_eq!(plain::refresh(1)$($wait)*, 2);
            }

            fn run(trouble_kind: Trouble) {
                let (url, _listener) = trouble(trouble_kind, $backend);
                let scope = Scope::with_config(Config::new().url($backend, &url)).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(scope.run(results_arrive(trouble_kind)));
            }

            #[test]
            fn refused() {
                run(Trouble::Refused);
            }

            #[test]
            fn absent() {
                run(Trouble::Absent);
            }

            #[test]
            fn silent() {
                run(Trouble::Silent);
            }

            #[test]
            fn garbage() {
                run(Trouble::Garbage);
            }
        }
    };
}

/// A scope without a server.
fn dead() -> Scope {
    let (url, _) = trouble(Trouble::Refused, "redis");
    Scope::with_config(Config::new().timeout(std::time::Duration::MAX).url("redis", &url)).unwrap()
}

#[test]
fn a_timeout_without_end_is_no_panic() {
    #[cached(backend = "redis")]
    fn one(n: u32) -> u32 {
        n
    }

    let _in_scope = dead().enter();
    assert_eq!(one(1), 1);
}

/// tokio panics when code uses timers or sockets on a runtime that was built without them.
#[test]
fn a_runtime_without_timers_and_sockets_is_no_panic() {
    #[cached(backend = "redis")]
    async fn one(n: u32) -> u32 {
        n
    }

    let without = [
        tokio::runtime::Builder::new_current_thread().build().unwrap(),
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap(),
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap(),
    ];
    for runtime in without {
        let scope = dead();
        let calls = async {
            let call = |n| {
                let scope = scope.clone();
                tokio::spawn(async move { scope.run(one(n)).await })
            };
            let several: Vec<_> = (0..3).map(call).collect();
            assert_eq!(one(7).await, 7);
            for (n, call) in (0..).zip(several) {
                assert_eq!(call.await.unwrap(), n);
            }
            one::invalidate(7).await.unwrap_err();
        };
        runtime.block_on(scope.run(calls));
    }
}

suite!(redis, "redis", [], []);
suite!(redis_async, "redis", [async], [.await]);
suite!(memcached, "memcached", [], []);
suite!(memcached_async, "memcached", [async], [.await]);
