//! A server that refuses something for good: one line in the log names the way out, `check` knows, and calls go on as well
//! as they can.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};
use cache_tests::fleet::ask;
use cache_tests::logged;
use cache_tests::proxy::Proxy;
use cache_tests::servers::RedisServer;

#[cached(backend = "redis", ttl = 60)]
fn now(id: u64) -> u64 {
    id
}

#[cached(backend = "redis", ttl = 60)]
async fn later(id: u64) -> u64 {
    id
}

#[cached(backend = "redis", ttl = 60, single_flight = "cluster")]
fn in_cluster(id: u64) -> u64 {
    id
}

/// The user that [`restricted`] makes, in a URL.
const APP: &str = "app:secret@";

/// A server whose user [`APP`] has only these rights.
fn restricted(rights: &str) -> RedisServer {
    let server = RedisServer::start();
    assert_eq!(ask(server.addr(), &format!("ACL SETUSER app on >secret {rights}")), "+OK");
    server
}

fn scope(address: SocketAddr, login: &str, query: &str) -> Scope {
    logged::start();
    let url = format!("redis://{login}{address}?timeout=2s{query}");
    Scope::with_config(Config::new().url("redis", &url)).unwrap()
}

/// Calls blocking and async functions: misses, hits, invalidations, and misses after those. Returns the hits on the server.
fn calls(scope: &Scope) -> u64 {
    let _entered = scope.enter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hits = || {
        [now::stats(), later::stats(), in_cluster::stats()]
            .iter()
            .map(|stats| stats.hits - stats.fallback_hits)
            .sum::<u64>()
    };
    let before = hits();
    for _ in 0..2 {
        for _ in 0..3 {
            assert_eq!((now(1), runtime.block_on(later(1)), in_cluster(1)), (1, 1, 1));
        }
        // What is refused is pending, or has been replaced.
        drop((now::invalidate(1), runtime.block_on(later::invalidate(1)), in_cluster::invalidate(1)));
    }
    hits() - before
}

/// What `check` says in `scope`; empty if all is well.
fn check(scope: &Scope) -> String {
    let _entered = scope.enter();
    cache_runtime::check().err().map(|errors| errors.to_string()).unwrap_or_default()
}

/// Whether the server has `SET … IFEQ` (Redis 8.4, Valkey 8.1), so that neither scripts nor transactions are needed.
fn has_compare_and_set(server: &RedisServer) -> bool {
    !ask(server.addr(), "SET unknown value IFEQ other").starts_with("-ERR syntax error")
}

/// All hits that [`calls`] can have.
const ALL: u64 = 3 * 2 * 2;

#[track_caller]
fn assert_told_once(address: SocketAddr, parts: &[&str]) {
    let lines = logged::containing(&address.to_string());
    assert_eq!(lines.len(), parts.len(), "{lines:#?}");
    for part in parts {
        assert!(lines.iter().any(|line| line.contains(part)), "no `{part}` in {lines:#?}");
    }
}

#[test]
fn a_full_server() {
    let server = RedisServer::start_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let scope = scope(server.addr(), "", "");
    assert_eq!(calls(&scope), 0);
    assert_told_once(server.addr(), &["maxmemory-policy allkeys-lru"]);
    assert!(check(&scope).contains("OOM"), "{}", check(&scope));
}

#[test]
fn a_server_that_can_not_save() {
    let server = RedisServer::start_with(&["--save", "3600 1000"]);
    fs::remove_dir_all(server.dir()).unwrap();
    assert!(ask(server.addr(), "BGSAVE").starts_with('+'));
    while !ask(server.addr(), "SET key value").starts_with("-MISCONF") {
        std::thread::yield_now();
    }
    let scope = scope(server.addr(), "", "");
    assert_eq!(calls(&scope), 0);
    assert_told_once(server.addr(), &["stop-writes-on-bgsave-error"]);
    assert!(check(&scope).contains("MISCONF"), "{}", check(&scope));
}

#[test]
fn a_replica() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    let port = primary.port();
    assert_eq!(ask(replica.addr(), &format!("REPLICAOF 127.0.0.1 {port}")), "+OK");
    let scope = scope(replica.addr(), "", "");
    calls(&scope);
    let lines = logged::containing(&replica.addr().to_string());
    let about_role = lines.iter().filter(|line| line.contains("name the primary")).count();
    assert_eq!(about_role, 1, "{lines:#?}");
    assert!(check(&scope).contains("name the primary"), "{}", check(&scope));
}

