//! Redis Clusters and sentinels: what calls see while primaries die, stand still and hand over, and while slots move.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{Cache, Config, Origin, cached};
use cache_tests::fleet::{RedisCluster, RedisSentinels, ask, ask_all};
use cache_tests::logged;

/// The time that a call may spend on the cache.
const BUDGET: Duration = Duration::from_millis(200);

/// What a busy machine adds to it.
const SLACK: Duration = Duration::from_secs(5);

/// How long a failover may take, with what a busy machine adds.
const FAILOVER: Duration = Duration::from_secs(30);

const IDS: u64 = 60;

#[cached(backend = "shared", ttl = 600)]
fn now(id: u64) -> u64 {
    id * 7
}

#[cached(backend = "shared", ttl = 600)]
async fn later(id: u64) -> u64 {
    id * 7
}

fn scope(url: &str) -> Scope {
    scope_with(url, BUDGET)
}

fn scope_with(url: &str, budget: Duration) -> Scope {
    logged::start();
    let url = format!("{url}{}timeout={budget:?}", if url.contains('?') { '&' } else { '?' });
    Scope::with_config(Config::new().url("shared", &url)).unwrap()
}

/// Calls functions from threads and tasks until it is dropped, and checks what they return and how long they take.
struct Load<'s> {
    is_over: &'s AtomicBool,
}

impl<'s> Load<'s> {
    fn start(threads: &'s std::thread::Scope<'s, '_>, scope: &Scope, is_over: &'s AtomicBool) -> Self {
        let check = |started: Instant, id: u64, value: u64| {
            assert_eq!(value, id * 7, "a wrong value");
            assert!(started.elapsed() < BUDGET + SLACK, "a call took {:?}", started.elapsed());
        };
        for seed in 0..3 {
            let scope = scope.clone();
            threads.spawn(move || {
                let _entered = scope.enter();
                let mut ids = (0..IDS).cycle().skip(seed * 11);
                while !is_over.load(Ordering::Relaxed) {
                    let (started, id) = (Instant::now(), ids.next().unwrap());
                    check(started, id, now(id));
                    std::thread::sleep(Duration::from_micros(300));
                }
            });
        }
        let scope = scope.clone();
        threads.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(scope.run(async {
                let task = async |seed: usize| {
                    let mut ids = (0..IDS).cycle().skip(seed * 7);
                    while !is_over.load(Ordering::Relaxed) {
                        let (started, id) = (Instant::now(), ids.next().unwrap());
                        check(started, id, later(id).await);
                        tokio::time::sleep(Duration::from_micros(300)).await;
                    }
                };
                tokio::join!(task(0), task(1), task(2), task(3));
            }));
        });
        Self { is_over }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// The ids whose entries are on the node `n` of a cluster whose primaries have as many slots each.
fn ids_on(cluster: &RedisCluster, scope: &Scope, n: usize, primaries: usize) -> Vec<u64> {
    let _entered = scope.enter();
    let slot = |id: &u64| {
        let said = ask(cluster.nodes[n].addr(), &format!("CLUSTER KEYSLOT {}", now::key(*id)));
        said.trim_start_matches(':').parse::<usize>().unwrap()
    };
    let slots = n * 16_384 / primaries..(n + 1) * 16_384 / primaries;
    (0..IDS).filter(|id| slots.contains(&slot(id))).collect()
}

/// How many of these calls are answered by the server.
fn hits(scope: &Scope, ids: impl IntoIterator<Item = u64>) -> usize {
    let _entered = scope.enter();
    ids.into_iter().filter(|id| now::lookup(*id).1 == Origin::Server).count()
}

/// Entries hit whose nodes are alive. The generation of the few at the end of a node's range is on the node beside it.
fn assert_most_hit(scope: &Scope, ids: &[u64]) {
    let hits = hits(scope, ids.iter().copied());
    assert!(hits * 10 >= ids.len() * 9, "{hits} of {} hits", ids.len());
}

