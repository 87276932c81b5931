//! Memcached: its commands, what its answers and errors mean, the connections they travel on, and
//! which of several servers has which key.
//!
//! Of the memcache crate this uses the wire layer of the meta protocol. The crate's clients on top of
//! it have one timeout for all calls, so none could keep a call's deadline, and don't let the server
//! say which key an answer is for.

use std::fmt;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use memcache::exp::{
    Error as Cause, MetaCommand, MetaCommandResult, MetaConnection, MetaOp, MetaResponse, ReturnCode,
    parse_meta_result,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Backend;
use super::limits::{Limits, TIMEOUT};
use super::pool::{Pool, Redo, dial, left};
use crate::error::{Error, ErrorKind};
use crate::url::{Host, Url};

#[cfg(feature = "tokio")]
use self::shared::AsyncPool;
#[cfg(feature = "tokio")]
use super::per_runtime::PerRuntime;

/// One or several Memcached servers, version 1.6 or newer.
///
/// Making one doesn't connect. Each key lives on one of the servers; taking a server out of the list
/// or adding one moves only that server's keys. Blocking callers share up to `pool` connections to
/// each server, the async callers of one tokio runtime as many again.
///
/// | URL parameter | meaning | default |
/// |---|---|---|
/// | `timeout` | the longest an operation may take, connecting included | `250ms` |
/// | `pool` | connections to each server | 32 |
/// | `max_value` | the longest value; raise it where the server runs with `-I` | 1 MiB less 512 bytes |
///
/// # Example
///
/// ```no_run
/// use std::time::{Duration, Instant};
/// use cache_runtime::{Backend, Memcached};
///
/// let memcached = Memcached::from_url("memcached://cache1,cache2:11212?timeout=100ms")?;
/// let soon = Instant::now() + Duration::from_millis(100);
/// memcached.set(b"greeting", "hello".into(), Some(Duration::from_secs(60)), soon)?;
/// assert_eq!(memcached.get(b"greeting", soon)?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), cache_runtime::Error>(())
/// ```
pub struct Memcached {
    limits: Limits,
    servers: Vec<Server>,
    #[cfg(feature = "tokio")]
    shared: PerRuntime<Vec<AsyncPool>>,
}

impl fmt::Debug for Memcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memcached").field(&self.limits.place).finish()
    }
}

// ---- URL -> settings ---------------------------------------------------------------------------

const PORT: u16 = 11211;

/// The server's limit of 1 MiB counts the key, up to 250 bytes, and the item's header too: 309 bytes
/// together in 1.6.18, found by trying. The rest is room for other versions.
const MAX_VALUE: usize = (1 << 20) - 512;

struct Server {
    host: String,
    port: u16,
    /// What tells the servers apart when keys are distributed.
    seed: u64,
    pool: Pool<MetaConnection>,
}

impl Memcached {
    /// The servers at `memcached://host[:port][,host[:port]…]`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the URL is not such a one.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Self::open(Url::parse(url)?, TIMEOUT)
    }

    /// `timeout` holds where the URL has none.
    pub(crate) fn open(mut url: Url, timeout: Duration) -> Result<Self, Error> {
        let place = url.to_string();
        Self::new(&mut url, timeout).map_err(|error| error.at(place))
    }

    fn new(url: &mut Url, timeout: Duration) -> Result<Self, Error> {
        let limits = Limits::take(url, timeout, MAX_VALUE)?;
        if url.scheme != "memcached" {
            return Err(config(&format!("`{}://` is not a Memcached URL", url.scheme)));
        }
        if url.user.is_some() || url.password.is_some() {
            return Err(config("Memcached is used without a user and a password"));
        }
        if url.hosts.is_empty() || !matches!(url.path.as_str(), "" | "/") {
            return Err(config("a Memcached URL is hosts only, and unix sockets are not supported"));
        }
        url.finish(&["timeout", "pool", "max_value"])?;
        Ok(Self {
            servers: url.hosts.iter().map(|host| Server::new(host, limits.pool)).collect(),
            limits,
            #[cfg(feature = "tokio")]
            shared: PerRuntime::new(),
        })
    }

    /// The index of the server that has `key`: the one that scores highest for it, so that a server
    /// more or less moves only its own keys. The same on every machine, now and later.
    fn route(&self, key: &[u8]) -> usize {
        let score = |index: &usize| xxh3_64_with_seed(key, self.servers[*index].seed);
        (0..self.servers.len()).max_by_key(score).unwrap_or(0)
    }
}

