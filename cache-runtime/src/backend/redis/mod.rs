//! Redis: its commands, what its answers and errors mean, and the connections they travel on.
//!
//! Blocking calls take turns on a few connections, and so do the async calls of each runtime. Both send the same
//! commands and read the answers with the same functions. Of redis-rs this uses the encoder, the parser, addresses and
//! errors; none of its types is public here.

use std::convert::identity;
use std::fmt;
use std::io;
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::{Cmd, ConnectionAddr, ErrorKind as Cause, RedisError, ServerErrorKind, Value, cmd};
use bytes::Bytes;

use super::Backend;
use crate::error::{Error, ErrorKind};
use crate::net::options::{Limits, Span, TIMEOUT};
use crate::net::pool::{self, Pool, Redo, Slot, dial, left};
use crate::net::shared_reads::Rides;
use crate::net::stream::Wire;
use crate::net::url::{Host, Url};

mod reply;
#[cfg(feature = "tokio")]
mod tokio;

use self::reply::{Reply, reply};
#[cfg(feature = "tokio")]
use crate::net::tokio::per_runtime::PerRuntime;
#[cfg(feature = "tokio")]
use crate::net::tokio::pool::AsyncPool;

/// Redis, or a server that speaks its protocol, such as Valkey.
///
/// Making one doesn't connect. Blocking callers share up to `pool` connections, and so do the async callers of each tokio
/// runtime. Reads of blocking callers that find all connections busy travel together, with one `MGET`.
///
/// | URL parameter | meaning | default |
/// |---|---|---|
/// | `timeout` | the longest an operation may take, connecting included | `250ms` |
/// | `pool` | connections | 16 for blocking callers, 64 for async ones |
/// | `max_value` | the longest value | `512MiB`, the server's own limit |
/// | `db` | the database, as the path of a `redis://` URL says it too | 0 |
///
/// # Example
///
/// ```no_run
/// use std::time::{Duration, Instant};
/// use cache_runtime::{Backend, Redis};
///
/// let redis = Redis::from_url("redis://:password@localhost:6379/1?timeout=100ms")?;
/// let soon = Instant::now() + Duration::from_millis(100);
/// redis.set(b"greeting", "hello".into(), Some(Duration::from_secs(60)), soon)?;
/// assert_eq!(redis.get(b"greeting", soon)?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), cache_runtime::Error>(())
/// ```
pub struct Redis {
    server: Server,
    pool: Pool<Connection>,
    rides: Rides,
    #[cfg(feature = "tokio")]
    shared: PerRuntime<Arc<AsyncPool>>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.server.limits.place).finish()
    }
}

// ---- URL -> settings ---------------------------------------------------------------------------

const PORT: u16 = 6379;
const MAX_VALUE: usize = 512 << 20;

/// The longest lifetime that is sent: the server adds it to its clock and refuses what overflows.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 86_400);

struct Server {
    limits: Limits,
    address: ConnectionAddr,
    /// `AUTH` and `SELECT`, as far as the URL asks for them.
    login: Vec<Cmd>,
}

impl Redis {
    /// The server at `redis://[user:password@]host[:port][/db]` or `unix:///path/to.sock[?db=1]`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the URL is not such a one.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Self::open(Url::parse(url)?, TIMEOUT)
    }

    /// `timeout` holds where the URL has none.
    pub(crate) fn open(mut url: Url, timeout: Duration) -> Result<Self, Error> {
        let server = Server::new(&mut url, timeout)?;
        let pool = Pool::new(server.limits.pool(pool::USUAL));
        #[cfg(feature = "tokio")]
        let shared = PerRuntime::new();
        Ok(Self {
            server,
            pool,
            rides: Rides::default(),
            #[cfg(feature = "tokio")]
            shared,
        })
    }
}

