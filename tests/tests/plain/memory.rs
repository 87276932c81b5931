//! In memory, and where memory stands in for a server.

use std::sync::OnceLock;
use std::thread;

use cache_runtime::{Cache, Config, Error, ErrorKind};
use serde::{Deserialize, Serialize, Serializer};

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
fn codecs_are_chosen_by_url() {
    let error = |url: &str| Cache::from_url(url).unwrap_err().to_string();
    assert!(error("memory://?codec=xml").contains("`msgpack`"), "{}", error("memory://?codec=xml"));
    let cache = Cache::from_url("memory://?codec=bincode").unwrap();
    cache.set("key", "value", None).unwrap();
    assert_eq!(cache.get::<String>("key").unwrap().as_deref(), Some("value"));
}

/// `multiple_caches`, `prefix.memory`, `handler.*`
#[test]
fn caches_are_apart_unless_they_have_one_alias() -> Result<(), Error> {
    let [one, other] = [Cache::from_url("memory://?prefix=a")?, Cache::from_url("memory://?prefix=a")?];
    one.set("key", "value", None)?;
    assert!(!other.contains("key")?);
    let scope = cache_runtime::testing::Scope::new();
    let _entered = scope.enter();
    let [one, other] = [Cache::named("memory")?, Cache::named("memory")?];
    one.set("key", "value", None)?;
    assert!(other.contains("key")?);
    other.within("space").set("key", "value", None)?;
    one.within("space").clear()?;
    assert!(!other.within("space").contains("key")?, "at once in this process");
    let error = Cache::from_url("gopher://host").unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("gopher"), "{error}");
    Ok(())
}

/// `threads`
#[test]
fn threads_see_whole_values() -> Result<(), Error> {
    let cache = &Cache::from_url("memory://")?;
    thread::scope(|scope| {
        for n in 0..8_u8 {
            scope.spawn(move || {
                for _ in 0..500 {
                    cache.set("key", &vec![n; 1000], None).unwrap();
                    let value: Vec<u8> = cache.get("key").unwrap().unwrap();
                    assert!(value.len() == 1000 && value.iter().all(|byte| *byte == value[0]));
                }
            });
        }
    });
    Ok(())
}

static ASKED: OnceLock<Cache> = OnceLock::new();

/// Asks the cache while it is encoded.
#[derive(Debug, PartialEq, Deserialize)]
struct Curious(u8);

impl Serialize for Curious {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cache = ASKED.get().unwrap();
        cache.get_or_set("other", None, || 1_u8);
        cache.set("another", "value", None).unwrap();
        serializer.serialize_newtype_struct("Curious", &self.0)
    }
}

/// `locking_on_pickle`
#[test]
fn a_value_may_ask_the_cache_while_it_is_encoded() -> Result<(), Error> {
    let cache = ASKED.get_or_init(|| Cache::from_url("memory://").unwrap());
    cache.set("key", &Curious(1), None)?;
    assert_eq!(cache.get_or_set("made", None, || Curious(2)), Curious(2));
    assert_eq!(cache.get::<Curious>("key")?, Some(Curious(1)));
    Ok(())
}
