//! TLS, and Memcached's users: who is trusted, and what everybody else is told.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{
    AsyncBackend, Backend, Cache, Config, ErrorKind, Memcached, Origin, Redis, SetOptions, cached,
};
use cache_tests::authority::Authority;
use cache_tests::fleet::{RedisCluster, ask_all};
use cache_tests::logged;
use cache_tests::servers::{MemcachedServer, RedisServer};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

#[cached(backend = "shared", ttl = 60)]
fn now(id: u64) -> u64 {
    id
}

#[cached(backend = "shared", ttl = 60)]
async fn later(id: u64) -> u64 {
    id
}

fn scope(url: &str) -> Scope {
    logged::start();
    Scope::with_config(Config::new().url("shared", url)).unwrap()
}

/// Whether a blocking and an async call hit the second time.
fn hits(url: &str) -> bool {
    let scope = scope(url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = scope.enter();
    assert_eq!((now(1), runtime.block_on(later(1))), (1, 1));
    let again = (now::lookup(1).1, runtime.block_on(scope.run(later::lookup(1))).1);
    if again != (Origin::Server, Origin::Server) {
        eprintln!("{:?}", cache_runtime::check());
    }
    again == (Origin::Server, Origin::Server)
}

/// What `check` says, which is what blocking and async calls are told.
fn problem(url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scope = scope(url);
    let said = {
        let _entered = scope.enter();
        cache_runtime::check().unwrap_err().to_string()
    };
    let soon = || Instant::now() + Duration::from_secs(10);
    let (blocking, task) = if url.starts_with("redis") {
        let redis = Redis::from_url(url).unwrap();
        (Backend::get(&redis, b"k", soon()), runtime.block_on(AsyncBackend::get(&redis, b"k", soon())))
    } else {
        let memcached = Memcached::from_url(url).unwrap();
        (
            Backend::get(&memcached, b"k", soon()),
            runtime.block_on(AsyncBackend::get(&memcached, b"k", soon())),
        )
    };
    for error in [blocking.unwrap_err(), task.unwrap_err()] {
        let first = error.to_string();
        let first = first.split(" (").next().unwrap();
        assert!(said.contains(first), "{said}\n{first}");
    }
    said
}

#[test]
fn a_server_with_a_trusted_certificate() {
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1");
    let redis = RedisServer::start_tls(&authority, &identity, &["--requirepass", "secret"]);
    let url = redis.tls_url(&authority).replace("rediss://", "rediss://:secret@") + "&timeout=5s";
    assert!(hits(&url));
    assert!(hits(&url.replace("rediss://", "valkeys://")));
    assert!(problem(&url.replace("secret@", "wrong@")).contains("refused the user"));
    let memcached = MemcachedServer::start_tls(&identity);
    assert!(hits(&(memcached.tls_url(&authority) + "&timeout=5s")));
}

#[test]
fn a_name_that_is_not_the_hosts() {
    let authority = Authority::new();
    let identity = authority.issue("cache.example");
    let redis = RedisServer::start_tls(&authority, &identity, &[]);
    let url = redis.tls_url(&authority) + "&timeout=5s";
    let said = problem(&url);
    assert!(said.contains("certificate for another name") && said.contains("`server_name`"), "{said}");
    assert!(hits(&(url.clone() + "&server_name=cache.example")));
    assert!(hits(&(url + "&verify=false")));
    assert_eq!(logged::containing("`verify=false` trusts any server").len(), 1);
}

#[test]
fn who_is_not_trusted_is_told_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = RedisServer::start_tls(&authority, &authority.issue("127.0.0.1"), &[]);
    let url = |ca: &str| redis.tls_url(&authority).replace(&authority.ca(), ca) + "&timeout=5s";
    assert!(problem(&url(&other.ca())).contains("certificate of an unknown authority"));
    assert!(problem(&url("/no/such/file")).contains("the file `/no/such/file` of `ca`"));
    let empty = authority.dir().join("empty.pem").display().to_string();
    fs::write(&empty, "").unwrap();
    assert!(problem(&url(&empty)).contains("no certificate in it"));
    let expired = RedisServer::start_tls(&authority, &authority.issue_expired("127.0.0.1"), &[]);
    assert!(problem(&(expired.tls_url(&authority) + "&timeout=5s")).contains("certificate out of date"));
    let memcached = MemcachedServer::start_tls(&authority.issue("127.0.0.1"));
    let url = memcached.tls_url(&authority).replace(&authority.ca(), &other.ca()) + "&timeout=5s";
    assert!(problem(&url).contains("certificate of an unknown authority"));
}

