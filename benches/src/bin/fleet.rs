//! What TLS adds to a hit on Redis, and what a cluster adds to a read of many keys.

use cache_benches::load::{KEYS, runtime, small};
use cache_benches::{Case, Goal, Part, Settings};
use cache_runtime::{AsyncCache, Cache, Config};
use cache_tests::authority::Authority;
use cache_tests::fleet::RedisCluster;
use cache_tests::servers::RedisServer;

#[cache_runtime::cached(backend = "plain", ttl = 3600)]
fn plain(id: u64) -> String {
    small(id)
}

#[cache_runtime::cached(backend = "tls", ttl = 3600)]
fn over_tls(id: u64) -> String {
    small(id)
}

#[cache_runtime::cached(backend = "plain", ttl = 3600)]
async fn plain_async(id: u64) -> String {
    small(id)
}

#[cache_runtime::cached(backend = "tls", ttl = 3600)]
async fn over_tls_async(id: u64) -> String {
    small(id)
}

fn tls(part: &mut Part, server: &RedisServer) {
    let (settings, goals) = (Settings::waiting(&[server.pid()]).in_pieces(15), [Goal::time("plain", 1.15)]);
    part.compare(
        "Redis over TLS, one blocking caller, 100 bytes",
        &settings,
        &goals,
        vec![
            Case::each("TLS", |index| over_tls(index % KEYS)),
            Case::each("plain", |index| plain(index % KEYS)),
        ],
    );
    let runtime = runtime(1);
    part.compare(
        "Redis over TLS, one task, 100 bytes",
        &settings,
        &goals,
        vec![
            Case::each("TLS", |index| runtime.block_on(over_tls_async(index % KEYS))),
            Case::each("plain", |index| runtime.block_on(plain_async(index % KEYS))),
        ],
    );
}

fn cluster(part: &mut Part, server: &RedisServer) {
    let nodes = RedisCluster::start(3);
    let keys: Vec<String> = (0..100).map(|n| format!("key {n}")).collect();
    let keys = || keys.iter().map(String::as_str);
    let value = small(1);
    let pids: Vec<u32> = nodes.nodes.iter().map(|node| node.pid()).chain([server.pid()]).collect();
    let (settings, goals) = (Settings::waiting(&pids).in_pieces(15), [Goal::time("one server", 1.3)]);
    let cache = |url: &str| {
        let cache = Cache::from_url(url).expect("the URL is right");
        cache.set_many(keys().map(|key| (key, &value)), None).expect("the server stores");
        cache
    };
    let (three, one) = (cache(&nodes.url()), cache(&server.url()));
    let get = |cache: &Cache| {
        let found = cache.get_many::<String>(keys()).expect("the servers answer");
        assert_eq!(found.len(), 100);
    };
    part.compare(
        "100 keys of 100 bytes, one blocking caller",
        &settings,
        &goals,
        vec![
            Case::each("a cluster of three nodes", |_| get(&three)),
            Case::each("one server", |_| get(&one)),
        ],
    );
    let runtime = runtime(1);
    let cache = |url: &str| AsyncCache::from_url(url).expect("the URL is right");
    let (three, one) = (cache(&nodes.url()), cache(&server.url()));
    let get = |cache: &AsyncCache| {
        let found = runtime.block_on(cache.get_many::<String>(keys())).expect("the servers answer");
        assert_eq!(found.len(), 100);
    };
    part.compare(
        "100 keys of 100 bytes, one task",
        &settings,
        &goals,
        vec![
            Case::each("a cluster of three nodes", |_| get(&three)),
            Case::each("one server", |_| get(&one)),
        ],
    );
}

fn main() {
    let mut part = Part::new("fleet");
    let authority = Authority::new();
    let server = RedisServer::start_tls(&authority, &authority.issue("127.0.0.1"), &[]);
    let config = Config::new().url("plain", &server.url()).url("tls", &server.tls_url(&authority));
    config.install().expect("the settings are right");
    tls(&mut part, &server);
    cluster(&mut part, &server);
    part.finish();
}