impl Server {
    fn new(Host { name, port }: &Host, pool: usize) -> Self {
        let port = port.unwrap_or(PORT);
        let seed = xxh3_64(format!("{name}:{port}").as_bytes());
        Self { host: name.clone(), port, seed, pool: Pool::new(pool) }
    }
}

fn config(message: &str) -> Error {
    Error::new(ErrorKind::Config, message)
}

// ---- Commands and answers ----------------------------------------------------------------------

/// What the server itself takes as a key is shorter than the contract's, and no white space.
const MAX_KEY: usize = 250;

/// Starts the keys that are hashed. A key that starts with it is hashed too, so none can pose as one.
const HASHED: u8 = b'~';

/// The longest lifetime that is sent. From 2038 on the server takes moments to be past, and for a
/// cache a year is as good as for ever.
const MAX_TTL: u64 = 365 * 86_400;

/// Up to here a lifetime is sent as such; the server takes larger numbers to be moments.
const MAX_RELATIVE: u64 = 30 * 86_400;

/// Commands that are written before their answers are read. More might fill both ends' buffers, and
/// then each end waits for the other to read.
const CHUNK: usize = 256;

struct Request {
    key: Vec<u8>,
    command: MetaCommand,
}

impl Request {
    /// Every command asks for its key in the answer.
    fn new(op: MetaOp, key: &[u8]) -> Self {
        let key = wire_key(key);
        Self { command: MetaCommand::new(op, key.as_slice()).flag("k"), key }
    }

    fn flag(mut self, flag: impl Into<Vec<u8>>) -> Self {
        self.command = self.command.flag(flag);
        self
    }
}

fn get(key: &[u8]) -> Request {
    Request::new(MetaOp::Get, key).flag("v")
}

/// Asks for the value's version too, by which the server knows whether it is still there.
fn get_version(key: &[u8]) -> Request {
    get(key).flag("c")
}

fn replace(key: &[u8], new: Bytes, ttl: Option<Duration>, version: u64) -> Request {
    set(key, new, ttl).flag(format!("C{version}"))
}

fn exists(key: &[u8]) -> Request {
    Request::new(MetaOp::Get, key)
}

fn set(key: &[u8], value: Bytes, ttl: Option<Duration>) -> Request {
    let mut request = Request::new(MetaOp::Set, key);
    request.command = request.command.value(value);
    match ttl {
        Some(ttl) => request.flag(format!("T{}", expiry(ttl, SystemTime::now()))),
        None => request,
    }
}

fn add(key: &[u8], value: Bytes, ttl: Option<Duration>) -> Request {
    set(key, value, ttl).flag("ME")
}

fn delete(key: &[u8]) -> Request {
    Request::new(MetaOp::Delete, key)
}

fn wire_key(key: &[u8]) -> Vec<u8> {
    let fits = (1..=MAX_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if fits && key[0] != HASHED {
        return key.to_vec();
    }
    let mut hashed = vec![HASHED];
    hashed.extend_from_slice(blake3::hash(key).to_hex().as_bytes());
    hashed
}

/// One second more than asked: the server's clock ticks once a second, and its next tick may be near.
fn expiry(ttl: Duration, now: SystemTime) -> u64 {
    let rounded_up = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
    let seconds = rounded_up.saturating_add(1).min(MAX_TTL);
    if seconds <= MAX_RELATIVE {
        return seconds;
    }
    now.duration_since(UNIX_EPOCH).map_or(MAX_RELATIVE, |now| now.as_secs() + seconds)
}

/// The requests for one server, and where their answers belong among all.
struct Batch {
    server: usize,
    places: Vec<usize>,
    keys: Vec<Vec<u8>>,
    commands: Vec<MetaCommand>,
}

impl Memcached {
    fn batches(&self, requests: impl IntoIterator<Item = Request>) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        for (place, Request { key, command }) in requests.into_iter().enumerate() {
            let server = self.route(&key);
            let index = batches.iter().position(|batch| batch.server == server).unwrap_or_else(|| {
                batches.push(Batch { server, places: Vec::new(), keys: Vec::new(), commands: Vec::new() });
                batches.len() - 1
            });
            batches[index].places.push(place);
            batches[index].keys.push(key);
            batches[index].commands.push(command);
        }
        batches
    }
}

