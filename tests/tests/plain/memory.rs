//! In memory, and where memory stands in for a server.

use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{Cache, Config, Error};

use crate::rows;

#[test]
fn memory_behaves() {
    rows::on(Config::new(), "memory://", false);
}

/// `cull.*`, `lru.*`: a full store evicts what was used least recently, and never what it has just accepted.
#[test]
fn a_full_store_keeps_what_it_has_just_accepted() -> Result<(), Error> {
    for capacity in [1, 9, 30, 1000] {
        let cache = Cache::from_url(&format!("memory://?capacity={capacity}"))?;
        for n in 0..3 * capacity {
            cache.set(&format!("key {n}"), &n, None)?;
            assert_eq!(cache.get::<u64>(&format!("key {n}"))?, Some(n), "of {capacity}");
        }
        let there = (0..3 * capacity).filter(|n| cache.contains(&format!("key {n}")).unwrap()).count();
        assert!(there as u64 <= capacity + 64, "{there} of {capacity}");
    }
    let cache = Cache::from_url("memory://?max_bytes=8KiB")?;
    for n in 0..100_u64 {
        let text = "x".repeat(1 + (n as usize * 37) % 3000);
        cache.set(&format!("key {n}"), &text, None)?;
        assert_eq!(cache.get::<String>(&format!("key {n}"))?, Some(text), "{n}");
    }
    Ok(())
}

#[test]
fn what_was_used_lately_stays() -> Result<(), Error> {
    let cache = Cache::from_url("memory://?capacity=9")?;
    let key = |n: u64| format!("key {n}");
    let fill = || (0..9).try_for_each(|n| cache.set(&key(n), &(n as i64), None));
    let there = || -> Vec<u64> { (0..9).filter(|n| cache.contains(&key(*n)).unwrap()).collect() };
    fill()?;
    for n in [0, 2, 4] {
        cache.get::<i64>(&key(n))?;
        cache.incr(&key(n + 1), 1)?;
    }
    (20..23).try_for_each(|n| cache.set(&key(n), &0_i64, None))?;
    assert_eq!(there(), [0, 1, 2, 3, 4, 5]);
    Ok(())
}

#[test]
fn memory_stands_in_for_servers() -> Result<(), Error> {
    let nowhere = "memcached://127.0.0.1:1?timeout=10s";
    let outside = Cache::from_url("memory://")?;
    let scope = Scope::new();
    let _entered = scope.enter();
    for cache in [Cache::from_url(nowhere)?, Cache::named("redis")?] {
        cache.set("key", "value", Duration::from_secs(1))?;
        assert_eq!(cache.get::<String>("key")?.as_deref(), Some("value"));
        scope.advance(Duration::from_secs(1));
        assert!(!cache.contains("key")?);
        cache.set("n", &1_i64, Duration::from_secs(1))?;
        scope.advance(Duration::from_secs(1));
        assert_eq!(cache.incr("n", 1)?, None);
    }
    outside.set("key", "value", None)?;
    assert!(outside.contains("key")?);
    Ok(())
}

/// `dummy.*`
#[test]
fn a_cache_that_is_off_takes_everything_and_has_nothing() -> Result<(), Error> {
    let scope = Scope::with_config(Config::new().enabled(false).url("redis", "redis://127.0.0.1:1"))?;
    let _entered = scope.enter();
    let cache = Cache::named("redis")?;
    cache.set("key ☃", "value", None)?;
    cache.set_many([("a", "b")], None)?;
    cache.clear()?;
    assert!(cache.add("key", &1_u8, None)?);
    assert_eq!(cache.get::<String>("key ☃")?, None);
    assert!(cache.get_many::<String>(["a"])?.is_empty());
    assert!(!cache.delete("key")? && !cache.touch("key", None)? && !cache.contains("key")?);
    assert_eq!((cache.incr("key", 1)?, cache.ttl("key")?, cache.delete_many(["a"])?), (None, None, 0));
    for n in 0..2 {
        assert_eq!(cache.get_or_set("made", None, || n), n);
    }
    Ok(())
}

#[test]
fn codecs_are_chosen_by_url() {
    let error = |url: &str| Cache::from_url(url).unwrap_err().to_string();
    assert!(error("memory://?codec=xml").contains("`msgpack`"), "{}", error("memory://?codec=xml"));
    let cache = Cache::from_url("memory://?codec=bincode").unwrap();
    cache.set("key", "value", None).unwrap();
    assert_eq!(cache.get::<String>("key").unwrap().as_deref(), Some("value"));
}
