//! On real servers: the behaviors, round trips, outages and many callers at once.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{Cache, Config, Error, ErrorKind};
use cache_tests::proxy::{Fault, Proxy};
use cache_tests::servers::{MemcachedServer, RedisServer};

use crate::rows;

#[test]
fn redis_behaves() {
    let server = RedisServer::start();
    rows::on(Config::new(), &server.url(), true);
}

#[test]
fn memcached_behaves() {
    let server = MemcachedServer::start();
    rows::on(Config::new(), &server.url(), true);
}

#[test]
fn three_memcached_behave() {
    let servers: [_; 3] = std::array::from_fn(|_| MemcachedServer::start());
    let hosts = servers.each_ref().map(|server| server.addr().to_string()).join(",");
    rows::on(Config::new(), &format!("memcached://{hosts}"), true);
}

/// `get_many.one_trip`, `set_many.one_trip`, `delete_many.one_trip`, and every other call.
fn takes_one_trip(scheme: &str, server: std::net::SocketAddr) {
    let proxy = Proxy::to(server);
    // The generation is read twice a second; here time stands still.
    let scope = Scope::with_config(Config::new()).unwrap();
    let _entered = scope.enter();
    let cache = Cache::from_url(&format!("{scheme}://{}?timeout=10s", proxy.addr())).unwrap();
    cache.set("n", &1_i64, None).unwrap();
    let keys: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let keys = || keys.iter().map(String::as_str);
    let trips = |what: &str, call: &dyn Fn()| {
        let before = proxy.requests();
        call();
        assert_eq!(proxy.requests() - before, 1, "{what}");
    };
    trips("set_many", &|| cache.set_many(keys().map(|key| (key, key)), None).unwrap());
    trips("get_many", &|| assert_eq!(cache.get_many::<String>(keys()).unwrap().len(), 100));
    trips("delete_many", &|| assert_eq!(cache.delete_many(keys()).unwrap(), 100));
    trips("set", &|| cache.set("key", "value", None).unwrap());
    trips("get", &|| assert!(cache.get::<String>("key").unwrap().is_some()));
    trips("add", &|| assert!(!cache.add("key", "value", None).unwrap()));
    trips("contains", &|| assert!(cache.contains("key").unwrap()));
    trips("touch", &|| assert!(cache.touch("key", Duration::from_secs(9)).unwrap()));
    trips("persist", &|| assert!(cache.persist("key").unwrap()));
    trips("ttl", &|| assert!(cache.ttl("key").unwrap().is_some()));
    trips("incr", &|| assert_eq!(cache.incr("n", 1).unwrap(), Some(2)));
    trips("delete", &|| assert!(cache.delete("key").unwrap()));
}

#[test]
fn each_call_takes_one_trip() {
    let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
    takes_one_trip("redis", redis.addr());
    takes_one_trip("memcached", memcached.addr());
}

/// `add` and `incr` are sent once: whoever gets no answer can't know whether they were performed.
#[test]
fn no_increment_is_sent_again() {
    let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
    for (scheme, server) in [("redis", redis.addr()), ("memcached", memcached.addr())] {
        let proxy = Proxy::to(server);
        let cache = Cache::from_url(&format!("{scheme}://{}", proxy.addr())).unwrap();
        let direct = Cache::from_url(&format!("{scheme}://{server}")).unwrap();
        cache.set("n", &0_i64, None).unwrap();
        let before = proxy.requests();
        proxy.set(Fault::HalfOpen);
        assert_eq!(cache.incr("n", 1).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(proxy.requests() - before, 1, "{scheme}");
        assert_eq!(direct.get::<i64>("n").unwrap(), Some(1), "{scheme}");
    }
}

/// `failed_set_deletes`: what a failed write was to replace is gone when the server is back.
#[test]
fn a_failed_write_leaves_nothing() {
    let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
    for (scheme, server) in [("redis", redis.addr()), ("memcached", memcached.addr())] {
        let proxy = Proxy::to(server);
        let cache = Cache::from_url(&format!("{scheme}://{}?timeout=100ms", proxy.addr())).unwrap();
        let direct = Cache::from_url(&format!("{scheme}://{server}")).unwrap();
        let keys = ["set", "deleted", "zero", "many"];
        keys.iter().for_each(|key| cache.set(key, "old", None).unwrap());
        proxy.set(Fault::Silence);
        cache.set("set", "new", None).unwrap_err();
        cache.delete("deleted").unwrap_err();
        cache.touch("zero", Duration::ZERO).unwrap_err();
        let failed = cache.set_many([("many", "new")], None).unwrap_err();
        assert!(failed.to_string().contains("`many`"), "{failed}");
        proxy.set(Fault::None);
        // The breaker closes soon, and from then on nothing old is served here.
        until(|| cache.contains("other").is_ok());
        for key in keys {
            assert_ne!(cache.get::<String>(key).unwrap().as_deref(), Some("old"), "{scheme}: {key}");
        }
        until(|| keys.iter().all(|key| !direct.contains(key).unwrap()));
        assert!(cache.add("set", "newer", None).unwrap());
        assert_eq!(direct.get::<String>("set").unwrap().as_deref(), Some("newer"));
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "in vain");
        thread::sleep(Duration::from_millis(10));
    }
}

/// `down.get`, and results that stay in the process.
#[test]
fn results_stay_while_the_server_is_down() {
    let url = RedisServer::start().url();
    let cache = Cache::from_url(&url).unwrap();
    assert_eq!(cache.get::<u8>("n").unwrap_err().kind(), ErrorKind::Unavailable);
    for _ in 0..3 {
        assert_eq!(cache.get_or_set("n", None, || 1_u8), 1);
    }
    let runs = AtomicUsize::new(0);
    for _ in 0..10 {
        cache.get_or_set("m", None, || runs.fetch_add(1, Ordering::SeqCst));
    }
    assert_eq!(runs.into_inner(), 1);
    cache.set("m", &5_usize, None).unwrap_err();
    assert_eq!(cache.get_or_set("m", None, || 7_usize), 7, "what was kept is old");
}