impl Batch {
    /// The answers with their places. An answer to another key shows that the connection has lost
    /// step, and fails the batch, so that neither is used.
    fn read<T>(&self, answers: Vec<MetaResponse>, read: Read<T>) -> Result<Vec<(usize, T)>, Error> {
        let mut values = Vec::with_capacity(answers.len());
        for ((answer, key), place) in answers.into_iter().zip(&self.keys).zip(&self.places) {
            let answer = parse_meta_result(answer).map_err(failure)?;
            match &answer.key {
                Some(echo) if echo == key => {}
                // Older servers say nothing but `EN` on a miss.
                None if answer.rc == ReturnCode::En => {}
                _ => return Err(unexpected()),
            }
            values.push((*place, read(answer)?));
        }
        Ok(values)
    }
}

type Read<T> = fn(MetaCommandResult) -> Result<T, Error>;

fn value(answer: MetaCommandResult) -> Result<Option<Bytes>, Error> {
    match answer.rc {
        ReturnCode::Va => Ok(answer.value.map(Bytes::from)),
        ReturnCode::En => Ok(None),
        _ => Err(unexpected()),
    }
}

fn versioned(answer: MetaCommandResult) -> Result<Option<(Bytes, u64)>, Error> {
    let version = answer.cas;
    let Some(value) = value(answer)? else { return Ok(None) };
    Ok(Some((value, version.ok_or_else(unexpected)?)))
}

#[expect(clippy::needless_pass_by_value, reason = "one signature for all readers")]
fn done(answer: MetaCommandResult) -> Result<bool, Error> {
    match answer.rc {
        ReturnCode::Hd => Ok(true),
        ReturnCode::En | ReturnCode::Nf | ReturnCode::Ns | ReturnCode::Ex => Ok(false),
        _ => Err(unexpected()),
    }
}

/// The values in the order of their requests.
fn in_order<T>(mut answers: Vec<(usize, T)>) -> Vec<T> {
    answers.sort_unstable_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, value)| value).collect()
}

fn only<T>(mut answers: Vec<T>) -> Result<T, Error> {
    answers.pop().ok_or_else(unexpected)
}

// ---- Blocking ----------------------------------------------------------------------------------

impl Server {
    fn connect(&self, deadline: Instant) -> Result<MetaConnection, Error> {
        let stream = dial(&self.host, self.port, deadline).map_err(|error| failure(error.into()))?;
        Ok(MetaConnection::from_stream(stream))
    }
}

impl Batch {
    fn send<T>(
        &self,
        connection: &mut MetaConnection,
        read: Read<T>,
        deadline: Instant,
    ) -> Result<Vec<(usize, T)>, Error> {
        let mut answers = Vec::with_capacity(self.commands.len());
        for commands in self.commands.chunks(CHUNK) {
            connection.set_io_timeout(Some(left(deadline).map_err(|error| failure(error.into()))?));
            answers.append(&mut connection.execute_batch(commands).map_err(failure)?);
        }
        self.read(answers, read)
    }
}

impl Memcached {
    fn ask<T>(&self, request: Request, redo: Redo, read: Read<T>, deadline: Instant) -> Result<T, Error> {
        self.ask_many([request], redo, read, deadline).and_then(only)
    }