impl Server {
    fn new(url: &mut Url, timeout: Duration) -> Result<Self, Error> {
        let limits = Limits::take(url, timeout, MAX_VALUE)?;
        let asked: Option<u32> = url.take("db", "a database number")?;
        let (address, db) = match url.scheme.as_str() {
            "redis" => (tcp_address(url)?, path_db(&url.path)?),
            "unix" | "redis+unix" => (unix_address(url)?, None),
            scheme @ ("rediss" | "redis+cluster" | "redis+sentinel") => {
                return Err(config(format!("`{scheme}://` is not supported yet by this version")));
            }
            scheme => return Err(config(format!("`{scheme}://` is not a Redis URL"))),
        };
        if asked.is_some() && db.is_some() {
            return Err(config("the database is given twice".to_owned()));
        }
        url.finish()?;
        Ok(Self { limits, address, login: login(url, db.or(asked).unwrap_or(0))? })
    }
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn tcp_address(url: &Url) -> Result<ConnectionAddr, Error> {
    match url.hosts.as_slice() {
        [Host { name, port }] => Ok(ConnectionAddr::Tcp(name.clone(), port.unwrap_or(PORT))),
        [] => Err(config("the URL names no host".to_owned())),
        _ => Err(config("several hosts need `redis+cluster://`, which is not supported yet".to_owned())),
    }
}

fn unix_address(url: &Url) -> Result<ConnectionAddr, Error> {
    if !url.hosts.is_empty() || url.path.len() < 2 {
        return Err(config("a socket is written with three slashes: `unix:///path/to.sock`".to_owned()));
    }
    if !cfg!(unix) {
        return Err(config("this system has no unix sockets".to_owned()));
    }
    Ok(ConnectionAddr::Unix(url.path.clone().into()))
}

fn path_db(path: &str) -> Result<Option<u32>, Error> {
    match path.trim_matches('/') {
        "" => Ok(None),
        db => db.parse().map(Some).map_err(|_| config("the path is not a database number".to_owned())),
    }
}

fn login(url: &Url, db: u32) -> Result<Vec<Cmd>, Error> {
    let mut commands = Vec::new();
    match (&url.user, &url.password) {
        (None, None) => {}
        (Some(_), None) => return Err(config("the URL has a user without a password".to_owned())),
        (user, Some(password)) => commands.push(cmd("AUTH").arg(user).arg(password).take()),
    }
    if db != 0 {
        commands.push(cmd("SELECT").arg(db).take());
    }
    Ok(commands)
}

// ---- Commands and answers ----------------------------------------------------------------------

// Packed, as they are sent.

/// Most hits are made of it, and all but the key is known.
fn get(key: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = b"*2\r\n$3\r\nGET\r\n";
    let mut request = Vec::with_capacity(HEAD.len() + key.len() + USUAL_FRAME);
    request.extend_from_slice(HEAD);
    argument(key, &mut request);
    request
}

fn get_many(keys: &[&[u8]]) -> Vec<u8> {
    packed(b"MGET", keys)
}

/// A command that hits or misses are made of. All others are for the encoder, which copies each argument twice and takes
/// four times as long.
fn packed(name: &[u8], args: &[&[u8]]) -> Vec<u8> {
    let parts = || [name].into_iter().chain(args.iter().copied());
    let len = parts().map(|part| part.len() + USUAL_FRAME).sum::<usize>();
    let mut request = Vec::with_capacity(USUAL_FRAME + len);
    announce(b'*', 1 + args.len(), &mut request);
    parts().for_each(|part| argument(part, &mut request));
    request
}

/// Appends an argument of a command.
fn argument(part: &[u8], out: &mut Vec<u8>) {
    announce(b'$', part.len(), out);
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

/// What is around an argument: `$`, a length below 10,000 and two ends of lines.
const USUAL_FRAME: usize = 9;

/// Appends the line that says how many or how long.
fn announce(what: u8, count: usize, out: &mut Vec<u8>) {
    let (mut line, mut start, mut rest) = (*b"                    \r\n", 20, count);
    while start == 20 || rest > 0 {
        start -= 1;
        line[start] = b"0123456789"[rest % 10];
        rest /= 10;
    }
    out.push(what);
    out.extend_from_slice(&line[start..]);
}

fn set(key: &[u8], value: &[u8], ttl: Option<Duration>) -> Vec<u8> {
    put(key, value, ttl, &[])
}

fn add(key: &[u8], value: &[u8], ttl: Option<Duration>) -> Vec<u8> {
    put(key, value, ttl, &[b"NX"])
}

fn put(key: &[u8], value: &[u8], ttl: Option<Duration>, condition: &[&[u8]]) -> Vec<u8> {
    let ttl = ttl.map(|ttl| millis(ttl).to_string());
    let life: &[&[u8]] = match &ttl {
        Some(ttl) => &[b"PX", ttl.as_bytes()],
        None => &[],
    };
    packed(b"SET", &[&[key, value], life, condition].concat())
}

/// The script travels with each call, which costs less than the state and the second round trip that a script
/// known by its digest would need after each restart.
fn replace(key: &[u8], old: &[u8], new: &[u8], ttl: Option<Duration>) -> Vec<u8> {
    const SCRIPT: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
        return redis.call('SET', KEYS[1], unpack(ARGV, 2)) end return false";
    let mut command = cmd("EVAL");
    command.arg(SCRIPT).arg(1).arg(key).arg(old).arg(new);
    if let Some(ttl) = ttl {
        command.arg("PX").arg(millis(ttl));
    }
    command.get_packed_command()
}

fn exists(key: &[u8]) -> Vec<u8> {
    cmd("EXISTS").arg(key).get_packed_command()
}

fn delete(key: &[u8]) -> Vec<u8> {
    cmd("DEL").arg(key).get_packed_command()
}

/// Rounded up: the server refuses a lifetime of zero, and an entry must not go before its time.
fn millis(ttl: Duration) -> u64 {
    let ttl = ttl.clamp(Duration::from_millis(1), MAX_TTL);
    ttl.as_secs() * 1000 + u64::from(ttl.subsec_nanos().div_ceil(1_000_000))
}

fn one(answer: Reply) -> Result<Option<Bytes>, Error> {
    match answer {
        Reply::One(value) => Ok(value),
        _ => Err(unexpected()),
    }
}

fn many(count: usize) -> impl Fn(Reply) -> Result<Vec<Option<Bytes>>, Error> {
    move |answer| match answer {
        Reply::Many(values) if values.len() == count => Ok(values),
        _ => Err(unexpected()),
    }
}

fn stored(answer: Reply) -> Result<bool, Error> {
    match answer {
        Reply::Said(Value::Okay) => Ok(true),
        Reply::One(None) => Ok(false),
        _ => Err(unexpected()),
    }
}

fn any(answer: Reply) -> Result<bool, Error> {
    match answer {
        Reply::Said(Value::Int(count)) => Ok(count > 0),
        _ => Err(unexpected()),
    }
}

/// Outside, what went wrong with the connection, which is not used again; inside, what the server says.
type Judged<T> = Result<Result<T, Error>, Error>;

/// An answer that doesn't fit the command shows that the connection has lost step.
fn judge<T>(answer: Reply, read: impl Fn(Reply) -> Result<T, Error>) -> Judged<T> {
    let answer = match answer {
        Reply::Said(said) => match said.extract_error() {
            Ok(said) => Reply::Said(said),
            Err(error) => return Ok(Err(failure(error))),
        },
        values => values,
    };
    read(answer).map(Ok)
}

// ---- Blocking ----------------------------------------------------------------------------------

/// One connection, logged in.
struct Connection(Wire);

impl Connection {
    fn ask(&mut self, request: &[u8], deadline: Instant) -> Result<Reply, Error> {
        self.0.send(request, deadline).map_err(|error| failure(error.into()))?;
        self.0.receive(reply).map_err(|error| failure(error.into()))?
    }
}

impl Server {
    fn connect(&self, deadline: Instant) -> Result<Connection, Error> {
        let mut connection = Connection(self.dial(deadline).map_err(|error| failure(error.into()))?);
        for command in &self.login {
            welcome(connection.ask(&command.get_packed_command(), deadline))?;
        }
        Ok(connection)
    }

    fn dial(&self, deadline: Instant) -> io::Result<Wire> {
        match &self.address {
            ConnectionAddr::Tcp(host, port) => Ok(Wire::new(dial(host, *port, deadline)?)),
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => Ok(Wire::new(dial_unix(path, deadline)?)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// As `UnixStream::connect`, which waits for ever while a frozen server's queue is full.
#[cfg(unix)]
fn dial_unix(path: &std::path::Path, deadline: Instant) -> io::Result<std::os::unix::net::UnixStream> {
    use ::redis::io::tcp::socket2::{Domain, SockAddr, Socket, Type};
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(left(deadline)?))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

impl Redis {
    fn ask<T>(
        &self,
        request: &[u8],
        redo: Redo,
        read: impl Fn(Reply) -> Result<T, Error>,
        deadline: Instant,
    ) -> Result<T, Error> {
        let span = self.server.limits.span(deadline)?;
        let answer = self.pool.slot(span).and_then(|slot| self.ask_on(slot, request, redo, read, span));
        answer.map_err(|error| error.at(&self.server.limits.place))
    }

    fn ask_on<T>(
        &self,
        slot: Slot<'_, Connection>,
        request: &[u8],
        redo: Redo,
        read: impl Fn(Reply) -> Result<T, Error>,
        span: Span,
    ) -> Result<T, Error> {
        let connect = || self.server.connect(span.end);
        let call = |connection: &mut Connection| judge(connection.ask(request, span.end)?, &read);
        slot.run(redo, connect, call).and_then(identity)
    }
}

impl Backend for Redis {
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        let span = self.server.limits.span(deadline)?;
        let value = match self.pool.try_slot(span) {
            Some(slot) => self.ask_on(slot, &get(key), Redo::Once, one, span),
            None => self.rides.get(&self.pool, key, span, |slot, keys| {
                self.ask_on(slot, &get_many(keys), Redo::Once, many(keys.len()), span)
            }),
        };
        value.map_err(|error| error.at(&self.server.limits.place))
    }

    fn get_many(&self, keys: &[&[u8]], deadline: Instant) -> Result<Vec<Option<Bytes>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(&get_many(keys), Redo::Once, many(keys.len()), deadline)
    }

    fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<(), Error> {
        self.server.limits.admit(&value)?;
        self.ask(&set(key, &value, ttl), Redo::Once, stored, deadline).map(drop)
    }

    /// With `replace` the operation that gives another answer when it is done twice: the second would find
    /// what the first stored. So it goes out once only, after a question that may be asked twice has
    /// proved the connection, or made it needless.
    fn add(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<bool, Error> {
        self.server.limits.admit(&value)?;
        if self.ask(&exists(key), Redo::Once, any, deadline)? {
            return Ok(false);
        }
        self.ask(&add(key, &value, ttl), Redo::Never, stored, deadline)
    }

    /// Once only, like `add`.
    fn replace(
        &self,
        key: &[u8],
        old: &[u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Result<bool, Error> {
        self.server.limits.admit(&new)?;
        if !self.ask(&exists(key), Redo::Once, any, deadline)? {
            return Ok(false);
        }
        self.ask(&replace(key, old, &new, ttl), Redo::Never, stored, deadline)
    }

    fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
        self.ask(&delete(key), Redo::Once, any, deadline)
    }

    fn max_value_len(&self) -> usize {
        self.server.limits.max_value
    }
}

// ---- Errors ------------------------------------------------------------------------------------

fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer doesn't fit the command")
}

fn failure(error: RedisError) -> Error {
    let kind = kind(&error);
    let message = match kind {
        ErrorKind::Timeout => "no answer within the deadline".to_owned(),
        _ => error.to_string(),
    };
    Error::new(kind, message).with_source(error)
}

/// Checks the answer to a login command. What the server says to one is not repeated: servers
/// without `AUTH`, and proxies, answer with the command's arguments.
fn welcome(answer: Result<Reply, Error>) -> Result<(), Error> {
    let said = match answer {
        Ok(Reply::Said(Value::Okay)) => return Ok(()),
        Ok(Reply::Said(said)) => said.extract_error().err(),
        // Whatever it repeats.
        Ok(Reply::One(_) | Reply::Many(_)) => None,
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
            return Err(error);
        }
        // What it quotes may be the password.
        Err(_) => None,
    };
    let Some(error) = said else { return Err(unexpected()) };
    let blames_login =
        ["AUTH", "password", "SELECT", "DB index"].iter().any(|word| error.to_string().contains(word));
    let kind = if blames_login { ErrorKind::Denied } else { kind(&error) };
    Err(Error::new(kind, "the server refused the user, the password or the database"))
}

fn kind(error: &RedisError) -> ErrorKind {
    match error.kind() {
        Cause::Io if error.is_timeout() => ErrorKind::Timeout,
        Cause::Io => ErrorKind::Unavailable,
        Cause::AuthenticationFailed | Cause::Server(ServerErrorKind::NoPerm) => ErrorKind::Denied,
        Cause::Server(_) => ErrorKind::Server,
        Cause::Extension => match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "DENIED") => ErrorKind::Denied,
            _ => ErrorKind::Server,
        },
        _ => ErrorKind::Protocol,
    }
}

// ---- Tests -------------------------------------------------------------------------------------

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_packed_as_redis_rs_packs_them() {
        let (key, long) = (b"a key".as_slice(), [b'k'; 12_345].as_slice());
        let theirs = |name: &str, args: &[&[u8]]| cmd(name).arg(args).get_packed_command();
        for len in [0, 1, 9, 10, 101, 12_345] {
            assert_eq!(get(&long[..len]), theirs("GET", &[&long[..len]]));
        }
        let many = [[key; 100].as_slice(), &[long]].concat();
        assert_eq!(get_many(&many), theirs("MGET", &many));
        assert_eq!(set(key, b"\r\n", None), theirs("SET", &[key, b"\r\n"]));
        let ttl = Some(Duration::from_secs(60));
        assert_eq!(add(key, long, ttl), theirs("SET", &[key, long, b"PX", b"60000", b"NX"]));
    }

    fn server(text: &str) -> Result<Server, Error> {
        Redis::from_url(text).map(|redis| redis.server)
    }

    fn logins(text: &str) -> Vec<String> {
        let login = server(text).unwrap().login;
        login.iter().map(|command| String::from_utf8(command.get_packed_command()).unwrap()).collect()
    }

    #[test]
    fn addresses() {
        let address = |text| server(text).unwrap().address;
        assert_eq!(address("redis://h"), ConnectionAddr::Tcp("h".into(), 6379));
        assert_eq!(address("redis://[::1]:7/2"), ConnectionAddr::Tcp("::1".into(), 7));
        assert_eq!(address("unix:///run/r.sock?db=2"), ConnectionAddr::Unix("/run/r.sock".into()));
        assert_eq!(address("redis+unix:///r.sock"), ConnectionAddr::Unix("/r.sock".into()));
    }

    #[test]
    fn logins_are_what_the_url_asks_for() {
        assert_eq!(logins("redis://h/0"), [""; 0]);
        assert_eq!(logins("redis://:pw@h"), ["*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"]);
        let both = ["*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n", "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"];
        assert_eq!(logins("redis://me:pw@h/3"), both);
        assert_eq!(logins("unix://me:pw@/r.sock?db=3"), both);
    }

    #[test]
    fn other_urls_are_refused() {
        for text in [
            "rediss://h",
            "redis+cluster://a,b",
            "redis+sentinel://a/m",
            "http://h",
            "redis://",
            "redis://a,b",
            "redis://h/x",
            "redis://h/1?db=1",
            "redis://h?db=-1",
            "redis://me@h",
            "unix://h/r.sock",
            "unix://",
            "redis://h?tiemout=1s",
            "redis://h?pool=0",
        ] {
            let error = Redis::from_url(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}: {error}");
        }
        for text in
            ["redis://:s3cret@h?pool=x", "redis://s3cret@h", "redis://u:1/s3cret", "redis://u:p@h/s3cret"]
        {
            let error = Redis::from_url(text).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn lifetimes_are_rounded_up_and_bounded() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(1_500)), 2);
        assert_eq!(millis(Duration::from_millis(1_500)), 1_500);
        assert_eq!(millis(Duration::MAX), 3_153_600_000_000);
    }