#[test]
fn a_user_without_one_of_the_commands_that_have_a_substitute() {
    for (denied, hits, told) in [
        ("-mget", ALL, &["no `MGET`"][..]),
        ("-eval", ALL, &["neither `SET … IFEQ`"]),
        // Nothing replaces the mark of an invalidation, and the cluster shares no runs.
        ("-eval -multi", ALL / 2, &["results that replace something are not stored"]),
        ("-eval -watch", ALL / 2, &["results that replace something are not stored"]),
        ("-eval -exec", ALL / 2, &["results that replace something are not stored"]),
    ] {
        let server = restricted(&format!("~* +@all {denied}"));
        let (hits, told) = match denied.contains("eval") && has_compare_and_set(&server) {
            true => (ALL, &[][..]),
            false => (hits, told),
        };
        let scope = scope(server.addr(), APP, "");
        assert_eq!(check(&scope), "", "{denied}");
        assert_eq!(calls(&scope), hits, "{denied}");
        assert_told_once(server.addr(), told);
        let says = check(&scope);
        assert_eq!(says.contains("single_flight"), hits < ALL, "{denied}: {says}");
    }
}

#[test]
fn a_user_without_one_of_the_commands_that_have_none() {
    for denied in ["-get", "-set", "-del"] {
        let server = restricted(&format!("~* +@all {denied}"));
        let scope = scope(server.addr(), APP, "");
        calls(&scope);
        let lines = logged::containing(&server.addr().to_string());
        assert!(lines.len() <= 1 && lines.iter().all(|line| line.contains("README")), "{denied}: {lines:#?}");
        assert!(check(&scope).contains("README"), "{denied}: {}", check(&scope));
        assert_eq!(logged::containing(&server.addr().to_string()).len(), 1, "{denied}");
    }
}

#[test]
fn a_renamed_script_command() {
    let server = RedisServer::start_with(&["--rename-command", "EVAL", ""]);
    let scope = scope(server.addr(), "", "");
    assert_eq!(calls(&scope), ALL);
    let told = ["neither `SET … IFEQ`"];
    assert_told_once(server.addr(), if has_compare_and_set(&server) { &[] } else { &told });
}

/// The rights that README lists, and the categories that people give instead.
#[test]
fn a_user_who_is_limited_to_the_prefix() {
    for (rights, hits) in [
        ("+get +mget +set +del +eval", ALL),
        ("+get +mget +set +del +watch +multi +exec", ALL),
        ("+@read +@write", ALL / 2),
    ] {
        let server = restricted(&format!("~shop:* {rights}"));
        let hits = if has_compare_and_set(&server) { ALL } else { hits };
        let scope = scope(server.addr(), APP, "&prefix=shop:");
        assert_eq!(check(&scope), "", "{rights}");
        assert_eq!(calls(&scope), hits, "{rights}");
        let elsewhere = self::scope(server.addr(), APP, "&prefix=other:");
        assert!(check(&elsewhere).contains("on all keys of the prefix"), "{}", check(&elsewhere));
    }
}

#[test]
fn a_node_of_a_cluster_says_that_it_is_one() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes", "--cluster-port", "0"]);
    assert_eq!(ask(server.addr(), "CLUSTER ADDSLOTSRANGE 0 16383"), "+OK");
    let deadline = Instant::now() + Duration::from_secs(20);
    while ask(server.addr(), "SET key value") != "+OK" {
        assert!(Instant::now() < deadline, "{}", ask(server.addr(), "CLUSTER INFO"));
        std::thread::yield_now();
    }
    let scope = scope(server.addr(), "", "");
    assert_eq!(calls(&scope), ALL);
    assert_told_once(server.addr(), &["a node of a Redis Cluster"]);
}

/// The old primary is a replica now, and answers on.
#[test]
fn a_failover_behind_a_name() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let name = Proxy::to(old.addr());
    let scope = scope(name.addr(), "", "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Several connections.
    std::thread::scope(|threads| {
        for n in 0..8 {
            let scope = scope.clone();
            threads.spawn(move || {
                let _entered = scope.enter();
                (0..50).for_each(|id| assert_eq!(now(n + id), n + id));
            });
        }
    });
    let _entered = scope.enter();
    assert_eq!(runtime.block_on(later(1)), 1);
    name.lead_to(new.addr());
    assert_eq!(ask(old.addr(), &format!("REPLICAOF 127.0.0.1 {}", new.port())), "+OK");
    let started = Instant::now();
    while now::invalidate(1).is_err() || runtime.block_on(later::invalidate(1)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(5), "writes still go to the old primary");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::scope(|threads| {
        for _ in 0..8 {
            let scope = scope.clone();
            threads.spawn(move || {
                let _entered = scope.enter();
                (0..50).for_each(|id| now::invalidate(id).unwrap());
            });
        }
    });
    assert_eq!(runtime.block_on(later::invalidate(1)).map_err(|error| error.to_string()), Ok(()));
}
