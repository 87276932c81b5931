//! The examples, each run as the process that a user would start.
#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cache_tests::fakes;
use cache_tests::servers::{MemcachedServer, RedisServer};

// Processes

/// What an example may take at the most, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that doesn't outlive its test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Waits for its end.
    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it has not ended after {PATIENCE:?}");
    }

    /// Waits for its end and takes what it wrote: a page, which fits into the pipe.
    fn finish(mut self) -> Finished {
        let status = self.end();
        let text = |pipe: &mut dyn Read| {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        };
        let out = text(&mut self.0.stdout.take().unwrap());
        let err = text(&mut self.0.stderr.take().unwrap());
        Finished { status, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Debug)]
struct Finished {
    status: ExitStatus,
    out: String,
    err: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status, out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Finished {
    #[track_caller]
    fn assert_success(self) -> Self {
        assert!(self.status.success(), "{self:#?}");
        self
    }

    /// It failed with one message and no half of an answer.
    #[track_caller]
    fn assert_refused(&self, because: &str) {
        assert_eq!(self.status.code(), Some(1), "{self:#?}");
        assert!(self.err.contains(because) && !self.err.contains("panicked"), "{self:#?}");
        assert_eq!(self.out, "");
    }

    /// The number in the line `bodies run: N`.
    #[track_caller]
    fn bodies_run(&self) -> usize {
        let number = self.out.lines().find_map(|line| line.strip_prefix("bodies run: "));
        number.unwrap_or_else(|| panic!("{self:#?}")).parse().unwrap()
    }
}

/// The cargo that runs this test.
fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The directory that this test was built in, and its name among cargo's profiles.
fn profile() -> (PathBuf, String) {
    let test = std::env::current_exe().unwrap();
    let built_in = test.ancestors().nth(2).unwrap().to_owned();
    let profile = match built_in.file_name().and_then(OsStr::to_str).unwrap() {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    };
    (built_in, profile)
}

/// What to build, with and where: a run of all tests has built it by then.
fn options() -> Vec<String> {
    let (built_in, profile) = profile();
    let target = built_in.parent().unwrap().display().to_string();
    let options =
        ["--quiet", "--workspace", "--all-features", "--profile", &profile, "--target-dir", &target];
    options.map(str::to_owned).to_vec()
}

/// An example as built from today's source, with none of the settings of the shell around.
fn example(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let examples = BUILT.get_or_init(|| {
        let status = cargo().arg("build").args(options()).arg("--examples").status().unwrap();
        assert!(status.success(), "the examples don't build");
        profile().0.join("examples")
    });
    let mut command = Command::new(examples.join(name));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CACHE_") || ["REDIS_URL", "MEMCACHED_URL", "PORT"].contains(&&*name) {
            command.env_remove(&variable);
        }
    }
    command
}

/// These columns of the table of one function's statistics in `out`.
fn row<const N: usize>(out: &str, columns: [&str; N]) -> [String; N] {
    let cells = |line: &str| -> Vec<String> {
        line.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    };
    let mut lines = out.lines().skip_while(|line| !line.starts_with("function"));
    let (names, values) = (cells(lines.next().unwrap()), cells(lines.next().unwrap()));
    columns.map(|column| values[names.iter().position(|name| name == column).unwrap()].clone())
}

fn run(command: &mut Command) -> Finished {
    Running::start(command).finish()
}

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cache-examples-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// Quickstart

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const GIT: &str = "git+https://example.org/shared#0123456789abcdef0123456789abcdef01234567";

/// The text of a `Cargo.lock`: name, version, source, dependencies.
fn lock_file<D: AsRef<str>>(packages: &[(&str, &str, Option<&str>, &[D])]) -> String {
    let mut text = "version = 4\n".to_owned();
    for (name, version, source, dependencies) in packages {
        write!(text, "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n").unwrap();
        if let Some(source) = source {
            writeln!(text, "source = \"{source}\"").unwrap();
        }
        let dependencies: Vec<&str> = dependencies.iter().map(AsRef::as_ref).collect();
        if !dependencies.is_empty() {
            writeln!(text, "dependencies = {dependencies:?}").unwrap();
        }
    }
    text
}

