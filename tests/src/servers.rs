//! Real servers, each a process of its own on a free loopback port, gone when dropped.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::authority::{Authority, Identity};

/// How long a server may take to answer after its start, on a busy machine.
const START: Duration = Duration::from_secs(20);

/// A `redis-server`, or the compatible server that the variable `CACHE_TESTS_REDIS` names.
pub struct RedisServer {
    process: Process,
    over_socket: bool,
    tls_port: Option<u16>,
}

impl RedisServer {
    /// Starts one with an empty database that is never written to disk.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments, such as `--requirepass`.
    pub fn start_with(options: &[&str]) -> Self {
        let process = Process::start(&REDIS, options);
        Self { process, over_socket: false, tls_port: None }
    }

    /// The same, reached over a unix socket.
    pub fn start_unix() -> Self {
        Self { over_socket: true, ..Self::start() }
    }

    /// The same, reached over TLS. Its port without TLS is open too.
    pub fn start_tls(authority: &Authority, identity: &Identity, options: &[&str]) -> Self {
        let port = free_port();
        let (text, ca) = (port.to_string(), authority.ca());
        let tls = [
            "--tls-port",
            &text,
            "--tls-cert-file",
            &identity.cert,
            "--tls-key-file",
            &identity.key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "no",
        ];
        Self { tls_port: Some(port), ..Self::start_with(&[&tls, options].concat()) }
    }

    /// Its port for TLS, if it has one.
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// Its URL over TLS, with a query that trusts `authority`.
    pub fn tls_url(&self, authority: &Authority) -> String {
        format!("rediss://127.0.0.1:{}?ca={}", self.tls_port.unwrap_or_default(), authority.ca())
    }

    /// Starts a sentinel with these lines in its file of settings, which it changes.
    pub fn start_sentinel(settings: &str) -> Self {
        let dir = new_dir();
        let file = dir.join("sentinel.conf");
        fs::write(&file, settings).unwrap();
        let process = Process::start_in(&SENTINEL, &[], dir);
        Self { process, over_socket: false, tls_port: None }
    }

    /// Its URL, without a query.
    pub fn url(&self) -> String {
        match self.over_socket {
            true => format!("unix://{}", self.process.dir.join(SOCKET).display()),
            false => format!("redis://{}", self.addr()),
        }
    }