    fn ask_many<T>(
        &self,
        requests: impl IntoIterator<Item = Request>,
        redo: Redo,
        read: Read<T>,
        deadline: Instant,
    ) -> Result<Vec<T>, Error> {
        let deadline = self.limits.deadline(deadline)?;
        let mut answers = Vec::new();
        for batch in self.batches(requests) {
            let server = &self.servers[batch.server];
            let connect = || server.connect(deadline);
            let sent =
                server.pool.run(redo, deadline, connect, |connection| batch.send(connection, read, deadline));
            answers.append(&mut sent.map_err(|error| error.at(&self.limits.place))?);
        }
        Ok(in_order(answers))
    }
}

impl Backend for Memcached {
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        self.ask(get(key), Redo::Once, value, deadline)
    }

    fn get_many(&self, keys: &[&[u8]], deadline: Instant) -> Result<Vec<Option<Bytes>>, Error> {
        self.ask_many(keys.iter().map(|key| get(key)), Redo::Once, value, deadline)
    }

    fn set(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<(), Error> {
        self.limits.admit(&value)?;
        self.ask(set(key, value, ttl), Redo::Once, done, deadline).map(drop)
    }

    /// With `replace` the operation that gives another answer when it is done twice: the second would find
    /// what the first stored. So it goes out once only, after a question that may be asked twice has
    /// proved the connection, or made it needless.
    fn add(&self, key: &[u8], value: Bytes, ttl: Option<Duration>, deadline: Instant) -> Result<bool, Error> {
        self.limits.admit(&value)?;
        if self.ask(exists(key), Redo::Once, done, deadline)? {
            return Ok(false);
        }
        self.ask(add(key, value, ttl), Redo::Never, done, deadline)
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
        self.limits.admit(&new)?;
        match self.ask(get_version(key), Redo::Once, versioned, deadline)? {
            Some((value, version)) if value == old => {
                self.ask(replace(key, new, ttl, version), Redo::Never, done, deadline)
            }
            _ => Ok(false),
        }
    }

    fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
        self.ask(delete(key), Redo::Once, done, deadline)
    }

    fn max_value_len(&self) -> usize {
        self.limits.max_value
    }

    fn servers(&self) -> usize {
        self.servers.len()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        self.route(&wire_key(key))
    }
}

// ---- Async -------------------------------------------------------------------------------------

#[cfg(feature = "tokio")]
mod shared {
    use std::future::poll_fn;
    use std::task::Poll;

    use memcache::exp::AsyncMetaConnection;
    use tokio::sync::Semaphore;
    use tokio::time::timeout_at;

    use super::*;
    use crate::backend::pool::{Idle, Member};
    use crate::backend::{AsyncBackend, BoxFuture};

    /// The connections of one runtime to one server. A future dropped on the way drops its connection,
    /// and with it the answer that may still come.
    pub(super) struct AsyncPool {
        idle: Idle<AsyncMetaConnection>,
        slots: Semaphore,
    }

    impl Server {
        async fn connect_async(&self) -> Result<AsyncMetaConnection, Error> {
            AsyncMetaConnection::connect((self.host.as_str(), self.port)).await.map_err(failure)
        }
    }

    impl Batch {
        async fn send_async<T>(
            &self,
            connection: &mut AsyncMetaConnection,
            read: Read<T>,
        ) -> Result<Vec<(usize, T)>, Error> {
            let mut answers = Vec::with_capacity(self.commands.len());
            for commands in self.commands.chunks(CHUNK) {
                answers.append(&mut connection.execute_batch(commands).await.map_err(failure)?);
            }
            self.read(answers, read)
        }
    }

    impl Memcached {
        async fn ask_async<T>(
            &self,
            request: Request,
            redo: Redo,
            read: Read<T>,
            deadline: Instant,
        ) -> Result<T, Error> {
            self.ask_many_async([request], redo, read, deadline).await.and_then(only)
        }