/// Two members that depend on each other, as dev-dependencies may; one name in two versions, one of them
/// from two sources; a package that nothing leads to.
fn small() -> String {
    let base_of_git = "shared 2.0.0 (git+https://example.org/shared)";
    let base_of_crates_io = "shared 2.0.0 (registry+https://github.com/rust-lang/crates.io-index)";
    lock_file(&[
        ("app", "0.1.0", None, &["helper", "left", "right", "shared 1.0.0"]),
        ("base", "1.0.0", Some(CRATES_IO), &[]),
        ("helper", "0.1.0", None, &["app", base_of_git]),
        ("left", "1.0.0", Some(CRATES_IO), &["base", "shared 1.0.0"]),
        ("orphan", "1.0.0", Some(CRATES_IO), &[]),
        ("right", "1.0.0", Some(CRATES_IO), &["base", base_of_git, base_of_crates_io]),
        ("shared", "1.0.0", Some(CRATES_IO), &["base"]),
        ("shared", "2.0.0", Some(GIT), &["base"]),
        ("shared", "2.0.0", Some(CRATES_IO), &["base"]),
    ])
}

/// By hand: `shared 1.0.0` from app and left, the git one from helper and right, the other from right,
/// and `base` from left, right and all of those.
const SMALL: [(u128, &str); 9] = [
    (7, "base 1.0.0"),
    (2, "shared 1.0.0"),
    (2, "shared 2.0.0"),
    (1, "app 0.1.0"),
    (1, "helper 0.1.0"),
    (1, "left 1.0.0"),
    (1, "right 1.0.0"),
    (1, "shared 2.0.0"),
    (0, "orphan 1.0.0"),
];

/// Diamonds upon each other: twice as many paths on each level, so 2^levels to the bottom.
fn ladder(levels: usize) -> String {
    let names: Vec<[String; 2]> =
        (0..levels).map(|level| ["left", "right"].map(|side| format!("{side}{level}"))).collect();
    let bottom = ["bottom".to_owned()];
    let below = |level: usize| names.get(level).map_or(&bottom[..], |both| &both[..]);
    let mut packages = vec![("root", "0.1.0", None, below(0)), ("bottom", "0.1.0", Some(CRATES_IO), &[][..])];
    for (level, both) in names.iter().enumerate() {
        packages.extend(both.iter().map(|name| (name.as_str(), "0.1.0", Some(CRATES_IO), below(level + 1))));
    }
    lock_file(&packages)
}

fn quickstart(arguments: &[&OsStr]) -> Command {
    let mut command = example("quickstart");
    command.args(arguments);
    command
}

/// The table of packages that it printed.
fn ranking(finished: &Finished) -> Vec<(u128, &str)> {
    let lines =
        finished.out.lines().skip_while(|line| !line.trim_start().starts_with("paths  package")).skip(1);
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.trim_start().split_once("  ").unwrap())
        .map(|(count, package)| (count.parse().unwrap(), package))
        .collect()
}