fn warm_up(scope: &Scope) {
    let _entered = scope.enter();
    (0..IDS).for_each(|id| assert_eq!(now(id), id * 7));
    assert_eq!(hits(scope, 0..IDS), IDS as usize);
}

/// Waits until `is_so`.
fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_primary_dies_under_load() {
    let mut cluster = RedisCluster::start_with_replicas(3);
    let (scope, other) = (scope(&cluster.url()), scope(&cluster.url()));
    warm_up(&scope);
    let lost = ids_on(&cluster, &scope, 0, 3);
    let kept: Vec<u64> = (0..IDS).filter(|id| !lost.contains(id)).collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let _load = Load::start(threads, &scope, &is_over);
        cluster.nodes[0].kill();
        // Once the breaker of the dead node is open, only its keys miss.
        until("its breaker opens", FAILOVER, || {
            let _entered = scope.enter();
            lost.iter().all(|id| now::peek(*id).is_err())
        });
        assert_most_hit(&scope, &kept);
        cluster.wait_for_failover(0);
        until("hits are back", FAILOVER, || hits(&scope, 0..IDS) == IDS as usize);
    });
    {
        let _entered = other.enter();
        until("invalidations are accepted", FAILOVER, || (0..IDS).all(|id| now::invalidate(id).is_ok()));
    }
    // They have reached all nodes.
    let _entered = scope.enter();
    assert!((0..IDS).all(|id| now::lookup(id) == (id * 7, Origin::Run)));
    now::clear().unwrap();
    assert!((0..IDS).all(|id| now::lookup(id) == (id * 7, Origin::Run)));
}

#[test]
fn a_frozen_node_costs_only_its_own_keys() {
    let cluster = RedisCluster::start(3);
    let scope = scope(&cluster.url());
    warm_up(&scope);
    let frozen = ids_on(&cluster, &scope, 1, 3);
    assert!(!frozen.is_empty() && frozen.len() < IDS as usize);
    cluster.nodes[1].freeze();
    {
        let _entered = scope.enter();
        // One call finds out, and the others of its keys are rejected at once.
        assert!(frozen.iter().all(|id| now::peek(*id).is_err()));
        let others: Vec<u64> = (0..IDS).filter(|id| !frozen.contains(id)).collect();
        assert_most_hit(&scope, &others);
    }
    cluster.nodes[1].thaw();
    until("hits are back", FAILOVER, || hits(&scope, 0..IDS) == IDS as usize);
}

/// Slots whose keys are in use move to and fro. A key is on one node or the other, so every call hits.
#[test]
fn slots_move_under_load() {
    let cluster = RedisCluster::start(3);
    // Nodes write to their disks when slots move.
    let scope = scope_with(&cluster.url(), SLACK);
    warm_up(&scope);
    let slots: Vec<(usize, usize)> = {
        let _entered = scope.enter();
        let slot = |id: u64| {
            let said = ask(cluster.nodes[0].addr(), &format!("CLUSTER KEYSLOT {}", now::key(id)));
            said.trim_start_matches(':').parse::<usize>().unwrap()
        };
        let own = |slot: usize| (0..3).find(|n| slot < (n + 1) * 16_384 / 3).unwrap();
        (0..IDS).step_by(3).map(|id| (slot(id), own(slot(id)))).collect()
    };
    let before = {
        let _entered = scope.enter();
        now::stats()
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let _load = Load::start(threads, &scope, &is_over);
        for (slot, own) in &slots {
            cluster.move_slot(*slot, *own, (own + 1) % 3);
        }
        for (slot, own) in &slots {
            cluster.move_slot(*slot, (own + 1) % 3, *own);
        }
    });
    let _entered = scope.enter();
    let stats = now::stats();
    assert_eq!((stats.runs, stats.errors), (before.runs, 0), "{stats:?}");
}

