//! Histories of several processes on one server, while things go wrong: no call gets an older value than was known when
//! it began.
//!
//! `HISTORY_OPERATIONS=1000000 cargo test -p cache-tests --test consistency history` runs longer than the default.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cache_tests::fleet::RedisCluster;
use cache_tests::history::{Event, KEYS, violations};
use cache_tests::proxy::{Fault, Proxy};
use cache_tests::servers::{MemcachedServer, Process, RedisServer};

/// The calls that are recorded at least in each history.
const OPERATIONS: usize = 5_000;

/// There is at least one write for this number of calls.
const WRITES: usize = 20;

/// How long a process may serve its own results when the server has not answered it, or its own token when the server has
/// lost everything, and what a busy machine adds.
const BOUND: Duration = Duration::from_millis(1_500);

/// How long one history may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What goes wrong, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// Bodies take long, so that much happens meanwhile.
    SlowBodies,
    /// Readers and the writer are killed and replaced.
    KilledClients,
    /// The server stands still for a moment.
    Freeze,
    /// The server ends and starts again without its entries.
    Restart,
    /// The server forgets everything.
    Flush,
    /// All connections are closed, and for a moment none can be opened.
    Cut,
    /// A node of a cluster dies, its replica takes over, and it comes back as the replica's replica.
    Failover,
}

impl Trouble {
    fn bound(self) -> Duration {
        match self {
            Self::None | Self::SlowBodies | Self::KilledClients => Duration::ZERO,
            Self::Freeze | Self::Restart | Self::Flush | Self::Cut | Self::Failover => BOUND,
        }
    }
}

/// A directory with the truth and the histories, and the processes that use them.
struct World {
    directory: PathBuf,
    url: String,
    kind: &'static str,
    body_ms: u64,
    /// Whether the writer uses `insert`. What a process had sent when it was killed may arrive late, and an `insert` is not
    /// conditional.
    inserts: bool,
    /// The role of each process that was started; its history has the same number.
    roles: Vec<&'static str>,
}

/// A process that is told to end when this is dropped.
struct Historian(Child);

