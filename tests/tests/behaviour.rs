//! What `#[cached]` promises, once for each backend, blocking and async.

use std::any::Any;
#[cfg(feature = "servers")]
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};
use serde::{Deserialize, Serialize};

/// Two scopes with one backend, whose servers stop when this is dropped.
struct World {
    scope: Scope,
    other_process: Scope,
    _server: Box<dyn Any>,
}

impl World {
    fn new(backend: &str) -> Self {
        let (url, server) = start(backend);
        let config = Config::new().url(backend, &url);
        let scope = || Scope::with_config(config.clone()).unwrap();
        Self { scope: scope(), other_process: scope(), _server: server }
    }
}

#[cfg(feature = "servers")]
fn start(backend: &str) -> (String, Box<dyn Any>) {
    use cache_tests::fleet::RedisCluster;
    use cache_tests::servers::{MemcachedServer, RedisServer};
    match backend {
        "redis" => {
            let server = RedisServer::start();
            (server.url(), Box::new(server))
        }
        "memcached" => {
            let server = MemcachedServer::start();
            (server.url(), Box::new(server))
        }
        "cluster" => {
            // Tests that run at the same time share it.
            static WORLDS: AtomicU32 = AtomicU32::new(0);
            let cluster = RedisCluster::shared();
            let prefix = WORLDS.fetch_add(1, Ordering::Relaxed);
            (format!("{}?prefix={prefix}:", cluster.url()), Box::new(cluster))
        }
        _ => in_memory(),
    }
}

#[cfg(not(feature = "servers"))]
fn start(_: &str) -> (String, Box<dyn Any>) {
    in_memory()
}

fn in_memory() -> (String, Box<dyn Any>) {
    ("memory://".to_owned(), Box::new(()))
}

type Alias<T> = Result<T, String>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    tags: Vec<String>,
}

fn user(id: u64) -> User {
    User { id, name: format!("user {id}"), tags: vec!["a".into(); 2] }
}