/// A key that is about to move is on either node, whoever is asked.
#[test]
fn a_slot_half_way() {
    let cluster = RedisCluster::start(2);
    let cache = Cache::from_url(&cluster.url()).unwrap();
    let keys: Vec<String> = (0..10).map(|n| format!("{{half}}{n}")).collect();
    let slot = ask(cluster.nodes[0].addr(), "CLUSTER KEYSLOT half");
    let slot: usize = slot.trim_start_matches(':').parse().unwrap();
    let (from, to) = if slot < 8192 { (0, 1) } else { (1, 0) };
    let id = |n: usize| ask_all(cluster.nodes[n].addr(), "CLUSTER MYID").lines().nth(1).unwrap().to_owned();
    for key in &keys[..5] {
        cache.set(key, &1_u64, None).unwrap();
    }
    let (source, target) = (cluster.nodes[from].addr(), cluster.nodes[to].addr());
    assert_eq!(ask(target, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from))), "+OK");
    assert_eq!(ask(source, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to))), "+OK");
    // Those that are new are made on the target.
    for key in &keys[5..] {
        assert!(cache.add(key, &2_u64, None).unwrap());
    }
    assert_eq!(ask(target, "DBSIZE"), ":5");
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = cache.get_many::<u64>(keys.iter().copied()).unwrap();
    assert_eq!((found.len(), found.values().sum::<u64>()), (10, 15));
    assert_eq!(cache.delete_many(keys).unwrap(), 10);
}

#[test]
fn any_node_leads_to_the_cluster() {
    let mut cluster = RedisCluster::start(3);
    let url = cluster.url();
    let first = ids_on(&cluster, &scope(&url), 0, 3);
    cluster.nodes[0].kill();
    let scope = scope(&url);
    let _entered = scope.enter();
    let others: Vec<u64> = (0..IDS).filter(|id| !first.contains(id)).collect();
    others.iter().for_each(|id| assert_eq!(now(*id), id * 7));
    assert_most_hit(&scope, &others);
}

/// What is no cluster says so, and a cluster names no other database.
#[test]
fn wrong_urls_are_errors_of_check() {
    let server = cache_tests::servers::RedisServer::start();
    let scope = scope(&format!("redis+cluster://{}", server.addr()));
    let _entered = scope.enter();
    let error = cache_runtime::check().unwrap_err().to_string();
    assert!(error.contains("write `redis://`"), "{error}");
}

#[test]
fn a_primary_that_sentinels_watch_dies_under_load() {
    let mut servers = RedisSentinels::start("secret", "other");
    let url = format!("redis+sentinel://:secret@{}/main?sentinel_password=other", servers.hosts());
    let scope = scope(&url);
    warm_up(&scope);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let _load = Load::start(threads, &scope, &is_over);
        servers.primary.kill();
        let promoted = || ask_all(servers.replica.addr(), "AUTH secret\r\nROLE").contains("master");
        until("the replica takes over", FAILOVER, promoted);
        until("hits are back", FAILOVER, || hits(&scope, 0..IDS) == IDS as usize);
        // The old primary comes back, and becomes a replica of the new one.
        servers.primary.restart();
        let follows = || ask_all(servers.primary.addr(), "AUTH secret\r\nROLE").contains("slave");
        until("the old primary follows", FAILOVER, follows);
        let _entered = scope.enter();
        until("invalidations are accepted", FAILOVER, || (0..IDS).all(|id| now::invalidate(id).is_ok()));
    });
    let _entered = scope.enter();
    (0..IDS).for_each(|id| assert_eq!(now(id), id * 7));
    assert_eq!(hits(&scope, 0..IDS), IDS as usize);
}

#[test]
fn an_unknown_name_of_a_primary() {
    let servers = RedisSentinels::start("secret", "other");
    for (url, expected) in [
        (format!("redis+sentinel://:secret@{}/mian?sentinel_password=other", servers.hosts()), "`mian`"),
        (
            format!("redis+sentinel://:secret@{}/main?sentinel_password=hunter2", servers.hosts()),
            "refused the user",
        ),
        (
            format!("redis+sentinel://:hunter2@{}/main?sentinel_password=other", servers.hosts()),
            "refused the user",
        ),
    ] {
        let scope = scope(&url);
        let _entered = scope.enter();
        let error = cache_runtime::check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("secret"), "{error}");
    }
}