    /// How often it was asked `command`.
    pub fn calls(&self, command: &str) -> usize {
        let mut stream = TcpStream::connect(self.addr()).unwrap();
        stream.write_all(b"INFO commandstats\r\nQUIT\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }
}

/// A `memcached`.
pub struct MemcachedServer {
    process: Process,
    tls_port: Option<u16>,
}

impl MemcachedServer {
    /// Starts one with 64 MiB.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments, such as `-m`.
    pub fn start_with(options: &[&str]) -> Self {
        Self { process: Process::start(&MEMCACHED, options), tls_port: None }
    }

    /// The same, reached over TLS. Its port without TLS is open too.
    pub fn start_tls(identity: &Identity) -> Self {
        let port = free_port();
        let files = format!("ssl_chain_cert={},ssl_key={}", identity.cert, identity.key);
        let options = ["-Z", "-o", &files, "-l", &format!("127.0.0.1:{port}")];
        Self { process: Process::start(&MEMCACHED_TLS, &options), tls_port: Some(port) }
    }

    /// The same, reached over a unix socket.
    pub fn start_unix() -> Self {
        Self { process: Process::start(&MEMCACHED_UNIX, &[]), tls_port: None }
    }

    /// Its URL over TLS, with a query that trusts `authority`.
    pub fn tls_url(&self, authority: &Authority) -> String {
        format!("memcacheds://127.0.0.1:{}?ca={}", self.tls_port.unwrap_or_default(), authority.ca())
    }

    /// Its URL, without a query.
    pub fn url(&self) -> String {
        match self.process.program.socket {
            Some(name) => format!("memcached+unix://{}", self.process.dir.join(name).display()),
            None => format!("memcached://{}", self.addr()),
        }
    }
}

impl Deref for RedisServer {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for RedisServer {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Deref for MemcachedServer {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for MemcachedServer {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// How a kind of server is started and asked whether it is there.
struct Program {
    name: &'static str,
    install: &'static str,
    arguments: fn(port: u16, dir: &Path) -> Vec<String>,
    question: &'static [u8],
    /// The socket in its directory that it is asked on, if it has no port.
    socket: Option<&'static str>,
}

const SOCKET: &str = "server.sock";

/// The variable that names another program to start instead of `redis-server`, such as `valkey-server`.
const REDIS_VARIABLE: &str = "CACHE_TESTS_REDIS";

static REDIS: LazyLock<Program> = LazyLock::new(|| Program {
    name: env::var(REDIS_VARIABLE).map_or("redis-server", |name| name.leak()),
    install: "apt-get install -y redis-server   (macOS: brew install redis)",
    arguments: |port, dir| {
        let (port, dir, socket) =
            (port.to_string(), dir.display().to_string(), dir.join(SOCKET).display().to_string());
        let pairs = [
            ("--bind", "127.0.0.1"),
            ("--port", &port),
            ("--unixsocket", &socket),
            ("--dir", &dir),
            ("--save", ""),
            ("--appendonly", "no"),
        ];
        pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect()
    },
    question: b"PING\r\n",
    socket: None,
});

static SENTINEL: LazyLock<Program> = LazyLock::new(|| Program {
    name: REDIS.name,
    install: REDIS.install,
    question: REDIS.question,
    socket: None,
    arguments: |port, dir| {
        let (file, dir) = (dir.join("sentinel.conf").display().to_string(), dir.display().to_string());
        [&*file, "--sentinel", "--bind", "127.0.0.1", "--port", &port.to_string(), "--dir", &dir]
            .map(str::to_owned)
            .to_vec()
    },
});

static MEMCACHED: Program = Program {
    name: "memcached",
    install: "apt-get install -y memcached   (macOS: brew install memcached)",
    // `-u` only matters to root, whom memcached refuses to run as unasked.
    arguments: |port, _| {
        ["-l", "127.0.0.1", "-p", &port.to_string(), "-u", "root"].map(str::to_owned).to_vec()
    },
    question: b"version\r\n",
    socket: None,
};

static MEMCACHED_TLS: Program = Program {
    arguments: |port, _| ["-l", &format!("notls:127.0.0.1:{port}"), "-u", "root"].map(str::to_owned).to_vec(),
    ..MEMCACHED
};

static MEMCACHED_UNIX: Program = Program {
    arguments: |_, dir| {
        ["-s", &dir.join(SOCKET).display().to_string(), "-u", "root"].map(str::to_owned).to_vec()
    },
    socket: Some(SOCKET),
    ..MEMCACHED
};

/// A server's process and its directory.
pub struct Process {
    program: &'static Program,
    options: Vec<String>,
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Process {
    fn start(program: &'static Program, options: &[&str]) -> Self {
        Self::start_in(program, options, new_dir())
    }

    fn start_in(program: &'static Program, options: &[&str], dir: PathBuf) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Between asking for a free port and using it, somebody else may take it.
        for _ in 0..10 {
            let port = free_port();
            if let Some(child) = launch(program, &options, port, &dir) {
                return Self { program, options, child, port, dir };
            }
        }
        panic!("`{}` doesn't start; try it by hand", program.name);
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its working directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.child.wait().unwrap();
    }

    /// Stops it in its tracks: its connections stay open and are not answered.
    pub fn freeze(&self) {
        self.signal("STOP");
        // A thread that runs on another processor goes on for a moment.
        while self.has_running_threads() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Kills it and starts it on the same port, empty.
    pub fn restart(&mut self) {
        self.kill();
        let child = (0..10).find_map(|_| launch(self.program, &self.options, self.port, &self.dir));
        self.child = child.unwrap_or_else(|| panic!("port {} was taken during a restart", self.port));
    }

    /// Whether a thread of it is not stopped, where the system tells.
    fn has_running_threads(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let stats = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        // The state stands behind the name, which is in parentheses.
        stats.into_iter().any(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T")))
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success(), "`{}` has ended by itself", self.program.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Starts the program and waits until it answers; `None` if it ends instead.
fn launch(program: &Program, options: &[String], port: u16, dir: &Path) -> Option<Child> {
    let mut child = spawn(program, &[(program.arguments)(port, dir), options.to_vec()].concat());
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if answers(program, port, dir).unwrap_or(false) {
            return Some(child);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill().and_then(|()| child.wait());
    panic!("`{}` doesn't answer on port {port}", program.name);
}

fn answers(program: &Program, port: u16, dir: &Path) -> std::io::Result<bool> {
    let limit = Some(Duration::from_secs(1));
    let mut stream: Box<dyn ReadWrite> = match program.socket {
        Some(name) => {
            let stream = UnixStream::connect(dir.join(name))?;
            stream.set_read_timeout(limit)?;
            Box::new(stream)
        }
        None => {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_read_timeout(limit)?;
            Box::new(stream)
        }
    };
    stream.write_all(program.question)?;
    Ok(stream.read(&mut [0; 64])? > 0)
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

pub(crate) fn new_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("cache-tests-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Starts the program such that, on Linux, it ends with this process however that ends.
///
/// What the kernel waits for is the end of the thread that started the program, and tests have threads
/// of their own; hence one thread that starts all.
fn spawn(program: &Program, arguments: &[String]) -> Child {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static STARTER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
        let (sender, receiver) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    assert!(exists(program.name), "`{}` is needed for this test:\n    {}", program.name, program.install);
    let mut command = if exists("setpriv") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program.name]);
        command
    } else {
        Command::new(program.name)
    };
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (sender, receiver) = channel();
    STARTER.lock().unwrap_or_else(PoisonError::into_inner).send((command, sender)).unwrap();
    receiver.recv().unwrap().unwrap()
}

fn exists(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