/// What fails for good opens the breaker, and is in the log once.
#[test]
fn an_untrusted_server_is_in_the_log_once() {
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = RedisServer::start_tls(&authority, &authority.issue("127.0.0.1"), &[]);
    let url = redis.tls_url(&authority).replace(&authority.ca(), &other.ca()) + "&timeout=5s";
    let scope = scope(&url);
    let _entered = scope.enter();
    (0..50).for_each(|id| assert_eq!(now(id), id));
    let port = redis.tls_port().unwrap().to_string();
    assert_eq!(logged::containing(&port).len(), 1, "{:?}", logged::containing(&port));
}

#[test]
fn both_ends_have_certificates() {
    let authority = Authority::new();
    let server = authority.issue("127.0.0.1");
    let redis = RedisServer::start_tls(&authority, &server, &["--tls-auth-clients", "yes"]);
    let url = redis.tls_url(&authority) + "&timeout=5s";
    let said = problem(&url);
    assert!(
        said.contains("certificate of this client refused") && said.contains("`cert` and `key`"),
        "{said}"
    );
    let (client, stranger) = (authority.issue("client"), Authority::new().issue("client"));
    assert!(hits(&format!("{url}&cert={}&key={}", client.cert, client.key)));
    let said = problem(&format!("{url}&cert={}&key={}", client.cert, server.key));
    assert!(said.contains("of `key` in the URL can't be used"), "{said}");
    // Gone with its authority.
    let said = problem(&format!("{url}&cert={}&key={}", stranger.cert, stranger.key));
    assert!(said.contains("of `cert` in the URL can't be used"), "{said}");
}

#[test]
fn plain_text_on_either_end() {
    let authority = Authority::new();
    let redis = RedisServer::start_tls(&authority, &authority.issue("127.0.0.1"), &[]);
    let soon = Instant::now() + Duration::from_secs(10);
    // Servers send an alert, or just close the connection.
    let url = format!("redis://127.0.0.1:{}?timeout=5s", redis.tls_port().unwrap());
    let said = Backend::get(&Redis::from_url(&url).unwrap(), b"k", soon).unwrap_err().to_string();
    assert!(said.contains("the server speaks TLS") || said.contains("TLS or plain text?"), "{said}");
    // They take the first bytes of a handshake for a command, and may wait for the rest of it.
    let ends = ["no TLS", "does it speak TLS on this port?"];
    let url = redis.url().replace("redis://", "rediss://") + "?timeout=1s&ca=" + &authority.ca();
    let said = Backend::get(&Redis::from_url(&url).unwrap(), b"k", soon).unwrap_err().to_string();
    assert!(ends.iter().any(|end| said.contains(end)), "{said}");
    let memcached = MemcachedServer::start();
    let url = memcached.url().replace("memcached://", "memcacheds://") + "?timeout=1s&ca=" + &authority.ca();
    let said = Backend::get(&Memcached::from_url(&url).unwrap(), b"k", soon).unwrap_err().to_string();
    assert!(ends.iter().any(|end| said.contains(end)), "{said}");
}

#[test]
fn a_handshake_that_never_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = Authority::new();
    let url = format!("rediss://{}?timeout=200ms&ca={}", listener.local_addr().unwrap(), authority.ca());
    let redis = Redis::from_url(&url).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (started, far) = (Instant::now(), Instant::now() + Duration::from_secs(60));
    let blocking = Backend::get(&redis, b"k", far).unwrap_err();
    let task = runtime.block_on(AsyncBackend::get(&redis, b"k", far)).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10), "both end with their budget");
    assert_eq!((blocking.kind(), task.kind()), (ErrorKind::Timeout, ErrorKind::Timeout));
    assert!(blocking.to_string().contains("does it speak TLS"), "{blocking}");
}

/// Trust that changes on disk is used by the next connection.
#[test]
fn renewed_files_are_used() {
    let (authority, other) = (Authority::new(), Authority::new());
    let file = authority.dir().join("trusted.pem").display().to_string();
    fs::copy(other.ca(), &file).unwrap();
    let redis = RedisServer::start_tls(&authority, &authority.issue("127.0.0.1"), &[]);
    let url = redis.tls_url(&authority).replace(&authority.ca(), &file) + "&timeout=5s";
    let redis = Redis::from_url(&url).unwrap();
    let soon = || Instant::now() + Duration::from_secs(10);
    assert!(Backend::get(&redis, b"k", soon()).is_err());
    let both = fs::read_to_string(other.ca()).unwrap() + &fs::read_to_string(authority.ca()).unwrap();
    fs::write(&file, both).unwrap();
    assert_eq!(Backend::get(&redis, b"k", soon()).unwrap(), None);
}