#[test]
fn quickstart_reads_the_lock_file_of_the_workspace() {
    let finished = run(&mut quickstart(&[])).assert_success();
    let file = root().join("Cargo.lock");
    let packages = fs::read_to_string(&file).unwrap().matches("[[package]]").count();
    assert!(
        finished.out.starts_with(&format!("{}: {packages} packages\n", file.display())),
        "{}",
        finished.out
    );
    // Each package's paths were counted once, however often they were asked for.
    assert_eq!(finished.bodies_run(), packages);

    let ranking = ranking(&finished);
    assert_eq!(ranking.len(), 10);
    assert!(ranking.is_sorted_by_key(|(count, _)| std::cmp::Reverse(*count)), "{ranking:?}");
    assert!(
        ranking.iter().any(|(count, package)| package.starts_with("proc-macro2 ") && *count > 100),
        "{ranking:?}"
    );

    let times = finished.out.lines().find(|line| line.starts_with("cold ")).unwrap();
    assert!(times.contains("s, warm ") && times.ends_with('s'), "{times}");
    let mut table = finished.out.lines().skip_while(|line| !line.starts_with("function "));
    assert!(table.next().unwrap().contains("hit %"), "{}", finished.out);
    assert!(table.next().unwrap().starts_with("quickstart::paths  paths "), "{}", finished.out);
    assert_eq!(finished.err, "");
}

#[test]
fn quickstart_counts_right() {
    let directory = Directory::new();
    let finished =
        run(&mut quickstart(&[directory.write("Cargo.lock", &small()).as_os_str()])).assert_success();
    assert_eq!(ranking(&finished), SMALL);
    assert_eq!(finished.bodies_run(), SMALL.len());
}

#[test]
fn quickstart_is_not_exponential() {
    let directory = Directory::new();
    for (levels, paths) in [(40, 1 << 40), (127, 1 << 127), (130, u128::MAX)] {
        let file = directory.write("Cargo.lock", &ladder(levels));
        let finished = run(&mut quickstart(&[file.as_os_str()])).assert_success();
        assert_eq!(ranking(&finished)[0], (paths, "bottom 0.1.0"), "{levels} levels");
        assert_eq!(finished.bodies_run(), 2 * levels + 2);
    }
}

/// The second process finds what the first one stored, and only of the same file.
fn quickstart_answers_from_the_server(backend: &str, variable: &str, url: &str) {
    let directory = Directory::new();
    let (ladder, small) =
        (directory.write("ladder.lock", &ladder(40)), directory.write("small.lock", &small()));
    let count = |file: &Path| {
        let mut command = quickstart(&["--backend".as_ref(), backend.as_ref(), file.as_os_str()]);
        run(command.env(variable, url)).assert_success()
    };
    for expected in [82, 0] {
        let finished = count(&ladder);
        assert_eq!(finished.bodies_run(), expected, "{finished:#?}");
        assert_eq!(ranking(&finished)[0], (1 << 40, "bottom 0.1.0"));
    }
    for expected in [SMALL.len(), 0] {
        let finished = count(&small);
        assert_eq!(finished.bodies_run(), expected, "{finished:#?}");
        assert_eq!(ranking(&finished), SMALL);
    }
}

#[test]
fn quickstart_on_redis() {
    let server = RedisServer::start();
    quickstart_answers_from_the_server("redis", "CACHE_REDIS_URL", &server.url());
}

#[test]
fn quickstart_on_memcached() {
    let server = MemcachedServer::start();
    // The common name of the variable, which comes second.
    quickstart_answers_from_the_server("memcached", "MEMCACHED_URL", &server.url());
}

#[test]
fn quickstart_answers_without_its_server() {
    let directory = Directory::new();
    let file = directory.write("Cargo.lock", &small());
    for (backend, variable) in [("redis", "CACHE_REDIS_URL"), ("memcached", "CACHE_MEMCACHED_URL")] {
        let url = format!("{backend}://{}", fakes::absent());
        let mut command = quickstart(&["--backend".as_ref(), backend.as_ref(), file.as_os_str()]);
        let finished = run(command.env(variable, &url)).assert_success();
        assert_eq!(ranking(&finished), SMALL);
        // While the server is away, results are kept in the process.
        assert_eq!(finished.bodies_run(), SMALL.len(), "{finished:#?}");
        assert!(finished.err.contains("without it") && finished.err.contains(&url), "{finished:#?}");
    }
}