/// `clear` in another process: here another cache of the same server.
#[test]
fn a_clear_is_noticed_elsewhere() {
    let server = RedisServer::start();
    let [one, other] = [(); 2].map(|()| Cache::from_url(&server.url()).unwrap());
    one.set("key", "value", None).unwrap();
    one.within("tenant").set("n", &1_i64, None).unwrap();
    assert!(other.contains("key").unwrap() && other.within("tenant").contains("n").unwrap());
    one.clear().unwrap();
    thread::sleep(Duration::from_millis(600));
    assert!(!other.contains("key").unwrap() && !other.within("tenant").contains("n").unwrap());
    assert!(other.add("key", "new", None).unwrap());
    assert_eq!(one.get::<String>("key").unwrap().as_deref(), Some("new"));
}

/// `incr.atomic`: eight processes add 10^5 each, and lose none.
#[test]
fn no_increment_is_lost() {
    let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
    for url in [redis.url(), memcached.url()] {
        let url = format!("{url}?timeout=10s");
        let cache = Cache::from_url(&url).unwrap();
        cache.set("n", &0_i64, None).unwrap();
        let adder = || Command::new(env!("CARGO_BIN_EXE_adder")).args([&url, "100000"]).spawn().unwrap();
        let adders: Vec<_> = (0..8).map(|_| adder()).collect();
        adders.into_iter().for_each(|mut adder| assert!(adder.wait().unwrap().success()));
        assert_eq!(cache.get::<i64>("n").unwrap(), Some(800_000));
    }
}

#[test]
fn one_of_a_thousand_adds_wins() {
    let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for url in [redis.url(), memcached.url()] {
        let cache = cache_runtime::AsyncCache::from_url(&format!("{url}?timeout=10s")).unwrap();
        let winners = runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0..1000_u32 {
                let cache = cache.clone();
                tasks.spawn(async move { cache.add("one", &n, None).await.unwrap() });
            }
            tasks.join_all().await.into_iter().filter(|won| *won).count()
        });
        assert_eq!(winners, 1);
    }
}

/// `stampede`: 32 callers run the body once, blocking and async.
#[test]
fn callers_share_a_run() {
    let server = RedisServer::start();
    let url = format!("{}?timeout=10s", server.url());
    let runs = Arc::new(AtomicUsize::new(0));
    let cache = Cache::from_url(&url).unwrap();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let made = cache.get_or_set("threads", None, || {
                    thread::sleep(Duration::from_millis(100));
                    runs.fetch_add(1, Ordering::SeqCst)
                });
                assert_eq!(made, 0);
            });
        }
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cache = cache_runtime::AsyncCache::from_url(&url).unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let (cache, runs) = (cache.clone(), runs.clone());
            tasks.spawn(async move {
                let body = async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    runs.fetch_add(1, Ordering::SeqCst)
                };
                assert_eq!(cache.get_or_set("tasks", None, body).await, 1);
            });
        }
        tasks.join_all().await;
    });
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

/// A panic or a cancellation leaves the run to a caller that waits.
#[test]
fn a_run_that_breaks_off_is_taken_over() {
    let cache = Cache::from_url("memory://").unwrap();
    let panicked = thread::scope(|scope| {
        let first = scope.spawn(|| cache.get_or_set("key", None, || -> u8 { panic!("as a test") }));
        first.join().is_err()
    });
    assert!(panicked);
    assert_eq!(cache.get_or_set("key", None, || 2_u8), 2);
    // A call inside the run of its own key runs alone.
    assert_eq!(cache.get_or_set("self", None, || cache.get_or_set("self", None, || 3_u8)), 3);
}

#[tokio::test]
async fn a_run_that_is_canceled_is_taken_over() {
    let cache = cache_runtime::AsyncCache::from_url("memory://").unwrap();
    let leads = cache.clone();
    let leader =
        tokio::spawn(async move { leads.get_or_set("key", None, std::future::pending::<u8>()).await });
    tokio::task::yield_now().await;
    let waits = cache.clone();
    let waiter = tokio::spawn(async move { waits.get_or_set("key", None, async { 2_u8 }).await });
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished(), "it waits for the first");
    leader.abort();
    assert_eq!(waiter.await.unwrap(), 2);
}

/// `types.mixed_dict`
#[test]
fn self_describing_codecs_are_chosen_by_url() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Mixed {
        Number(u8),
        Text(String),
    }
    let values = vec![Mixed::Number(1), Mixed::Text("x".to_owned())];
    for codec in ["msgpack", "json"] {
        let cache = Cache::from_url(&format!("memory://?codec={codec}")).unwrap();
        cache.set("mixed", &values, None).unwrap();
        assert_eq!(cache.get::<Vec<Mixed>>("mixed").unwrap().as_ref(), Some(&values), "{codec}");
    }
    let plain = Cache::from_url("memory://").unwrap();
    let error = plain.set("mixed", &values, None).unwrap_err();
    assert!(error.to_string().contains("?codec=msgpack"), "{error}");
}

#[test]
fn memory_stands_in_for_servers() -> Result<(), Error> {
    let nowhere = "memcached://127.0.0.1:1?timeout=10s";
    // As in a `static`.
    let outside = [Cache::from_url(nowhere)?, Cache::named("redis")?];
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
    for cache in outside {
        cache.within("space").set("key", "value", None)?;
        assert!(cache.within("space").contains("key")? && !cache.contains("key")?);
    }
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