        async fn ask_many_async<T>(
            &self,
            requests: impl IntoIterator<Item = Request>,
            redo: Redo,
            read: Read<T>,
            deadline: Instant,
        ) -> Result<Vec<T>, Error> {
            let deadline = self.limits.deadline(deadline)?;
            let pools = self.shared.get(|| self.async_pools())?;
            let batches = self.batches(requests);
            let sent =
                batches.iter().map(|batch| self.run(&pools[batch.server], batch, redo, read)).collect();
            let Ok(sent) = timeout_at(deadline.into(), all(sent)).await else {
                return Err(self.limits.timed_out());
            };
            let mut answers = Vec::new();
            for sent in sent {
                answers.append(&mut sent.map_err(|error| error.at(&self.limits.place))?);
            }
            Ok(in_order(answers))
        }

        fn async_pools(&self) -> Vec<AsyncPool> {
            let pool = |_: &Server| AsyncPool { idle: Idle::new(), slots: Semaphore::new(self.limits.pool) };
            self.servers.iter().map(pool).collect()
        }

        /// As `Pool::run`.
        async fn run<T>(
            &self,
            pool: &AsyncPool,
            batch: &Batch,
            redo: Redo,
            read: Read<T>,
        ) -> Result<Vec<(usize, T)>, Error> {
            let _slot = pool.slots.acquire().await;
            if let Some(mut member) = pool.idle.take() {
                match batch.send_async(&mut member.connection, read).await {
                    Err(error) if redo.applies(&error) => pool.idle.forget(&member),
                    result => return pool.idle.settle(member, result),
                }
            }
            let mut member = Member::new(self.servers[batch.server].connect_async().await?);
            let result = batch.send_async(&mut member.connection, read).await;
            pool.idle.settle(member, result)
        }
    }

    /// Awaits all at once: several servers take one round trip's time.
    async fn all<T>(calls: Vec<impl Future<Output = T>>) -> Vec<T> {
        let mut calls: Vec<_> = calls.into_iter().map(|call| (Box::pin(call), None)).collect();
        poll_fn(|context| {
            for (call, output) in calls.iter_mut().filter(|(_, output)| output.is_none()) {
                if let Poll::Ready(ready) = call.as_mut().poll(context) {
                    *output = Some(ready);
                }
            }
            if calls.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        calls.into_iter().filter_map(|(_, output)| output).collect()
    }

    impl AsyncBackend for Memcached {
        fn get<'a>(
            &'a self,
            key: &'a [u8],
            deadline: Instant,
        ) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
            Box::pin(self.ask_async(get(key), Redo::Once, value, deadline))
        }

        fn get_many<'a>(
            &'a self,
            keys: &'a [&'a [u8]],
            deadline: Instant,
        ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
            Box::pin(self.ask_many_async(keys.iter().map(|key| get(key)), Redo::Once, value, deadline))
        }

        fn set<'a>(
            &'a self,
            key: &'a [u8],
            value: Bytes,
            ttl: Option<Duration>,
            deadline: Instant,
        ) -> BoxFuture<'a, Result<(), Error>> {
            Box::pin(async move {
                self.limits.admit(&value)?;
                self.ask_async(set(key, value, ttl), Redo::Once, done, deadline).await.map(drop)
            })
        }

        /// Once only, as the blocking `add` says.
        fn add<'a>(
            &'a self,
            key: &'a [u8],
            value: Bytes,
            ttl: Option<Duration>,
            deadline: Instant,
        ) -> BoxFuture<'a, Result<bool, Error>> {
            Box::pin(async move {
                self.limits.admit(&value)?;
                if self.ask_async(exists(key), Redo::Once, done, deadline).await? {
                    return Ok(false);
                }
                self.ask_async(add(key, value, ttl), Redo::Never, done, deadline).await
            })
        }

        /// Once only, like `add`.
        fn replace<'a>(
            &'a self,
            key: &'a [u8],
            old: &'a [u8],
            new: Bytes,
            ttl: Option<Duration>,
            deadline: Instant,
        ) -> BoxFuture<'a, Result<bool, Error>> {
            Box::pin(async move {
                self.limits.admit(&new)?;
                match self.ask_async(get_version(key), Redo::Once, versioned, deadline).await? {
                    Some((value, version)) if value == old => {
                        self.ask_async(replace(key, new, ttl, version), Redo::Never, done, deadline).await
                    }
                    _ => Ok(false),
                }
            })
        }

        fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
            Box::pin(self.ask_async(delete(key), Redo::Once, done, deadline))
        }

        fn max_value_len(&self) -> usize {
            self.limits.max_value
        }

        fn servers(&self) -> usize {
            self.servers.len()
        }

        fn server_of(&self, key: &[u8]) -> usize {
            self.route(&wire_key(key))
        }
    }
}