impl Historian {
    /// Ends it, and waits for that.
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success(), "a process has panicked");
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl World {
    fn new(name: &str, url: String, kind: &'static str, trouble: Trouble) -> Self {
        let directory =
            std::env::temp_dir().join(format!("cache-history-{}-{name}-{trouble:?}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("truth"), [0; 8 * KEYS]).unwrap();
        let body_ms = if trouble == Trouble::SlowBodies { 25 } else { 2 };
        let inserts = trouble != Trouble::KilledClients;
        Self { directory, url, kind, body_ms, inserts, roles: Vec::new() }
    }

    fn start(&mut self, role: &'static str) -> Historian {
        let history = self.history(self.roles.len());
        self.roles.push(role);
        fs::write(&history, "").unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_historian"))
            .args([role, self.kind])
            .args([self.directory.join("truth"), history])
            .args([self.body_ms.to_string(), self.inserts.to_string()])
            .env("CACHE_SHARED_URL", &self.url)
            .stdin(Stdio::piped())
            .spawn();
        Historian(child.unwrap())
    }

    fn history(&self, number: usize) -> PathBuf {
        self.directory.join(format!("history-{number}"))
    }

    /// What the processes of `role` have recorded.
    fn events(&self, role: &str) -> Vec<Event> {
        let numbers = (0..self.roles.len()).filter(|number| self.roles[*number] == role);
        let texts = numbers.map(|number| fs::read_to_string(self.history(number)).unwrap());
        texts
            .flat_map(|text| text.split_inclusive('\n').filter_map(Event::parse).collect::<Vec<_>>())
            .collect()
    }

    /// Whether there are enough events.
    fn is_complete(&self, operations: usize) -> bool {
        let writes =
            || self.events("writer").into_iter().filter(|event| matches!(event, Event::Known { .. }));
        writes().count() >= operations / WRITES && self.events("reader").len() >= operations
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Records a history with a server in `trouble`, and checks it.
fn check(name: &str, kind: &'static str, server: &mut Process, trouble: Trouble, flush: impl Fn(&Process)) {
    let proxy = Proxy::to(server.addr());
    let scheme = if name.starts_with("redis") { "redis" } else { "memcached" };
    record(name, kind, format!("{scheme}://{}", proxy.addr()), trouble, || match trouble {
        Trouble::None | Trouble::SlowBodies | Trouble::KilledClients | Trouble::Failover => {}
        Trouble::Freeze => {
            server.freeze();
            pause();
            server.thaw();
        }
        Trouble::Restart => {
            server.kill();
            pause();
            server.restart();
        }
        Trouble::Flush => flush(server),
        Trouble::Cut => {
            proxy.set(Fault::Cut);
            pause();
            proxy.set(Fault::None);
        }
    });
}

fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Records a history while `harm` is done again and again, and checks it.
fn record(name: &str, kind: &'static str, url: String, trouble: Trouble, mut harm: impl FnMut()) {
    let mut world = World::new(name, url, kind, trouble);
    let mut writer = Some(world.start("writer"));
    let mut readers: Vec<_> = (0..3).map(|_| world.start("reader")).collect();
    let operations = std::env::var("HISTORY_OPERATIONS").map_or(OPERATIONS, |number| number.parse().unwrap());
    let start = Instant::now();
    let patience = PATIENCE * u32::try_from(operations.div_ceil(OPERATIONS)).unwrap();
    while !world.is_complete(operations) {
        assert!(start.elapsed() < patience, "it takes too long");
        (0..3).for_each(|_| pause());
        harm();
        if trouble == Trouble::KilledClients {
            readers.swap_remove(0).kill();
            readers.push(world.start("reader"));
            if world.roles.len().is_multiple_of(3) {
                writer.take().into_iter().for_each(Historian::kill);
                writer = Some(world.start("writer"));
            }
        }
    }
    writer.into_iter().chain(readers).for_each(Historian::end);
    let events = [world.events("writer"), world.events("reader")].concat();
    let older = violations(&events, trouble.bound());
    assert!(
        older.is_empty(),
        "{} of {} calls, such as {:?}",
        older.len(),
        events.len(),
        &older[..older.len().min(5)]
    );
}

macro_rules! histories {
    ($module:ident, $kind:literal, $server:ty, $flush:literal) => {
        mod $module {
            use super::*;

            fn check(trouble: Trouble) {
                let mut server = <$server>::start();
                super::check(stringify!($module), $kind, &mut server, trouble, |server| {
                    use std::io::{Read as _, Write as _};
                    let mut stream = std::net::TcpStream::connect(server.addr()).unwrap();
                    stream.write_all($flush).unwrap();
                    stream.read_exact(&mut [0; 2]).unwrap();
                });
            }

            #[test]
            fn without_trouble() {
                check(Trouble::None);
            }

            #[test]
            fn with_slow_bodies() {
                check(Trouble::SlowBodies);
            }

            #[test]
            fn while_clients_are_killed() {
                check(Trouble::KilledClients);
            }

            #[test]
            fn while_the_server_stands_still() {
                check(Trouble::Freeze);
            }

            #[test]
            fn while_the_server_restarts() {
                check(Trouble::Restart);
            }

            #[test]
            fn while_the_server_forgets() {
                check(Trouble::Flush);
            }

            #[test]
            fn while_connections_break() {
                check(Trouble::Cut);
            }
        }
    };
}

histories!(redis_blocking, "blocking", RedisServer, b"FLUSHALL\r\n");
histories!(redis_async, "async", RedisServer, b"FLUSHALL\r\n");
histories!(memcached_blocking, "blocking", MemcachedServer, b"flush_all\r\n");
histories!(memcached_async, "async", MemcachedServer, b"flush_all\r\n");

/// Each primary of a cluster is lost in turn.
fn check_failovers(kind: &'static str) {
    let mut cluster = RedisCluster::start_with_replicas(3);
    let (url, mut next) = (cluster.url(), 0);
    record(&format!("cluster_{kind}"), kind, url, Trouble::Failover, || {
        cluster.fail_over(next % 3);
        next += 1;
    });
}

#[test]
fn a_blocking_cluster_fails_over() {
    check_failovers("blocking");
}

#[test]
fn an_async_cluster_fails_over() {
    check_failovers("async");
}