/// A connection after the first takes half of a handshake.
#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority);
    let redis =
        Redis::from_url(&format!("rediss://{}?ca={}&timeout=5s", server.address, authority.ca())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let soon = || Instant::now() + Duration::from_secs(10);
    for _ in 0..2 {
        assert_eq!(Backend::get(&redis, b"k", soon()).unwrap(), None);
        assert_eq!(runtime.block_on(AsyncBackend::get(&redis, b"k", soon())).unwrap(), None);
    }
    let kinds: Vec<HandshakeKind> = server.handshakes.iter().take(4).collect();
    assert_eq!(kinds[0], HandshakeKind::Full);
    assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
}

/// Answers one question with nil on each connection, and then closes it.
struct TlsServer {
    address: SocketAddr,
    handshakes: Receiver<HandshakeKind>,
}

impl TlsServer {
    fn start(authority: &Authority) -> Self {
        let identity = authority.issue("127.0.0.1");
        let certificates =
            CertificateDer::pem_file_iter(identity.cert).unwrap().collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(identity.key).unwrap();
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key);
        let config = Arc::new(config.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, handshakes) = channel();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut stream =
                    StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket.unwrap());
                assert!(stream.read(&mut [0; 100]).unwrap() > 0);
                told.send(stream.conn.handshake_kind().unwrap()).unwrap();
                stream.write_all(b"$-1\r\n").unwrap();
            }
        });
        Self { address, handshakes }
    }
}

#[test]
fn values_of_any_length_arrive() {
    let authority = Authority::new();
    let redis = RedisServer::start_tls(&authority, &authority.issue("127.0.0.1"), &[]);
    let redis = Redis::from_url(&(redis.tls_url(&authority) + "&timeout=10s")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let soon = || Instant::now() + Duration::from_secs(20);
    for len in [0, 1, 100, 16 << 10, 64 << 10, 1 << 20, 5 << 20] {
        let value: Vec<u8> = (0..len).map(|n: usize| (n % 251) as u8).collect();
        Backend::set(&redis, b"k", value.clone().into(), SetOptions::new(), soon()).unwrap();
        assert_eq!(Backend::get(&redis, b"k", soon()).unwrap().as_deref(), Some(&*value));
        let set = AsyncBackend::set(&redis, b"l", value.clone().into(), SetOptions::new(), soon());
        runtime.block_on(set).unwrap();
        let found = runtime.block_on(AsyncBackend::get(&redis, b"l", soon())).unwrap();
        assert_eq!(found.as_deref(), Some(&*value));
    }
}

#[test]
fn a_cluster_over_tls() {
    let authority = Authority::new();
    let cluster = RedisCluster::start_tls(3, &authority);
    let url = cluster.tls_url(&authority) + "&timeout=5s";
    assert!(hits(&url));
    let cache = Cache::from_url(&url).unwrap();
    let keys: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    keys.iter().for_each(|key| cache.set(key, &1_u64, None).unwrap());
    let sizes = cluster.nodes.iter().map(|node| ask_all(node.addr(), "DBSIZE"));
    assert!(sizes.into_iter().all(|size| size.trim() != ":0"));
    assert_eq!(cache.get_many::<u64>(keys.iter().map(String::as_str)).unwrap().len(), 100);
}

#[test]
fn memcached_asks_for_a_user() {
    let authority = Authority::new();
    let users = authority.dir().join("users").display().to_string();
    fs::write(&users, "me:a/secret\nyou:other\n").unwrap();
    let servers = [(); 2].map(|()| MemcachedServer::start_with(&["-Y", &users]));
    let hosts = servers.each_ref().map(|server| server.addr().to_string()).join(",");
    assert!(hits(&format!("memcached://me:a%2Fsecret@{hosts}?timeout=5s")));
    let said = problem(&format!("memcached://me:s3cret@{hosts}?timeout=5s"));
    assert!(said.contains("refused the user or the password") && !said.contains("s3cret"), "{said}");
    let said = problem(&format!("memcached://{hosts}?timeout=5s"));
    assert!(said.contains("`memcached://user:password@host`"), "{said}");
}

#[test]
fn memcached_over_a_unix_socket() {
    let server = MemcachedServer::start_unix();
    assert!(hits(&(server.url() + "?timeout=5s")));
    let backend = Arc::new(Memcached::from_url(&(server.url() + "?timeout=10s")).unwrap());
    cache_tests::conformance::blocking(backend);
}
