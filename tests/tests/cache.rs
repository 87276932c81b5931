//! The plain cache behaves the same on every backend, blocking and async.

use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{AsyncCache, Cache, Config};

/// What both kinds of cache must do; `$wait` is `.await` or nothing.
macro_rules! behaves {
    ($name:ident, $cache:ty, [$($wait:tt)*], [$($make:tt)*]) => {
        async fn $name(scope: &Scope, alias: &str) {
            // A scope moves the clock of memory. Servers measure lifetimes by their own, in `plain/`.
            let advance = |by| if alias == "memory" { scope.advance(by) };
            let is_over = alias == "memory";
            let cache = <$cache>::named(alias).unwrap();
            let minute = Duration::from_secs(60);

            assert_eq!(cache.get::<u32>("n")$($wait)*.unwrap(), None);
            cache.set("n", &7_u32, minute)$($wait)*.unwrap();
            assert_eq!(cache.get::<u32>("n")$($wait)*.unwrap(), Some(7));
            cache.set("n", &8_u32, Duration::from_secs(90))$($wait)*.unwrap();
            cache.set("for ever", &vec!["a".to_owned()], None)$($wait)*.unwrap();
            advance(minute);
            assert_eq!(cache.get::<u32>("n")$($wait)*.unwrap(), Some(8));
            advance(minute);
            assert_eq!(cache.get::<u32>("n")$($wait)*.unwrap().is_none(), is_over);
            assert_eq!(cache.get::<Vec<String>>("for ever")$($wait)*.unwrap(), Some(vec!["a".to_owned()]));

            // A stored `None` is not a miss; a read as another type is.
            cache.set("none", &None::<u32>, None)$($wait)*.unwrap();
            assert_eq!(cache.get::<Option<u32>>("none")$($wait)*.unwrap(), Some(None));
            assert_eq!(cache.get::<Option<i32>>("none")$($wait)*.unwrap(), None);
            assert_eq!(cache.get::<Option<u32>>("no such key")$($wait)*.unwrap(), None);

            assert!(cache.delete("none")$($wait)*.unwrap());
            assert!(!cache.delete("none")$($wait)*.unwrap());
            assert_eq!(cache.get::<Option<u32>>("none")$($wait)*.unwrap(), None);

            // Keys may be any text, of any length.
            let long = "k".repeat(1000);
            for key in ["", "two words\r\n", "ключ", long.as_str()] {
                cache.set(key, &key.len(), None)$($wait)*.unwrap();
                assert_eq!(cache.get::<usize>(key)$($wait)*.unwrap(), Some(key.len()));
            }

            assert_eq!(cache.get_or_set("made", minute, $($make)* { 1_u8 })$($wait)*, 1);
            assert_eq!(cache.get_or_set("made", minute, $($make)* { 2_u8 })$($wait)*, 1);
            assert_eq!(cache.get_or_try_set("tried", None, $($make)* { Err::<u8, _>("no") })$($wait)*, Err("no"));
            assert_eq!(cache.get_or_try_set("tried", None, $($make)* { Ok::<_, &str>(3_u8) })$($wait)*, Ok(3));
            assert_eq!(cache.get_or_try_set("tried", None, $($make)* { Err::<u8, _>("no") })$($wait)*, Ok(3));

            // A ttl of zero stores nothing and removes the old value.
            cache.set("made", &9_u8, Duration::ZERO)$($wait)*.unwrap();
            assert_eq!(cache.get::<u8>("made")$($wait)*.unwrap(), None);
        }
    };
}

behaves!(blocking, Cache, [], [||]);
behaves!(asynchronous, AsyncCache, [.await], [async]);

fn on(config: Config, aliases: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for alias in aliases {
        let scope = Scope::with_config(config.clone()).unwrap();
        runtime.block_on(scope.run(blocking(&scope, alias)));
        let scope = Scope::with_config(config.clone().prefix("async:")).unwrap();
        runtime.block_on(scope.run(asynchronous(&scope, alias)));
    }
}

#[test]
fn memory() {
    on(Config::new(), &["memory"]);
}

#[cfg(feature = "servers")]
mod servers {
    use super::*;
    use cache_runtime::{ErrorKind, cached};
    use cache_tests::servers::{MemcachedServer, RedisServer};

    #[test]
    fn redis_and_memcached() {
        let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
        on(
            Config::new().url("redis", &redis.url()).url("memcached", &memcached.url()),
            &["redis", "memcached"],
        );
    }

    /// Prefixes and functions share no entries with the plain cache, wherever colons are.
    #[test]
    fn keys_of_different_parts_are_different() {
        #[cached(backend = "store", namespace = "cache", key = "{name}")]
        fn function(name: &str) -> u8 {
            name.len() as u8
        }

        let server = RedisServer::start();
        let url = |prefix: &str| format!("{}?prefix={prefix}", server.url());
        let (plain, prefixed) =
            (Cache::from_url(&url("")).unwrap(), Cache::from_url(&url("cache:")).unwrap());
        plain.set("cache:x", &1_u8, None).unwrap();
        prefixed.set("x", &2_u8, None).unwrap();
        assert_eq!(plain.get("cache:x").unwrap(), Some(1_u8));
        assert_eq!(prefixed.get("x").unwrap(), Some(2_u8));

        let scope = Scope::with_config(Config::new().url("store", &server.url())).unwrap();
        let _entered = scope.enter();
        assert_eq!(function("x"), 1);
        let key = function::key("x");
        plain.set(key.strip_prefix("cache:").unwrap(), &3_u8, None).unwrap();
        assert_eq!(function::peek("x").unwrap(), Some(1));
    }

    #[test]
    fn functions_of_different_prefixes_and_namespaces_are_different() {
        #[cached(backend = "store", namespace = "b")]
        fn one() -> u8 {
            1
        }
        #[cached(backend = "store", namespace = "a:b")]
        fn other() -> u8 {
            2
        }

        let server = RedisServer::start();
        let scope =
            |prefix| Scope::with_config(Config::new().prefix(prefix).url("store", &server.url())).unwrap();
        let within = |prefix, call: fn() -> u8| {
            let scope = scope(prefix);
            let _entered = scope.enter();
            call()
        };
        assert_eq!(within("a:", one), 1);
        assert_eq!(within("", other), 2);
    }

    #[test]
    fn too_large_a_value_is_an_error_and_not_a_lost_result() {
        let memcached = MemcachedServer::start();
        let cache = Cache::from_url(&memcached.url()).unwrap();
        let large = "x".repeat(2 << 20);
        assert_eq!(cache.set("large", &large, None).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(cache.get_or_set("large", None, || large.clone()), large);
    }

    #[test]
    fn a_dead_server_is_an_error_for_get_and_none_for_get_or_set() {
        let url = RedisServer::start().url();
        let cache = Cache::from_url(&url).unwrap();
        assert_eq!(cache.get::<u8>("n").unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(cache.set("n", &1_u8, None).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(cache.delete("n").unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(cache.get_or_set("n", None, || 1_u8), 1);
    }
}
