//! Servers that work together: a Redis Cluster, and a primary with replicas that sentinels watch.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::servers::RedisServer;

/// How long servers may take to agree, on a busy machine.
const AGREEMENT: Duration = Duration::from_secs(60);

/// After this time without an answer a node counts as failed.
const NODE_TIMEOUT: &str = "500";

const SLOTS: usize = 16_384;

/// A Redis Cluster that serves what it can while nodes are down.
pub struct RedisCluster {
    /// The primaries, and then their replicas: the replica of `n` is at `n + primaries`.
    pub nodes: Vec<RedisServer>,
    primaries: usize,
}

impl RedisCluster {
    /// Starts one whose primaries have as many slots each, without replicas.
    pub fn start(primaries: usize) -> Self {
        Self::of((0..primaries).map(|_| start_node()).collect())
    }

    /// One of three primaries that others may use too. It ends with its last user.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<RedisCluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start(3));
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// The same, reached over TLS.
    pub fn start_tls(primaries: usize, authority: &Authority) -> Self {
        let identity = authority.issue("127.0.0.1");
        let start = |_| {
            let options = [&node_options()[..], &["--tls-cluster", "yes"]].concat();
            RedisServer::start_tls(authority, &identity, &options)
        };
        Self::of((0..primaries).map(start).collect())
    }

    fn of(nodes: Vec<RedisServer>) -> Self {
        let primaries = nodes.len();
        for (index, node) in nodes.iter().enumerate() {
            let (first, last) = (index * SLOTS / primaries, (index + 1) * SLOTS / primaries - 1);
            assert_eq!(ask(node.addr(), &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), "+OK");
            assert_eq!(ask(node.addr(), &format!("CLUSTER ADDSLOTSRANGE {first} {last}")), "+OK");
        }
        let cluster = Self { nodes, primaries };
        cluster.meet();
        cluster
    }

    /// The same with a replica for each primary.
    pub fn start_with_replicas(primaries: usize) -> Self {
        let mut cluster = Self::start(primaries);
        cluster.nodes.extend((0..primaries).map(|_| start_node()));
        cluster.meet();
        let (primaries, replicas) = cluster.nodes.split_at(primaries);
        for (primary, replica) in primaries.iter().zip(replicas) {
            let order = format!("CLUSTER REPLICATE {}", id(primary));
            until("replicas follow", || ask(replica.addr(), &order) == "+OK");
            until("replicas are in step", || {
                ask_all(replica.addr(), "INFO").contains("master_link_status:up")
            });
        }
        until("replicas are known", || {
            let knows = |node: &RedisServer| ask_all(node.addr(), "CLUSTER NODES").matches("slave ").count();
            cluster.nodes.iter().all(|node| knows(node) == replicas.len())
        });
        cluster
    }

    /// `scheme://` and all nodes, without a query.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The same over TLS, with a query that trusts `authority`.
    pub fn tls_url(&self, authority: &Authority) -> String {
        self.nodes[0].tls_url(authority).replace("rediss://", "rediss+cluster://")
    }