#[test]
fn quickstart_says_what_is_wrong() {
    let directory = Directory::new();
    let refused =
        |arguments: &[&OsStr], because: &str| run(&mut quickstart(arguments)).assert_refused(because);
    refused(&["/no/such/file".as_ref()], "can't read /no/such/file: No such file");
    refused(&[directory.write("toml", "[[package]]\nname = 1").as_os_str()], "toml: ");
    let gap = lock_file(&[("app", "0.1.0", None, &["gone 1.0.0"])]);
    refused(&[directory.write("gap", &gap).as_os_str()], "it lacks the package `gone 1.0.0`");
    refused(&["--backend".as_ref(), "rediss".as_ref()], "choose memory, redis or memcached");
    refused(&["--backend".as_ref()], "usage: quickstart");
    refused(&["--fast".as_ref()], "usage: quickstart");

    let mut command = quickstart(&["--backend".as_ref(), "redis".as_ref()]);
    let finished = run(command.env("CACHE_REDIS_URL", "redis://me:s3cret@localhost:port"));
    finished.assert_refused("CACHE_REDIS_URL");
    assert!(!finished.err.contains("s3cret"), "{finished:#?}");
}

// Tours of the servers

/// What a tour prints of one server, but for the statistics.
const TOUR: &str = "  adding up 12+30
two calls: 42 and 42
  adding up 12+x
a failure: Err(ParseIntError { kind: InvalidDigit })
invalidated, it holds None
told the answer, it holds Some(42)
cleared, it holds None
the plain cache says Some(\"hello\")
deleted: true, then it says None
";

fn tour(name: &str, variable: &str, url: &str) {
    let finished = run(example(name).env(variable, url)).assert_success();
    let (key, lines): (Vec<_>, Vec<_>) =
        finished.out.split_inclusive('\n').partition(|line| line.starts_with("the cache holds "));
    assert!(lines.concat().starts_with(TOUR), "{finished:#?}");
    let key = key.concat();
    assert!(key.starts_with(&format!("the cache holds Some(42) under {name}::total:0:")), "{key}");
    let columns = ["function", "backend", "hits", "misses", "hit %", "waits", "runs", "stores", "errors"];
    assert_eq!(
        row(&finished.out, columns),
        [&*format!("{name}::total"), name, "1", "2", "33.3", "0", "2", "2", "0"],
        "{finished:#?}"
    );

    let url = format!("{name}://{}", fakes::absent());
    let finished = run(example(name).env(variable, &url)).assert_success();
    // While the server is away, results are kept in the process.
    assert_eq!(finished.out.matches("adding up 12+30").count(), 1, "{finished:#?}");
    assert!(finished.out.contains("two calls: 42 and 42\n"), "{finished:#?}");
    assert!(
        finished.out.contains("server not reachable, results stayed in the process: cache unavailable: "),
        "{finished:#?}"
    );
}

#[test]
fn redis() {
    let server = RedisServer::start();
    tour("redis", "REDIS_URL", &server.url());
}

#[test]
fn memcached() {
    let server = MemcachedServer::start();
    tour("memcached", "CACHE_MEMCACHED_URL", &server.url());
}

#[test]
fn tls_cluster() {
    let finished = Running::start(&mut example("tls_cluster")).finish().assert_success();
    let line = |start: &str| finished.out.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("all nodes:").contains("300 from the cluster, 0 from bodies"), "{finished:#?}");
    let from_nodes = line("one node dead:").split_whitespace().nth(3).unwrap().parse::<usize>().unwrap();
    assert!((150..250).contains(&from_nodes), "{finished:#?}");
}

// The service

/// A running service.
struct Service {
    process: Running,
    address: String,
}

impl Service {
    /// On a free port, which its first line names.
    fn start(url: Option<&str>) -> Self {
        let mut command = example("async_service");
        command.envs(url.map(|url| ("CACHE_USERS_URL", url)));
        Self::run(&mut command)
    }

    fn run(command: &mut Command) -> Self {
        let command = command.env("PORT", "0");
        let mut process = Running::start(command);
        let mut line = String::new();
        BufReader::new(process.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line}"));
        Self { address: address.trim_end().to_owned(), process }
    }