// ---- Errors ------------------------------------------------------------------------------------

fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer doesn't fit the command")
}

fn failure(error: Cause) -> Error {
    let kind = kind(&error);
    let message = match kind {
        ErrorKind::Timeout => "no answer within the deadline".to_owned(),
        ErrorKind::Protocol => format!("{error}; the meta commands of Memcached 1.6 are needed"),
        _ => error.to_string(),
    };
    Error::new(kind, message).with_source(error)
}

fn kind(error: &Cause) -> ErrorKind {
    match error {
        Cause::Io(io) if matches!(io.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            ErrorKind::Timeout
        }
        Cause::Io(_) => ErrorKind::Unavailable,
        Cause::Server(message) if message.contains("too large") => ErrorKind::TooLarge,
        Cause::Rejected(message) if message.contains("unauthenticated") => ErrorKind::Denied,
        // How servers without the meta commands, and other servers, answer one.
        Cause::Rejected(message) if message == "ERROR" => ErrorKind::Protocol,
        Cause::Server(_) | Cause::Rejected(_) => ErrorKind::Server,
        _ => ErrorKind::Protocol,
    }
}

// ---- Tests -------------------------------------------------------------------------------------

#[cfg(test)]
mod tests {
    use super::*;

    fn memcached(text: &str) -> Memcached {
        Memcached::from_url(text).unwrap()
    }

    #[test]
    fn servers_are_what_the_url_lists() {
        let servers = memcached("memcached://a,b:2,[::1]:3?pool=4").servers;
        let servers: Vec<_> = servers.iter().map(|server| (server.host.as_str(), server.port)).collect();
        assert_eq!(servers, [("a", 11211), ("b", 2), ("::1", 3)]);
    }