    fn answer(line: &str) -> Result<Value, RedisError> {
        ::redis::parse_redis_value(line.as_bytes())
    }

    #[test]
    fn errors_have_their_kinds() {
        for (line, kind) in [
            ("-NOAUTH Authentication required.\r\n", ErrorKind::Denied),
            ("-WRONGPASS invalid username-password pair or user is disabled.\r\n", ErrorKind::Denied),
            ("-NOPERM this user has no permissions\r\n", ErrorKind::Denied),
            ("-DENIED Redis is running in protected mode\r\n", ErrorKind::Denied),
            ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", ErrorKind::Server),
            ("-READONLY You can't write against a read only replica.\r\n", ErrorKind::Server),
            ("-LOADING Redis is loading the dataset in memory\r\n", ErrorKind::Server),
            ("-ERR unknown command\r\n", ErrorKind::Server),
            ("HTTP/1.1 400 Bad Request\r\n", ErrorKind::Protocol),
            ("$5\r\nhello__", ErrorKind::Protocol),
            ("$5\r\nhe", ErrorKind::Unavailable),
        ] {
            let said = answer(line).and_then(Value::extract_error).expect_err(line);
            assert_eq!(failure(said).kind(), kind, "{line}");
        }
        for io in [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock] {
            assert_eq!(failure(io::Error::from(io).into()).kind(), ErrorKind::Timeout);
        }
        for io in [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::NotFound]
        {
            assert_eq!(failure(io::Error::from(io).into()).kind(), ErrorKind::Unavailable);
        }
    }