/// Every backend must pass this: `$asyncness` and `$wait` are `async` and `.await`, or nothing.
macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            fn run<F: Future<Output = ()>>(test: impl FnOnce(Scope, Scope) -> F) {
                let world = World::new($backend);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let test = test(world.scope.clone(), world.other_process.clone());
                runtime.block_on(world.scope.run(test));
            }

            mod arguments {
                use super::*;

                #[cached(backend = $backend)]
                $($asyncness)? fn none() -> u64 {
                    7
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn one(id: u64) -> User {
                    user(id)
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn many(a: u8, b: String, c: (i32, char), mut d: Vec<bool>) -> String {
                    d.push(true);
                    format!("{a}{b}{c:?}{d:?}")
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn borrowed(a: &str, b: &[u32], c: Option<&str>, d: &User) -> String {
                    format!("{a}{b:?}{c:?}{}", d.id)
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn patterns((a, mut b): (u32, u32), [c, ..]: [u32; 3], User { id, .. }: User) -> u64 {
                    b += 1;
                    u64::from(a + b + c) + id
                }

                #[test]
                fn equal_arguments_run_once_and_different_ones_again() {
                    run(|_, _| async {
                        for _ in 0..3 {
                            assert_eq!(none()$($wait)*, 7);
                            assert_eq!(one(1)$($wait)*, user(1));
                            assert_eq!(one(2)$($wait)*, user(2));
                            assert_eq!(
                                many(1, "x".into(), (-1, 'c'), vec![])$($wait)*,
                                "1x(-1, 'c')[true]"
                            );
                            assert_eq!(borrowed("ab", &[1], None, &user(1))$($wait)*, "ab[1]None1");
                            assert_eq!(borrowed("a", &[1], None, &user(1))$($wait)*, "a[1]None1");
                            assert_eq!(borrowed("a", &[1], Some("None"), &user(1))$($wait)*, "a[1]Some(\"None\")1");
                            assert_eq!(patterns((1, 2), [3, 4, 5], user(6))$($wait)*, 13);
                            assert_eq!(patterns((1, 2), [3, 4, 6], user(6))$($wait)*, 13);
                        }
                        assert_eq!((none::stats().runs, none::stats().hits), (1, 2));
                        assert_eq!((one::stats().runs, one::stats().hits), (2, 4));
                        assert_eq!((many::stats().runs, many::stats().hits), (1, 2));
                        assert_eq!((borrowed::stats().runs, borrowed::stats().hits), (3, 6));
                        assert_eq!((patterns::stats().runs, patterns::stats().hits), (2, 4));
                        assert_eq!((one::stats().misses, one::stats().stores, one::stats().errors), (2, 2, 0));
                    });
                }
            }

            mod returns {
                use super::*;

                #[cached(backend = $backend)]
                $($asyncness)? fn option(n: u32) -> Option<u32> {
                    if n == 0 {
                        return None;
                    }
                    Some(n)
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn result(text: &str) -> Result<u32, std::num::ParseIntError> {
                    let n: u32 = text.parse()?;
                    Ok(n + 1)
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn aliased(n: u32) -> Alias<u32> {
                    if n == 0 { Err("zero".into()) } else { Ok(n) }
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn nested(n: u32) -> Result<Option<u32>, String> {
                    match n {
                        0 => Err("zero".into()),
                        1 => Ok(None),
                        n => Ok(Some(n)),
                    }
                }

                #[cached(backend = $backend, cache_none = true)]
                $($asyncness)? fn with_none(n: u32) -> Option<u32> {
                    n.checked_sub(1)
                }

                #[cached(backend = $backend, cache_err = true)]
                $($asyncness)? fn with_err(n: u32) -> Alias<u32> {
                    if n == 0 { Err("zero".into()) } else { Ok(n) }
                }

                #[cached(backend = $backend, cache_none = true)]
                $($asyncness)? fn nested_none(n: u32) -> Result<Option<u32>, String> {
                    match n {
                        0 => Err("zero".into()),
                        1 => Ok(None),
                        n => Ok(Some(n)),
                    }
                }

                #[cached(backend = $backend, cache_err = true)]
                $($asyncness)? fn nested_err(n: u32) -> Result<Option<u32>, String> {
                    match n {
                        0 => Err("zero".into()),
                        1 => Ok(None),
                        n => Ok(Some(n)),
                    }
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn unit(_n: u32) {}

                #[test]
                fn only_some_and_ok_are_stored_unless_asked() {
                    run(|_, _| async {
                        for _ in 0..2 {
                            assert_eq!((option(0)$($wait)*, option(1)$($wait)*), (None, Some(1)));
                            assert_eq!(result("1")$($wait)*, Ok(2));
                            assert!(result("one")$($wait)*.is_err());
                            assert_eq!((aliased(0)$($wait)*, aliased(1)$($wait)*), (Err("zero".into()), Ok(1)));
                            assert_eq!((with_none(0)$($wait)*, with_none(1)$($wait)*), (None, Some(0)));
                            assert_eq!((with_err(0)$($wait)*, with_err(1)$($wait)*), (Err("zero".into()), Ok(1)));
                            for (n, expected) in [Err("zero".to_owned()), Ok(None), Ok(Some(2))].into_iter().enumerate() {
                                let n = u32::try_from(n).unwrap();
                                assert_eq!(nested(n)$($wait)*, expected);
                                assert_eq!(nested_none(n)$($wait)*, expected);
                                assert_eq!(nested_err(n)$($wait)*, expected);
                            }
                            unit(1)$($wait)*;
                        }
                        assert_eq!(option::stats().runs, 3);
                        assert_eq!(result::stats().runs, 3);
                        assert_eq!(aliased::stats().runs, 3);
                        assert_eq!(with_none::stats().runs, 2);
                        assert_eq!(with_err::stats().runs, 2);
                        assert_eq!(nested::stats().runs, 5);
                        assert_eq!(nested_none::stats().runs, 4);
                        assert_eq!(nested_err::stats().runs, 4);
                        assert_eq!(unit::stats().runs, 1);
                    });
                }
            }

            mod lifetimes {
                use super::*;

                const HOUR: Duration = Duration::from_secs(3600);

                #[cached(backend = $backend, ttl = 60)]
                $($asyncness)? fn seconds(n: u32) -> u32 {
                    n
                }

                #[cached(backend = $backend, ttl = 1.5)]
                $($asyncness)? fn fraction(n: u32) -> u32 {
                    n
                }

                #[cached(backend = $backend, ttl = "5m")]
                $($asyncness)? fn text(n: u32) -> u32 {
                    n
                }

                #[cached(backend = $backend, ttl = HOUR)]
                $($asyncness)? fn expression(n: u32) -> u32 {
                    n
                }

                #[cached(backend = $backend, ttl = |value| Duration::from_secs(u64::from(*value)))]
                $($asyncness)? fn by_value(n: u32) -> Option<u32> {
                    Some(n)
                }

                #[cached(backend = $backend, ttl = 60, negative_ttl = 5, cache_none = true)]
                $($asyncness)? fn negative(n: u32) -> Option<u32> {
                    n.checked_sub(1)
                }

                #[cached(backend = $backend, cache_if = |value| value.len() > 1)]
                $($asyncness)? fn conditional(text: &str) -> Result<String, String> {
                    Ok(text.to_owned())
                }

                #[test]
                fn entries_live_as_long_as_asked() {
                    run(|scope, _| async move {
                        // Seconds since the start, and the runs of each function by then.
                        let expected = [
                            (0.0, [1, 1, 1, 1, 1, 1]),
                            (1.4, [1, 1, 1, 1, 1, 1]),
                            (1.5, [1, 2, 1, 1, 1, 1]),
                            (4.9, [1, 3, 1, 1, 1, 1]),
                            (5.0, [1, 3, 1, 1, 1, 2]),
                            (59.9, [1, 4, 1, 1, 1, 3]),
                            (60.0, [2, 4, 1, 1, 1, 3]),
                            (299.9, [3, 5, 1, 1, 2, 4]),
                            (300.0, [3, 5, 2, 1, 2, 4]),
                            (3599.9, [4, 6, 3, 1, 3, 5]),
                            (3600.0, [4, 6, 3, 2, 3, 5]),
                        ];
                        let mut now = 0.0;
                        for (at, runs) in expected {
                            scope.advance(Duration::from_secs_f64(at - now));
                            now = at;
                            seconds(1)$($wait)*;
                            fraction(1)$($wait)*;
                            text(1)$($wait)*;
                            expression(1)$($wait)*;
                            by_value(100)$($wait)*;
                            negative(0)$($wait)*;
                            let ran = [
                                seconds::stats().runs,
                                fraction::stats().runs,
                                text::stats().runs,
                                expression::stats().runs,
                                by_value::stats().runs,
                                negative::stats().runs,
                            ];
                            assert_eq!(ran, runs, "{at} s after the start");
                        }
                        // A lifetime of zero is no lifetime.
                        by_value(0)$($wait)*;
                        assert_eq!(by_value::peek(0)$($wait)*.unwrap(), None);
                    });
                }

                #[test]
                fn only_what_passes_is_stored() {
                    run(|_, _| async {
                        for _ in 0..2 {
                            assert_eq!(conditional("a")$($wait)*.unwrap(), "a");
                            assert_eq!(conditional("ab")$($wait)*.unwrap(), "ab");
                        }
                        assert_eq!(conditional::stats().runs, 3);
                    });
                }
            }

            mod keys {
                use super::*;

                #[cached(backend = $backend, key = "user:{id}:{name}")]
                $($asyncness)? fn template(id: u64, name: &str, _trace: u32) -> u64 {
                    id + name.len() as u64
                }

                #[cached(backend = $backend, key = "{user.id}/{pair.0}")]
                $($asyncness)? fn members(user: &User, pair: (u8, u8)) -> u64 {
                    user.id + u64::from(pair.1)
                }

                #[cached(backend = $backend, key = (user.id, text.len()))]
                $($asyncness)? fn expressions(user: &User, text: &str) -> u64 {
                    user.id + text.len() as u64
                }

                #[cached(backend = $backend, key = a)]
                $($asyncness)? fn bindings((a, b): (u64, u64)) -> u64 {
                    a + b
                }

                #[cached(backend = $backend, skip(connection))]
                $($asyncness)? fn skipped(connection: &mut Vec<u64>, id: u64) -> u64 {
                    connection.push(id);
                    id
                }

                #[test]
                fn the_key_decides_what_a_call_is() {
                    run(|_, _| async {
                        assert_eq!(template(1, "ab", 1)$($wait)*, 3);
                        assert_eq!(template(1, "ab", 2)$($wait)*, 3);
                        assert_eq!(template(1, "ac", 2)$($wait)*, 3);
                        assert_eq!(template::stats().runs, 2);
                        assert!(template::key(1, "a:b").ends_with(":user:1:a%3Ab"), "{}", template::key(1, "a:b"));

                        assert_eq!(members(&user(1), (2, 3))$($wait)*, 4);
                        assert_eq!(members(&user(1), (2, 9))$($wait)*, 4);
                        assert_eq!(members(&user(2), (2, 3))$($wait)*, 5);

                        assert_eq!(expressions(&user(1), "ab")$($wait)*, 3);
                        assert_eq!(expressions(&User { name: "else".into(), ..user(1) }, "cd")$($wait)*, 3);
                        assert_eq!(expressions::stats().runs, 1);

                        assert_eq!(bindings((1, 2))$($wait)*, 3);
                        assert_eq!(bindings((1, 3))$($wait)*, 3);

                        let mut connection = vec![];
                        assert_eq!(skipped(&mut connection, 5)$($wait)*, 5);
                        assert_eq!(skipped(&mut connection, 5)$($wait)*, 5);
                        assert_eq!(skipped(&mut connection, 6)$($wait)*, 6);
                        assert_eq!(connection, [5, 6]);
                        skipped::invalidate(5)$($wait)*.unwrap();
                        assert_eq!(skipped::peek(5)$($wait)*.unwrap(), None);
                        assert_eq!(skipped::peek(6)$($wait)*.unwrap(), Some(6));
                    });
                }

                mod left {
                    use super::*;
                    #[cached(backend = $backend)]
                    pub(super) $($asyncness)? fn same_name(n: u32) -> u32 {
                        n
                    }
                }

                mod right {
                    use super::*;
                    #[cached(backend = $backend)]
                    pub(super) $($asyncness)? fn same_name(n: u32) -> u32 {
                        n + 1
                    }
                }

                #[cached(backend = $backend, namespace = "shared", version = 1)]
                $($asyncness)? fn first_version(n: u32) -> u32 {
                    n
                }

                #[cached(backend = $backend, namespace = "shared", version = 2)]
                $($asyncness)? fn second_version(n: u32) -> u32 {
                    n + 1
                }

                #[test]
                fn no_two_functions_or_versions_share_an_entry() {
                    run(|_, _| async {
                        assert_eq!((left::same_name(1)$($wait)*, right::same_name(1)$($wait)*), (1, 2));
                        assert_eq!((first_version(1)$($wait)*, second_version(1)$($wait)*), (1, 2));
                        assert_eq!((left::same_name(1)$($wait)*, right::same_name(1)$($wait)*), (1, 2));
                        assert_eq!((first_version(1)$($wait)*, second_version(1)$($wait)*), (1, 2));
                        assert_ne!(left::same_name::key(1), right::same_name::key(1));
                        // Behind the prefix of the backend, if it has one.
                        let key = format!(":{}", first_version::key(1));
                        assert!(key.contains(":shared:1:"), "{key}");
                    });
                }
            }

            mod companions {
                use super::*;

                #[cached(backend = $backend, ttl = 60)]
                $($asyncness)? fn load(id: u64) -> Result<User, String> {
                    if id == 0 { Err("no such user".into()) } else { Ok(user(id)) }
                }

                #[cached(backend = $backend, companions = doubling)]
                $($asyncness)? fn double(n: u64) -> u64 {
                    2 * n
                }

                #[cached(backend = $backend, companions = false)]
                $($asyncness)? fn bare(n: u64) -> Result<u64, std::num::TryFromIntError> {
                    let small = u8::try_from(n)?;
                    if small == 7 {
                        return Ok(70);
                    }
                    Ok(small.into())
                }

                #[test]
                fn each_does_what_it_says() {
                    run(|scope, _| async move {
                        assert_eq!(load::peek(1)$($wait)*.unwrap(), None);
                        assert_eq!(load::stats().runs, 0);
                        load::insert(1, user(11))$($wait)*.unwrap();
                        assert_eq!(load::peek(1)$($wait)*.unwrap(), Some(user(11)));
                        assert_eq!(load(1)$($wait)*, Ok(user(11)));
                        assert_eq!(load::uncached(1)$($wait)*, Ok(user(1)));
                        assert_eq!(load(1)$($wait)*, Ok(user(11)));
                        assert_eq!(load::refresh(1)$($wait)*, Ok(user(1)));
                        assert_eq!(load(1)$($wait)*, Ok(user(1)));
                        assert_eq!(load::stats().runs, 1);
                        load::invalidate(1)$($wait)*.unwrap();
                        load::invalidate(1)$($wait)*.unwrap();
                        assert_eq!(load(1)$($wait)*, Ok(user(1)));
                        assert_eq!(load::stats().runs, 2);
                        scope.advance(Duration::from_secs(60));
                        assert_eq!(load::peek(1)$($wait)*.unwrap(), None);

                        assert_eq!(double(4)$($wait)*, 8);
                        assert_eq!(doubling::peek(4)$($wait)*.unwrap(), Some(8));
                        for _ in 0..2 {
                            assert_eq!((bare(7)$($wait)*, bare(8)$($wait)*), (Ok(70), Ok(8)));
                            assert!(bare(300)$($wait)*.is_err());
                        }
                        let all = cache_runtime::stats();
                        let bare = all.iter().find(|stats| stats.function.ends_with("companions::bare")).unwrap();
                        assert_eq!((bare.runs, bare.hits), (4, 2));
                        assert!(all.to_string().lines().count() == all.iter().count() + 1, "{all}");
                    });
                }

                #[test]
                fn clear_ends_every_entry_and_every_run_that_began_before() {
                    run(|_, _| async {
                        for id in 1..=3 {
                            load(id)$($wait)*.unwrap();
                        }
                        double(1)$($wait)*;
                        load::clear()$($wait)*.unwrap();
                        for id in 1..=3 {
                            assert_eq!(load::peek(id)$($wait)*.unwrap(), None);
                        }
                        assert_eq!(doubling::peek(1)$($wait)*.unwrap(), Some(2));
                        load(1)$($wait)*.unwrap();
                        assert_eq!(load::peek(1)$($wait)*.unwrap(), Some(user(1)));
                    });
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn cleared_while_running(n: u64) -> u64 {
                    cleared_while_running::clear()$($wait)*.unwrap();
                    n
                }

                #[test]
                fn a_run_that_began_before_a_clear_is_not_stored() {
                    run(|_, _| async {
                        assert_eq!(cleared_while_running(1)$($wait)*, 1);
                        assert_eq!(cleared_while_running::peek(1)$($wait)*.unwrap(), None);
                    });
                }
            }
        }
    };
}

suite!(memory, "memory", [], []);
suite!(memory_async, "memory", [async], [.await]);
suite!(bytes, "bytes", [], []);

#[cfg(feature = "servers")]
mod servers {
    use super::*;

    suite!(bytes_async, "bytes", [async], [.await]);
    suite!(redis, "redis", [], []);
    suite!(redis_async, "redis", [async], [.await]);
    suite!(redis_cluster, "cluster", [], []);
    suite!(redis_cluster_async, "cluster", [async], [.await]);
    suite!(memcached, "memcached", [], []);
    suite!(memcached_async, "memcached", [async], [.await]);
}