    /// Status and body of the answer.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Hits, misses and runs.
    fn counts(&self) -> [u64; 3] {
        let (status, table) = self.ask("GET", "/stats");
        assert_eq!(status, 200);
        let [function, backend, counts @ ..] = row(&table, ["function", "backend", "hits", "misses", "runs"]);
        assert_eq!([function, backend], ["async_service::user", "users"], "{table}");
        counts.map(|count| count.parse().unwrap())
    }

    /// Asks it to end, as a service manager does.
    fn stop(mut self) -> ExitStatus {
        let id = self.process.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.process.end()
    }
}

fn ada() -> (u16, String) {
    (200, r#"{"id":1,"name":"Ada"}"#.to_owned())
}

#[test]
fn async_service() {
    let service = Service::start(None);
    assert_eq!(service.ask("GET", "/users/1"), ada());
    assert_eq!(service.counts(), [0, 1, 1]);
    assert_eq!(service.ask("GET", "/users/1"), ada());
    assert_eq!(service.counts(), [1, 1, 1]);
    assert_eq!(service.ask("GET", "/users/9").0, 404);
    assert_eq!(service.ask("GET", "/users/me").0, 400);
    // Were the entry still there, a deleted user would be shown.
    assert_eq!(service.ask("DELETE", "/users/1").0, 204);
    assert_eq!(service.ask("GET", "/users/1").0, 404);
    assert_eq!(service.counts(), [1, 3, 3]);
    assert!(service.stop().success());
}

#[test]
fn async_services_share_a_server() {
    let mut server = RedisServer::start();
    let (one, other) = (Service::start(Some(&server.url())), Service::start(Some(&server.url())));
    assert_eq!(one.ask("GET", "/users/1"), ada());
    assert_eq!(other.ask("GET", "/users/1"), ada());
    assert_eq!((one.counts(), other.counts()), ([0, 1, 1], [1, 0, 0]));
    assert_eq!(other.ask("DELETE", "/users/1").0, 204);
    assert_eq!(one.ask("GET", "/users/1"), ada());
    assert_eq!(one.counts(), [0, 2, 2]);

    // Without its server it still answers, and says which deletion the cache has not heard of.
    server.kill();
    assert_eq!(one.ask("GET", "/users/2"), (200, r#"{"id":2,"name":"Edsger"}"#.to_owned()));
    let (status, body) = one.ask("DELETE", "/users/2");
    assert!(status == 503 && body.contains("cache unavailable"), "{status} {body}");
    assert!(one.stop().success() && other.stop().success());
}

#[test]
fn async_service_refuses_a_wrong_setting() {
    let finished = run(example("async_service").env("CACHE_USERS_URL", "memroy://"));
    finished.assert_refused("CACHE_USERS_URL");
    assert!(finished.err.contains("memroy"), "{finished:#?}");
}

/// Sessions and limits of two services that share a server.
fn sessions_on(url: &str) {
    let start = || Service::run(example("sessions").env("CACHE_SESSIONS_URL", url));
    let (one, other) = (start(), start());
    let (status, id) = one.ask("POST", "/login/ada");
    assert_eq!((status, id.len()), (200, 64));
    let session = format!("/sessions/{id}");
    assert_eq!(other.ask("GET", &session), (200, "ada".to_owned()));
    assert_eq!(other.ask("GET", "/sessions/ada").0, 401, "a limit is no session");
    for service in [&one, &other, &one, &other] {
        assert_eq!(service.ask("POST", "/login/ada").0, 200);
    }
    assert_eq!(one.ask("POST", "/login/ada").0, 429);
    assert_eq!(other.ask("POST", "/login/ada").0, 429);
    assert_eq!(one.ask("POST", "/login/grace").0, 200);
    assert_eq!(one.ask("DELETE", &session).0, 204);
    assert_eq!(other.ask("GET", &session).0, 401);
    assert_eq!(one.ask("DELETE", &session).0, 404);
}

#[test]
fn sessions() {
    let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
    sessions_on(&redis.url());
    sessions_on(&memcached.url());
}

// Unit tests

#[test]
fn unit_tests() {
    let mut program = example("unit_tests");
    let finished = run(program.env("CACHE_BACKEND", "memory")).assert_success();
    assert!(finished.out.starts_with("12 melons cost 2149 cents, and again 2149\n"), "{finished:#?}");
    let row = row(&finished.out, ["function", "backend", "hits", "misses", "hit %", "runs"]);
    assert_eq!(row, ["unit_tests::price", "redis", "1", "1", "50.0", "1"], "{finished:#?}");

    let mut tests = cargo();
    tests.arg("test").args(options()).args(["--example", "unit_tests"]);
    // Had a test asked this Redis, there would be an error and no hit.
    tests.env("CACHE_REDIS_URL", format!("redis://{}", fakes::absent()));
    let finished = Finished::from(tests.output().unwrap()).assert_success();
    assert!(finished.out.contains("3 passed; 0 failed; 0 ignored"), "{finished:#?}");
}

// A backend of one's own

#[test]
fn custom_backend() {
    let directory = Directory::new();
    let entries = directory.0.join("entries");
    let answer = || {
        let finished = run(example("custom_backend").arg(&entries)).assert_success();
        assert!(finished.out.contains("\n25997 primes are below 300000\n"), "{finished:#?}");
        finished.bodies_run()
    };
    assert_eq!([answer(), answer()], [1, 0]);
    let files = || fs::read_dir(&entries).unwrap().map(|entry| entry.unwrap().path());
    // The entry, the generation of the function, and the lock; no file is left half-written.
    assert_eq!(files().count(), 3);
    assert!(files().all(|file| file.extension().is_none()));

    // A damaged file is a miss, and so is none.
    for file in files().filter(|file| !file.ends_with("lock")) {
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    assert_eq!([answer(), answer()], [1, 0]);
    for file in files() {
        fs::write(&file, "").unwrap();
    }
    assert_eq!([answer(), answer()], [1, 0]);
    fs::remove_dir_all(&entries).unwrap();
    assert_eq!([answer(), answer()], [1, 0]);

    // Where nothing can be stored, it still answers.
    fs::remove_dir_all(&entries).unwrap();
    directory.write("entries", "not a directory");
    assert_eq!([answer(), answer()], [1, 1]);
}

// The outage

#[test]
fn outage_plays_to_the_end_and_no_answer_is_wrong() {
    let finished = run(example("outage").args(["--plain", "--seconds", "1"])).assert_success();
    assert!(!finished.out.contains('\x1b'), "{finished:#?}");
    let acts: Vec<Vec<&str>> = finished
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .skip(1)
        .map(|row| row.split('|').map(str::trim).collect())
        .collect();
    let names: Vec<_> = acts.iter().map(|act| act[0]).collect();
    assert_eq!(names, ["running", "killed", "restarted", "frozen", "thawed", "killed for good"]);
    for act in acts {
        let number = |column: usize| act[column].trim_end_matches('%').parse::<f64>().unwrap();
        assert!(number(1) > 0.0, "calls: {act:?}");
        let (is_down, here) = (act[0].starts_with("killed") || act[0] == "frozen", number(3));
        assert!(!is_down || here > 0.0, "{act:?}");
        assert_eq!(act[8], "0", "wrong answers: {act:?}");
    }
}

#[test]
fn outage_says_what_it_takes() {
    run(example("outage").args(["--seconds", "0"])).assert_refused("--seconds takes a number above zero");
    run(example("outage").arg("--fast")).assert_refused("unknown argument `--fast`");
    run(example("outage").env("PATH", "/nonexistent")).assert_refused("apt-get install -y redis-server");
}
