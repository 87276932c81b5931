//! `lookup` calls the function, and tells where the value comes from.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cache_runtime::testing::Scope;
use cache_runtime::{Config, Origin, cached};

#[cached(ttl = 60)]
fn plain(n: u64) -> Option<u64> {
    (n > 0).then_some(n)
}

#[test]
fn an_entry_in_memory_or_a_run() {
    let scope = Scope::new();
    let _entered = scope.enter();
    assert_eq!(plain::lookup(1), (Some(1), Origin::Run));
    assert_eq!(plain::lookup(1), (Some(1), Origin::Memory));
    assert_eq!(plain(1), Some(1));
    assert_eq!(plain::lookup(0), (None, Origin::Run));
    assert_eq!(plain::lookup(0), (None, Origin::Run), "not stored");
    let stats = plain::stats();
    assert_eq!((stats.hits, stats.misses, stats.runs), (2, 3, 3), "it counts as a call");
}

static FAILS: AtomicBool = AtomicBool::new(false);

#[cached(ttl = 60, stale = "1h")]
fn fallible(n: &u64) -> Result<u64, ()> {
    if FAILS.load(SeqCst) { Err(()) } else { Ok(*n) }
}

#[test]
fn a_stale_entry() {
    let scope = Scope::new();
    let _entered = scope.enter();
    assert_eq!(fallible::lookup(&1), (Ok(1), Origin::Run));
    FAILS.store(true, SeqCst);
    scope.advance(Duration::from_secs(61));
    assert_eq!(fallible::lookup(&1), (Ok(1), Origin::Stale));
    assert_eq!(fallible::lookup(&2), (Err(()), Origin::Run));
    assert_eq!(fallible(&1), Ok(1));
}

struct Users {
    tenant: u64,
}

impl Users {
    #[cached(key = (self.tenant, id))]
    fn user<T: Clone + Send + Sync + serde::Serialize + 'static>(&self, id: T) -> T {
        id
    }
}

#[test]
fn of_generic_methods_too() {
    let scope = Scope::new();
    let _entered = scope.enter();
    let users = Users { tenant: 1 };
    assert_eq!(users.user_lookup(7), (7, Origin::Run));
    assert_eq!(users.user_lookup(7), (7, Origin::Memory));
    assert_eq!(users.user_lookup("7"), ("7", Origin::Run));
    assert_eq!(users.user(7), 7);
}

#[test]
fn a_run_of_another_call() {
    static RUNS: AtomicU64 = AtomicU64::new(0);

    #[cached(ttl = 60)]
    fn slow() -> u64 {
        let run = RUNS.fetch_add(1, SeqCst) + 1;
        while slow::stats().misses < 2 {
            std::thread::yield_now();
        }
        run
    }

    let scope = Scope::new();
    let call = || {
        let _entered = scope.enter();
        slow::lookup()
    };
    let mut both = std::thread::scope(|threads| {
        [threads.spawn(call), threads.spawn(call)].map(|thread| thread.join().unwrap())
    });
    both.sort_by_key(|(_, origin)| *origin == Origin::Waited);
    assert_eq!(both, [(1, Origin::Run), (1, Origin::Waited)]);
    let _entered = scope.enter();
    assert_eq!(slow(), 1);
}

#[test]
fn a_backend() {
    #[cached(backend = "store", ttl = 60)]
    fn stored(n: u64) -> u64 {
        n
    }

    let scope = Scope::with_config(Config::new().url("store", "memory://")).unwrap();
    let _entered = scope.enter();
    assert_eq!(stored::lookup(1), (1, Origin::Run));
    assert_eq!(stored::lookup(1), (1, Origin::Server));
    assert_eq!(stored(1), 1);
}

#[cfg(feature = "servers")]
mod servers {
    use super::*;
    use cache_tests::servers::RedisServer;

    #[cached(backend = "redis", ttl = 60)]
    async fn stored(n: u64) -> u64 {
        n
    }

    #[cached(backend = "redis", ttl = 60)]
    fn blocking(n: u64) -> u64 {
        n
    }

    #[test]
    fn a_server_and_what_is_kept_without_it() {
        let server = RedisServer::start();
        let config = Config::new().url("redis", &server.url()).timeout(Duration::from_secs(5));
        let scope = Scope::with_config(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(scope.run(async {
            assert_eq!(stored::lookup(1).await, (1, Origin::Run));
            assert_eq!(stored::lookup(1).await, (1, Origin::Server));
            assert_eq!(stored(1).await, 1);
        }));
        let _entered = scope.enter();
        assert_eq!(blocking::lookup(1), (1, Origin::Run));
        assert_eq!(blocking::lookup(1), (1, Origin::Server));
        assert_eq!(blocking(1), 1);
        drop(server);
        assert_eq!(blocking::lookup(2), (2, Origin::Run));
        assert_eq!(blocking::lookup(2), (2, Origin::Fallback));
    }
}
