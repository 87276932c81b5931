//! What the Redis and Memcached clients do when the server or the network misbehaves.
//!
//! Each case is written once and runs for blocking and async calls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cache_runtime::{AsyncBackend, Backend, Bytes, Error, ErrorKind, Memcached, Redis, SetOptions};
use cache_tests::conformance::Ready;
use cache_tests::fakes;
use cache_tests::is_pending;
use cache_tests::servers::{MemcachedServer, Process, RedisServer};
use tokio::task::JoinSet;

/// One backend, called blocking and async.
struct Kinds {
    name: &'static str,
    kinds: [Arc<dyn AsyncBackend>; 2],
}

fn kinds<B: Backend + AsyncBackend>(name: &'static str, backend: B) -> Kinds {
    let backend = Arc::new(backend);
    Kinds { name, kinds: [Arc::new(Ready(backend.clone())), backend] }
}

fn redis(url: &str) -> Kinds {
    kinds("redis", Redis::from_url(url).unwrap())
}

fn memcached(url: &str) -> Kinds {
    kinds("memcached", Memcached::from_url(url).unwrap())
}

/// Redis and Memcached clients of the same address.
fn both(address: SocketAddr) -> [Kinds; 2] {
    [
        redis(&format!("redis://{address}?timeout=10s")),
        memcached(&format!("memcached://{address}?timeout=10s")),
    ]
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

fn soon() -> Instant {
    within(Duration::from_secs(10))
}

const SHORT: Duration = Duration::from_millis(150);
/// For a busy machine.
const SLACK: Duration = Duration::from_millis(150);

/// One call of each operation, with its outcome as text.
async fn every_operation(
    backend: &dyn AsyncBackend,
    time: Duration,
) -> Vec<(&'static str, Result<String, Error>)> {
    fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> Result<String, Error> {
        result.map(|value| format!("{value:?}"))
    }
    vec![
        ("get", text(backend.get(b"key", within(time)).await)),
        ("get_many", text(backend.get_many(&[b"key", b"key2"], within(time)).await)),
        ("set", text(backend.set(b"key", "value".into(), SetOptions::new(), within(time)).await)),
        ("add", text(backend.add(b"key", "value".into(), SetOptions::new(), within(time)).await)),
        ("delete", text(backend.delete(b"key", within(time)).await)),
    ]
}

/// Each operation fails with one of `expected`, and within its time.
async fn fails(address: SocketAddr, expected: &[ErrorKind]) {
    for Kinds { name, kinds } in both(address) {
        for backend in kinds {
            let start = Instant::now();
            for (operation, result) in every_operation(&*backend, SHORT).await {
                let error = result.expect_err(operation);
                assert!(expected.contains(&error.kind()), "{name} {operation}: {error:?}");
                assert!(error.to_string().contains(&format!("{name}://127.0.0.1")), "{error}");
            }
            assert!(start.elapsed() < 5 * SHORT + SLACK, "{name}: {:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn an_absent_server_is_unavailable() {
    fails(fakes::absent(), &[ErrorKind::Unavailable]).await;
}

#[tokio::test]
async fn a_silent_server_is_a_timeout() {
    fails(fakes::silent(), &[ErrorKind::Timeout]).await;
}

#[tokio::test]
async fn garbage_is_an_error() {
    fails(fakes::answering(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"), &[ErrorKind::Protocol]).await;
    fails(fakes::answering(&[0xff; 100]), &[ErrorKind::Protocol, ErrorKind::Timeout]).await;
    fails(fakes::answering(b"\r\n\r\n\r\n"), &[ErrorKind::Protocol]).await;
    fails(fakes::echoing(), &[ErrorKind::Protocol, ErrorKind::Server]).await;
}

#[tokio::test]
async fn answers_that_announce_too_much_are_errors() {
    let nested: &'static [u8] = b"*1\r\n".repeat(10_000).leak();
    for answer in [
        &b"$9223372036854775807\r\nx"[..],
        b"$536870912\r\nx",
        b"*9223372036854775807\r\n$1\r\nx\r\n",
        b"%9223372036854775807\r\n",
        b"|4611686018427387903\r\n",
        b"=-1\r\n",
        b"!-1\r\n",
        b"(\r\n",
        b"VA 1073741824 kkey\r\nx",
        b"VA 18446744073709551615 kkey\r\nx",
        b"VA -1 kkey\r\n",
        b"VA\r\n",
        &[b'*'; 4096],
        nested,
    ] {
        for Kinds { name, kinds } in both(fakes::answering(answer)) {
            for backend in kinds {
                let error = backend.get(b"key", within(SHORT / 3)).await.unwrap_err();
                let expected = [ErrorKind::Timeout, ErrorKind::Protocol];
                assert!(expected.contains(&error.kind()), "{name} {:?}: {error:?}", answer.escape_ascii());
            }
        }
    }
}

#[tokio::test]
async fn a_connection_that_lost_step_is_not_used_again() {
    for Kinds { name, kinds } in [
        redis(&format!("redis://{}", fakes::answering(b":1\r\n$5\r\nstale\r\n"))),
        memcached(&format!("memcached://{}", fakes::answering(b"HD kkey\r\nVA 5 kkey\r\nstale\r\n"))),
    ] {
        for backend in kinds {
            for _ in 0..3 {
                let error = backend.get(b"key", soon()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Protocol, "{name}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_nobodys_answer() {
    for Kinds { name, kinds } in [
        redis(&format!("redis://{}?pool=1", fakes::talkative(b"$4\r\nmine\r\n", b"$5\r\nother\r\n"))),
        memcached(&format!(
            "memcached://{}?pool=1",
            fakes::talkative(b"VA 4 kkey c1\r\nmine\r\n", b"VA 5 kkey c2\r\nother\r\n")
        )),
    ] {
        for backend in kinds {
            for _ in 0..3 {
                let value = backend.get(b"key", soon()).await.unwrap();
                assert_eq!(value.as_deref(), Some(&b"mine"[..]), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_after_the_deadline() {
    let server = RedisServer::start();
    let backend = Redis::from_url(&server.url()).unwrap();
    let mut late = AsyncBackend::set(
        &backend,
        b"key",
        "old".into(),
        SetOptions::new(),
        within(Duration::from_millis(100)),
    );
    // The first poll connects; nobody polls it again before the deadline.
    assert!(is_pending(late.as_mut()).await);
    tokio::time::sleep(Duration::from_millis(150)).await;
    Backend::set(&backend, b"key", "new".into(), SetOptions::new(), soon()).unwrap();
    assert_eq!(late.await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(Backend::get(&backend, b"key", soon()).unwrap().as_deref(), Some(&b"new"[..]));
}

#[tokio::test]
async fn an_answer_that_trickles_in_ends_at_the_deadline() {
    let pause = Duration::from_millis(20);
    fails(fakes::trickling(b"$100\r\nnever enough of it", pause), &[ErrorKind::Timeout, ErrorKind::Protocol])
        .await;
    fails(
        fakes::trickling(b"VA 100 kkey\r\nnever enough", pause),
        &[ErrorKind::Timeout, ErrorKind::Protocol],
    )
    .await;
}

#[tokio::test]
async fn add_is_never_done_twice() {
    // The connection is closed when the request has arrived: the value may have been stored.
    for Kinds { name, kinds } in [
        redis(&format!("redis://{}", fakes::closing_at(0, b""))),
        memcached(&format!("memcached://{}", fakes::closing_at(0, b""))),
    ] {
        for backend in kinds {
            let error = backend.add(b"key", "value".into(), SetOptions::new(), soon()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error}");
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_denied_and_not_shown() {
    let server = RedisServer::start_with(&["--requirepass", "r1ght"]);
    let address = server.addr();
    for url in [
        format!("redis://:s3cret@{address}"),
        format!("redis://me:s3cret@{address}"),
        format!("redis://{address}?timeout=5s"),
    ] {
        for backend in redis(&url).kinds {
            for (operation, result) in every_operation(&*backend, Duration::from_secs(5)).await {
                let error = result.expect_err(operation);
                let shown = format!("{error} {error:?} {error:#?}");
                assert_eq!(error.kind(), ErrorKind::Denied, "{shown}");
                assert!(!shown.contains("s3cret"), "{shown}");
            }
        }
    }
    for backend in redis(&format!("redis://:r1ght@{address}/3")).kinds {
        backend.set(b"key", "value".into(), SetOptions::new(), soon()).await.unwrap();
        assert_eq!(backend.get(b"key", soon()).await.unwrap().unwrap(), "value");
    }
    for backend in redis(&format!("redis://:r1ght@{address}/0")).kinds {
        assert_eq!(backend.get(b"key", soon()).await.unwrap(), None, "another database");
    }
    for backend in redis(&format!("redis://:r1ght@{address}/99")).kinds {
        assert_eq!(backend.get(b"key", soon()).await.unwrap_err().kind(), ErrorKind::Denied);
    }
}

#[tokio::test]
async fn no_error_repeats_what_the_server_makes_of_a_password() {
    for server in
        [fakes::echoing(), fakes::answering(b"-ERR unknown command 'AUTH', with args: 's3cret'\r\n")]
    {
        for backend in redis(&format!("redis://:s3cret@{server}")).kinds {
            let error = backend.get(b"key", soon()).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_full_server_is_a_server_error_and_still_answers() {
    let server = RedisServer::start_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    for backend in redis(&server.url()).kinds {
        let error = backend.set(b"key", "value".into(), SetOptions::new(), soon()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error}");
        assert!(error.to_string().contains("OOM"), "{error}");
        assert_eq!(backend.get(b"key", soon()).await.unwrap(), None);
    }
}

/// Calls on several connections at once, each of which must succeed.
async fn burst(backend: &Arc<dyn AsyncBackend>) {
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let backend = backend.clone();
        tasks.spawn(async move {
            let key = format!("burst-{task}");
            backend.set(key.as_bytes(), key.clone().into(), SetOptions::new(), soon()).await.unwrap();
            assert_eq!(backend.get(key.as_bytes(), soon()).await.unwrap().unwrap(), key);
        });
    }
    assert_eq!(tasks.join_all().await.len(), 8);
}

/// A restart fails no call, whichever call is the first after it.
async fn survives_restarts(server: &mut Process, Kinds { name, kinds }: Kinds) {
    for backend in kinds {
        for first in 0..5 {
            burst(&backend).await;
            server.restart();
            let late = soon();
            let result = match first {
                0 => backend.get(b"key", late).await.map(drop),
                1 => backend.get_many(&[b"key", b"burst-1"], late).await.map(drop),
                2 => backend.set(b"key", "value".into(), SetOptions::new(), late).await,
                3 => backend
                    .add(b"key", "value".into(), SetOptions::new(), late)
                    .await
                    .map(|stored| assert!(stored)),
                _ => backend.delete(b"key", late).await.map(drop),
            };
            result.unwrap_or_else(|error| panic!("{name}, operation {first}: {error:?}"));
        }
        burst(&backend).await;
        server.restart();
        burst(&backend).await;
    }
}

#[tokio::test]
async fn a_restart_of_redis_fails_no_call() {
    let mut server = RedisServer::start();
    let backend = redis(&(server.url() + "?timeout=5s"));
    survives_restarts(&mut server, backend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_of_redis_behind_a_socket_fails_no_call() {
    let mut server = RedisServer::start_unix();
    let backend = redis(&(server.url() + "?timeout=5s"));
    survives_restarts(&mut server, backend).await;
}

#[tokio::test]
async fn a_restart_of_memcached_fails_no_call() {
    let mut server = MemcachedServer::start();
    let backend = memcached(&(server.url() + "?timeout=5s"));
    survives_restarts(&mut server, backend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_of_memcached_fails_no_call_on_many_threads() {
    let mut server = MemcachedServer::start();
    let backend = memcached(&(server.url() + "?timeout=5s"));
    survives_restarts(&mut server, backend).await;
}

/// While the server is frozen, a call takes no longer than its deadline. After the thaw calls succeed, and none of
/// them gets an answer to an earlier call.
async fn survives_a_freeze(server: &Process, Kinds { name, kinds }: Kinds) {
    for backend in kinds {
        for n in 0..4 {
            let key = format!("frozen-{n}");
            backend.set(key.as_bytes(), key.clone().into(), SetOptions::new(), soon()).await.unwrap();
        }
        server.freeze();
        for n in 0..4 {
            let (start, key) = (Instant::now(), format!("frozen-{n}"));
            let error = backend.get(key.as_bytes(), within(SHORT)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{name}: {error}");
            assert!(start.elapsed() < SHORT + SLACK, "{name}: {:?}", start.elapsed());
        }
        server.thaw();
        for n in (0..4).rev() {
            let key = format!("frozen-{n}");
            assert_eq!(backend.get(key.as_bytes(), soon()).await.unwrap().unwrap(), key, "{name}");
        }
    }
}

#[tokio::test]
async fn a_frozen_redis_costs_no_more_than_the_deadline() {
    let server = RedisServer::start();
    survives_a_freeze(&server, redis(&server.url())).await;
}

#[tokio::test]
async fn a_frozen_redis_behind_a_socket_costs_no_more_than_the_deadline() {
    let server = RedisServer::start_unix();
    survives_a_freeze(&server, redis(&server.url())).await;
}

#[tokio::test]
async fn a_frozen_memcached_costs_no_more_than_the_deadline() {
    let server = MemcachedServer::start();
    survives_a_freeze(&server, memcached(&server.url())).await;
}

/// The URL's timeout applies when the deadline is later.
#[tokio::test]
async fn the_timeout_of_the_url_ends_a_call() {
    let address = fakes::silent();
    for Kinds { name, kinds } in [
        redis(&format!("redis://{address}?timeout=100ms")),
        memcached(&format!("memcached://{address}?timeout=100ms")),
    ] {
        for backend in kinds {
            let start = Instant::now();
            assert_eq!(backend.get(b"key", soon()).await.unwrap_err().kind(), ErrorKind::Timeout, "{name}");
            assert!(start.elapsed() < Duration::from_millis(100) + SLACK, "{name}: {:?}", start.elapsed());
        }
    }
}

/// The answer to a dropped future does not reach a later call.
async fn survives_cancellation(server: &Process, backend: Arc<dyn AsyncBackend>) {
    for n in 0..20_u64 {
        let key = format!("dropped-{n}");
        backend.set(key.as_bytes(), key.clone().into(), SetOptions::new(), soon()).await.unwrap();
    }
    server.freeze();
    for n in 0..20_u64 {
        let (backend, key) = (backend.clone(), format!("dropped-{n}"));
        let call = tokio::spawn(async move { backend.get(key.as_bytes(), soon()).await });
        tokio::time::sleep(Duration::from_millis(n % 3)).await;
        call.abort();
    }
    server.thaw();
    for n in (0..20_u64).rev() {
        let key = format!("dropped-{n}");
        assert_eq!(backend.get(key.as_bytes(), soon()).await.unwrap().unwrap(), key);
    }
}

#[tokio::test]
async fn dropped_futures_leave_nothing_behind() {
    let server = RedisServer::start();
    let [_, backend] = redis(&(server.url() + "?timeout=10s")).kinds;
    survives_cancellation(&server, backend).await;
    let server = MemcachedServer::start();
    let [_, backend] = memcached(&(server.url() + "?timeout=10s")).kinds;
    survives_cancellation(&server, backend).await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn set_and_get(backend: &dyn AsyncBackend, n: usize) {
    let value = Bytes::from(n.to_string());
    backend.set(b"key", value.clone(), SetOptions::new(), soon()).await.unwrap();
    assert_eq!(backend.get(b"key", soon()).await.unwrap(), Some(value));
}

#[test]
fn runtimes_may_come_go_and_take_turns() {
    let (redis_server, memcached_server) = (RedisServer::start(), MemcachedServer::start());
    for Kinds { kinds: [_, backend], .. } in [redis(&redis_server.url()), memcached(&memcached_server.url())]
    {
        for n in 0..50 {
            runtime().block_on(set_and_get(&*backend, n));
        }
        let (one, two) = (runtime(), runtime());
        for n in 0..50 {
            one.block_on(set_and_get(&*backend, n));
            two.block_on(set_and_get(&*backend, n));
        }
        drop(one);
        two.block_on(set_and_get(&*backend, 50));
    }
    let connected = connections_ever(&redis_server);
    assert!(connected <= 60, "{connected} connections for 52 runtimes");
}

/// The number of connections the server has accepted, including the one that asks.
fn connections_ever(server: &RedisServer) -> usize {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"INFO stats\r\n").unwrap();
    let mut answer = vec![0; 1 << 16];
    let length = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    let count = answer.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn outside_a_runtime_it_is_an_error() {
    for Kinds { kinds: [_, backend], .. } in both(fakes::absent()) {
        let mut call = backend.get(b"key", soon());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match call.as_mut().poll(&mut context) {
            std::task::Poll::Ready(Err(error)) => {
                assert!(error.to_string().contains("tokio runtime"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn tasks_share_a_few_connections_and_so_do_threads() {
    let server = RedisServer::start();
    let backend = Arc::new(Redis::from_url(&(server.url() + "?timeout=5s&pool=4")).unwrap());
    runtime().block_on(async {
        let mut tasks = JoinSet::new();
        for n in 0..100 {
            let backend = backend.clone();
            tasks.spawn(async move { AsyncBackend::get(&*backend, &[n], soon()).await.unwrap() });
        }
        assert_eq!(tasks.join_all().await.len(), 100);
    });
    // The pool's, the one that asks, and the one that waited for the server to start.
    let asked = connections_ever(&server);
    assert!(asked <= 4 + 2, "{asked} connections for 100 tasks and a pool of 4");
    thread::scope(|scope| {
        for n in 0..16 {
            let backend = &*backend;
            scope.spawn(move || {
                for _ in 0..50 {
                    assert_eq!(Backend::get(backend, &[n], soon()).unwrap(), None);
                }
            });
        }
    });
    let connected = connections_ever(&server) - asked;
    assert!(connected <= 4 + 1, "{connected} connections for a pool of 4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiting_for_a_connection_ends_at_the_deadline() {
    let address = fakes::silent();
    for Kinds { name, kinds } in [
        redis(&format!("redis://{address}?pool=1&timeout=1s")),
        memcached(&format!("memcached://{address}?pool=1&timeout=1s")),
    ] {
        for backend in kinds {
            let holder = tokio::spawn({
                let backend = backend.clone();
                async move { backend.get(b"holds the only one", soon()).await }
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            let start = Instant::now();
            let error = backend.get(b"key", within(SHORT)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{name}: {error}");
            assert!(start.elapsed() < SHORT + SLACK, "{name}: {:?}", start.elapsed());
            assert_eq!(holder.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout, "{name}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_queue_of_a_unix_socket_is_a_timeout() {
    let path = std::env::temp_dir().join(format!("cache-tests-queue-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let backend = Redis::from_url(&format!("unix://{}", path.display())).unwrap();
    // Each connection stays in the queue, because nobody accepts it.
    let filler: Vec<_> = std::iter::from_fn(|| {
        let socket = thread::spawn({
            let path = path.clone();
            move || std::os::unix::net::UnixStream::connect(path)
        });
        let start = Instant::now();
        while !socket.is_finished() && start.elapsed() < Duration::from_millis(200) {
            thread::sleep(Duration::from_micros(50));
        }
        socket.is_finished().then(|| socket.join().unwrap().unwrap())
    })
    .take(20_000)
    .collect();
    let start = Instant::now();
    let result = Backend::get(&backend, b"key", within(SHORT));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Timeout, "after {} connections", filler.len());
    assert!(start.elapsed() < SHORT + SLACK, "{:?}", start.elapsed());
    drop(listener);
}

#[tokio::test]
async fn keys_stay_on_their_server_when_another_is_gone() {
    let mut servers: [MemcachedServer; 3] = std::array::from_fn(|_| MemcachedServer::start());
    let hosts = servers.each_ref().map(|server| server.addr().to_string());
    let connect = |hosts: &[String]| memcached(&format!("memcached://{}?timeout=5s", hosts.join(",")));
    let keys: Vec<_> = (0..60).map(|n| format!("user:{n}")).collect();
    let all = connect(&hosts);
    for key in &keys {
        all.kinds[0].set(key.as_bytes(), key.clone().into(), SetOptions::new(), soon()).await.unwrap();
    }
    // Another process lists the servers in another order and finds the same keys.
    let [a, b, c] = hosts.clone();
    for key in &keys {
        let value = connect(&[c.clone(), a.clone(), b.clone()]).kinds[1].get(key.as_bytes(), soon()).await;
        assert_eq!(value.unwrap().unwrap(), *key);
    }
    servers[1].kill();
    for backend in &all.kinds {
        let mut lost = 0;
        for key in &keys {
            match backend.get(key.as_bytes(), soon()).await {
                Ok(value) => assert_eq!(value.unwrap(), *key),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    lost += 1;
                }
            }
        }
        assert!((5..40).contains(&lost), "{lost} of 60 keys were on one of three servers");
    }
    // Without the dead server in the list, only its keys are missing.
    for backend in connect(&[a, c]).kinds {
        let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
        let found = backend.get_many(&keys, soon()).await.unwrap().into_iter().flatten().count();
        assert!((20..56).contains(&found), "{found} of 60 keys");
    }
}