    #[test]
    fn other_urls_are_refused() {
        for text in [
            "memcached://",
            "memcached:///run/m.sock",
            "unix:///run/m.sock",
            "memcached://a/1",
            "memcached://me:s3cret@a",
            "memcached://a?db=1",
            "memcached://a?max_value=big",
        ] {
            let error = Memcached::from_url(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn keys_are_routed_as_ever() {
        let three = memcached("memcached://cache1,cache2,cache3");
        let indexes: Vec<_> = (0..12).map(|n| three.route(format!("user:{n}").as_bytes())).collect();
        assert_eq!(indexes, [1, 2, 1, 2, 0, 1, 0, 0, 2, 0, 1, 0]);
    }

    #[test]
    fn a_server_more_moves_only_what_it_takes() {
        let three = memcached("memcached://cache1,cache2,cache3");
        let four = memcached("memcached://cache4,cache1,cache2,cache3");
        let mut taken = 0;
        for n in 0..1000_u32 {
            let (before, after) = (three.route(&n.to_le_bytes()), four.route(&n.to_le_bytes()));
            assert!(after == 0 || after == before + 1);
            taken += u32::from(after == 0);
        }
        assert!((150..350).contains(&taken), "{taken} of 1000 moved");
    }

    #[test]
    fn keys_that_fit_go_as_they_are() {
        let longest = [b'k'; 250];
        for key in [&b"user:1"[..], b"!", b"a~b", &longest] {
            assert_eq!(wire_key(key), key);
        }
    }

    #[test]
    fn other_keys_are_hashed_and_never_meet() {
        let too_long = [b'k'; 251];
        let pretender = wire_key(b"");
        assert_eq!(pretender, b"~af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        let keys = [&b""[..], &pretender, b"~", b" ", b"a b", b"a\r\nb", b"\0", &[0xff], &too_long];
        let mut hashed: Vec<_> = keys.iter().map(|key| wire_key(key)).collect();
        assert!(hashed.iter().all(|key| key.len() == 65 && key[0] == HASHED));
        hashed.sort();
        hashed.dedup();
        assert_eq!(hashed.len(), keys.len());
    }

    #[test]
    fn lifetimes_are_rounded_up_and_bounded() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(expiry(Duration::ZERO, now), 1);
        assert_eq!(expiry(Duration::from_millis(1), now), 2);
        assert_eq!(expiry(Duration::from_secs(60), now), 61);
        assert_eq!(expiry(Duration::from_secs(MAX_RELATIVE - 1), now), MAX_RELATIVE);
        assert_eq!(expiry(Duration::from_secs(MAX_RELATIVE), now), 1_000_000_000 + MAX_RELATIVE + 1);
        assert_eq!(expiry(Duration::MAX, now), 1_000_000_000 + MAX_TTL);
    }

    #[test]
    fn requests_are_what_the_protocol_says() {
        let wire = |request: Request| String::from_utf8(request.command.encode().unwrap()).unwrap();
        assert_eq!(wire(get(b"a")), "mg a k v\r\n");
        assert_eq!(wire(exists(b"a")), "mg a k\r\n");
        assert_eq!(wire(set(b"a", Bytes::new(), None)), "ms a 0 k\r\n\r\n");
        assert_eq!(wire(add(b"a", "xy".into(), Some(Duration::from_secs(9)))), "ms a 2 k T10 ME\r\nxy\r\n");
        assert_eq!(wire(get_version(b"a")), "mg a k v c\r\n");
        assert_eq!(wire(replace(b"a", "xy".into(), None, 7)), "ms a 2 k C7\r\nxy\r\n");
        assert_eq!(wire(delete(b"a")), "md a k\r\n");
    }

    #[test]
    fn an_answer_for_another_key_is_refused() {
        let batch = &memcached("memcached://a").batches([exists(b"a")])[0];
        let read = |line: &[u8]| batch.read(vec![MetaResponse::parse_header(line).unwrap()], done);
        assert_eq!(read(b"HD ka").unwrap(), [(0, true)]);
        assert_eq!(read(b"EN").unwrap(), [(0, false)]);
        for line in [&b"HD kb"[..], b"EN kb", b"HD", b"VA 0 ka"] {
            assert_eq!(read(line).unwrap_err().kind(), ErrorKind::Protocol);
        }
    }

    #[test]
    fn batches_go_by_server_and_come_back_in_order() {
        let three = memcached("memcached://cache1,cache2,cache3");
        let batches = three.batches((0..100_u32).map(|n| get(n.to_string().as_bytes())));
        assert_eq!(batches.len(), 3);
        let answers = batches.iter().flat_map(|batch| batch.places.iter().map(|place| (*place, *place)));
        assert_eq!(in_order(answers.collect()), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn errors_have_their_kinds() {
        for (line, kind) in [
            ("SERVER_ERROR object too large for cache", ErrorKind::TooLarge),
            ("SERVER_ERROR out of memory storing object", ErrorKind::Server),
            ("CLIENT_ERROR bad data chunk", ErrorKind::Server),
            ("CLIENT_ERROR unauthenticated", ErrorKind::Denied),
            ("ERROR", ErrorKind::Protocol),
            ("HTTP/1.1 400 Bad Request", ErrorKind::Protocol),
        ] {
            let error = MetaResponse::parse_header(line.as_bytes()).unwrap_err();
            assert_eq!(failure(error).kind(), kind, "{line}");
        }
        assert_eq!(failure(io::Error::from(io::ErrorKind::TimedOut).into()).kind(), ErrorKind::Timeout);
        assert_eq!(
            failure(io::Error::from(io::ErrorKind::UnexpectedEof).into()).kind(),
            ErrorKind::Unavailable
        );
    }
}