    #[test]
    fn a_refused_login_repeats_nothing() {
        for (line, kind) in [
            ("-WRONGPASS invalid username-password pair\r\n", ErrorKind::Denied),
            ("-ERR AUTH <password> called without any password configured\r\n", ErrorKind::Denied),
            ("-ERR unknown command `AUTH`, with args beginning with: `s3cret`\r\n", ErrorKind::Denied),
            ("-ERR max number of clients reached\r\n", ErrorKind::Server),
            ("-LOADING Redis is loading the dataset in memory\r\n", ErrorKind::Server),
            // As several versions, a cluster and proxies say it.
            ("-ERR DB index is out of range\r\n", ErrorKind::Denied),
            ("-ERR invalid DB index\r\n", ErrorKind::Denied),
            ("-ERR SELECT is not allowed in cluster mode\r\n", ErrorKind::Denied),
            ("-ERR unknown command `SELECT`, with args beginning with: `3`\r\n", ErrorKind::Denied),
        ] {
            let error = welcome(Ok(Reply::Said(answer(line).unwrap()))).expect_err(line);
            assert_eq!(error.kind(), kind, "{line}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
        let echo = Reply::Many([&b"AUTH"[..], b"s3cret"].map(|word| Some(Bytes::from_static(word))).into());
        let error = welcome(Ok(echo)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn answers_of_another_shape_are_refused() {
        let okay = || Reply::Said(Value::Okay);
        assert_eq!(one(Reply::One(None)).unwrap(), None);
        assert_eq!(one(okay()).unwrap_err().kind(), ErrorKind::Protocol);
        assert_eq!(many(2)(Reply::Many(vec![None])).unwrap_err().kind(), ErrorKind::Protocol);
        assert_eq!(stored(Reply::Said(Value::Int(1))).unwrap_err().kind(), ErrorKind::Protocol);
        assert_eq!(any(Reply::One(None)).unwrap_err().kind(), ErrorKind::Protocol);
    }
}