    /// Moves a slot between primaries as `redis-cli` does: its keys one after the other, while it is used.
    pub fn move_slot(&self, slot: usize, from: usize, to: usize) {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let (from_id, to_id) = (id(from), id(to));
        assert_eq!(ask(to.addr(), &format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")), "+OK");
        assert_eq!(ask(from.addr(), &format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")), "+OK");
        loop {
            let keys = ask_all(from.addr(), &format!("CLUSTER GETKEYSINSLOT {slot} 100"));
            let keys: Vec<&str> = keys.lines().filter(|line| !line.starts_with(['*', '$', '+'])).collect();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let order = format!("MIGRATE 127.0.0.1 {} {key} 0 5000 REPLACE", to.port());
                let said = ask(from.addr(), &order);
                assert!(matches!(said.as_str(), "+OK" | "+NOKEY"), "{said}");
            }
        }
        for node in [to, from] {
            assert_eq!(ask(node.addr(), &format!("CLUSTER SETSLOT {slot} NODE {to_id}")), "+OK");
        }
        // Nodes that take slots one after the other, without knowing of each other, don't agree on who has which.
        until("agreement on slots", || {
            let mut views = self.nodes[..self.primaries].iter().map(view);
            views.next().is_some_and(|first| views.all(|view| view == first))
        });
    }

    /// Waits until the replica of the primary `n` has taken over.
    pub fn wait_for_failover(&self, n: usize) {
        let replica = &self.nodes[n + self.primaries];
        until("a failover", || ask_all(replica.addr(), "ROLE").contains("master"));
    }

    /// Kills the primary `n`, waits until its replica has taken over, and brings it back as that one's replica, in step. The two
    /// have changed places then.
    pub fn fail_over(&mut self, n: usize) {
        self.nodes[n].kill();
        self.wait_for_failover(n);
        self.nodes[n].restart();
        let old = self.nodes[n].addr();
        until("the old primary follows", || ask_all(old, "INFO").contains("master_link_status:up"));
        self.nodes.swap(n, n + self.primaries);
    }

    /// Makes the nodes know each other, and waits until they agree.
    fn meet(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[index + 1..] {
                let order = format!(
                    "CLUSTER MEET 127.0.0.1 {} {}",
                    other.tls_port().unwrap_or(other.port()),
                    bus_port(other)
                );
                assert_eq!(ask(node.addr(), &order), "+OK");
            }
        }
        until("a cluster", || {
            self.nodes.iter().all(|node| {
                let info = ask_all(node.addr(), "CLUSTER INFO");
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_known_nodes:{}", self.nodes.len()))
                    && info.contains(&format!("cluster_slots_ok:{SLOTS}"))
            })
        });
    }
}

fn start_node() -> RedisServer {
    RedisServer::start_with(&node_options())
}

fn node_options() -> [&'static str; 12] {
    // Any free port: the default is 10,000 above the other one.
    let port = crate::servers::free_port().to_string().leak();
    [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        port,
        "--cluster-node-timeout",
        NODE_TIMEOUT,
        "--cluster-require-full-coverage",
        "no",
        "--cluster-replica-validity-factor",
        "0",
        "--repl-diskless-sync-delay",
        "0",
    ]
}

fn bus_port(node: &RedisServer) -> u16 {
    let port = ask_all(node.addr(), "CONFIG GET cluster-port");
    port.lines().rev().find_map(|line| line.parse().ok()).unwrap()
}

/// The nodes that this one knows, each with its epoch and its slots.
fn view(node: &RedisServer) -> Vec<String> {
    let nodes = ask_all(node.addr(), "CLUSTER NODES");
    let known =
        nodes.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|fields| fields.len() > 7);
    let mut view: Vec<String> =
        known.map(|fields| format!("{} {} {:?}", fields[0], fields[6], &fields[8..])).collect();
    view.sort_unstable();
    view
}

fn id(node: &RedisServer) -> String {
    ask_all(node.addr(), "CLUSTER MYID").lines().nth(1).unwrap().to_owned()
}

/// A primary, its replica, and three sentinels that watch them under the name `main`.
pub struct RedisSentinels {
    /// The first primary.
    pub primary: RedisServer,
    /// Its replica.
    pub replica: RedisServer,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinels {
    /// Starts all of them. The servers have this password, and the sentinels have another.
    pub fn start(password: &str, sentinel_password: &str) -> Self {
        let login = ["--requirepass", password, "--masterauth", password];
        let primary = RedisServer::start_with(&login);
        let port = primary.port().to_string();
        let follow = ["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"];
        let replica = RedisServer::start_with(&[&login[..], &follow].concat());
        let ask = |command: &str| ask_all(replica.addr(), &format!("AUTH {password}\r\n{command}"));
        until("a replica", || ask("INFO").contains("master_link_status:up"));
        let sentinels = (0..3).map(|_| start_sentinel(&primary, password, sentinel_password)).collect();
        let all = Self { primary, replica, sentinels };
        until("sentinels that know each other", || {
            all.sentinels.iter().all(|sentinel| {
                let order = format!("AUTH {sentinel_password}\r\nINFO sentinel");
                ask_all(sentinel.addr(), &order).contains("slaves=1,sentinels=3")
            })
        });
        all
    }

    /// The hosts of the sentinels, as in a URL.
    pub fn hosts(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|node| node.addr().to_string()).collect();
        hosts.join(",")
    }
}

fn start_sentinel(primary: &RedisServer, password: &str, own_password: &str) -> RedisServer {
    let settings = format!(
        "requirepass {own_password}\nsentinel sentinel-pass {own_password}\n\
         sentinel monitor main 127.0.0.1 {} 2\nsentinel auth-pass main {password}\n\
         sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
        primary.port()
    );
    RedisServer::start_sentinel(&settings)
}

/// The first line of the answer to a command.
pub fn ask(address: SocketAddr, command: &str) -> String {
    ask_all(address, command).lines().next().unwrap_or_default().to_owned()
}

/// The whole answer to commands; nothing from a server that is about to end, or to change its role.
pub fn ask_all(address: SocketAddr, commands: &str) -> String {
    try_to_ask(address, commands).unwrap_or_default()
}

fn try_to_ask(address: SocketAddr, commands: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{commands}\r\n").as_bytes())?;
    // Then the server closes the line after its answer. Sentinels have no `QUIT`.
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Waits for what servers do.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < AGREEMENT, "no {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
