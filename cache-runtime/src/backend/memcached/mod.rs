//! Memcached: the connections that commands travel on, and which of several servers has which key. What
//! is said over them is in `meta.rs`.

use std::fmt;
use std::io;
use std::slice;
#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::Backend;
use crate::error::{Error, ErrorKind};
use crate::net::options::{Limits, Span, TIMEOUT};
use crate::net::pool::{self, Pool, Redo, Slot, dial};
use crate::net::shared_reads::Rides;
use crate::net::stream::Wire;
use crate::net::url::{Host, Url};

mod command;
#[cfg(feature = "tokio")]
mod tokio;

use self::command::{
    Read, Request, add, answer, delete, done, encoded, exists, get, get_version, replace, set, value,
    versioned, wire_key,
};
#[cfg(feature = "tokio")]
use crate::net::tokio::per_runtime::PerRuntime;
#[cfg(feature = "tokio")]
use crate::net::tokio::pool::AsyncPool;

/// One or several Memcached servers, version 1.6 or newer.
///
/// Making one doesn't connect. Each key lives on one of the servers; taking a server out of the list
/// or adding one moves only that server's keys. Blocking callers share up to `pool` connections to
/// each server, and so do the async callers of each tokio runtime. Reads of blocking callers that find all connections
/// busy travel together.
///
/// | URL parameter | meaning | default |
/// |---|---|---|
/// | `timeout` | the longest an operation may take, connecting included | `250ms` |
/// | `pool` | connections to each server | 16 for blocking callers, 64 for async ones |
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
    shared: PerRuntime<Arc<[AsyncPool]>>,
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
    pool: Pool<Wire>,
    rides: Rides,
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
        let limits = Limits::take(&mut url, timeout, MAX_VALUE)?;
        if url.scheme != "memcached" {
            return Err(config(&format!("`{}://` is not a Memcached URL", url.scheme)));
        }
        if url.user.is_some() || url.password.is_some() {
            return Err(config("Memcached is used without a user and a password"));
        }
        if url.hosts.is_empty() || !matches!(url.path.as_str(), "" | "/") {
            return Err(config("a Memcached URL is hosts only, and unix sockets are not supported"));
        }
        url.finish()?;
        Ok(Self {
            servers: url.hosts.iter().map(|host| Server::new(host, limits.pool(pool::USUAL))).collect(),
            limits,
            #[cfg(feature = "tokio")]
            shared: PerRuntime::new(),
        })
    }

    /// The index of the server that has `key`: the one that scores highest for it, so that a server
    /// more or less moves only its own keys. The same on every machine, now and later.
    fn route(&self, key: &[u8]) -> usize {
        if self.servers.len() == 1 {
            return 0;
        }
        let score = |index: &usize| XxHash3_64::oneshot_with_seed(self.servers[*index].seed, key);
        (0..self.servers.len()).max_by_key(score).unwrap_or(0)
    }
}

impl Server {
    fn new(Host { name, port }: &Host, pool: usize) -> Self {
        let port = port.unwrap_or(PORT);
        let seed = XxHash3_64::oneshot(format!("{name}:{port}").as_bytes());
        Self { host: name.clone(), port, seed, pool: Pool::new(pool), rides: Rides::default() }
    }
}

fn config(message: &str) -> Error {
    Error::new(ErrorKind::Config, message)
}

// ---- Many at once ------------------------------------------------------------------------------

/// Requests that are written before their answers are read. More might fill both ends' buffers, and
/// then each end waits for the other to read.
const CHUNK: usize = 256;

/// The requests for one server, and where their answers belong among all.
struct Batch<'k> {
    server: usize,
    places: Vec<usize>,
    requests: Vec<Request<'k>>,
}

impl Memcached {
    fn batches<'k>(&self, requests: impl IntoIterator<Item = Request<'k>>) -> Vec<Batch<'k>> {
        let mut batches: Vec<Batch<'k>> = Vec::new();
        for (place, request) in requests.into_iter().enumerate() {
            let server = self.route(&request.key);
            let index = batches.iter().position(|batch| batch.server == server).unwrap_or_else(|| {
                batches.push(Batch { server, places: Vec::new(), requests: Vec::new() });
                batches.len() - 1
            });
            batches[index].places.push(place);
            batches[index].requests.push(request);
        }
        batches
    }
}

impl Batch<'_> {
    /// The values with their places.
    fn placed<T>(&self, values: Vec<T>) -> impl Iterator<Item = (usize, T)> {
        self.places.iter().copied().zip(values)
    }
}

/// The values in the order of their requests.
fn in_order<T>(mut values: Vec<(usize, T)>) -> Vec<T> {
    values.sort_unstable_by_key(|(place, _)| *place);
    values.into_iter().map(|(_, value)| value).collect()
}

// ---- Blocking ----------------------------------------------------------------------------------

impl Server {
    fn connect(&self, deadline: Instant) -> Result<Wire, Error> {
        dial(&self.host, self.port, deadline).map(Wire::new).map_err(failure)
    }

    /// Asks on one connection, as `call` does it.
    fn run<T>(
        &self,
        redo: Redo,
        span: Span,
        call: impl FnMut(&mut Wire) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.run_on(self.pool.slot(span)?, redo, span, call)
    }

    fn run_on<T>(
        &self,
        slot: Slot<'_, Wire>,
        redo: Redo,
        span: Span,
        call: impl FnMut(&mut Wire) -> Result<T, Error>,
    ) -> Result<T, Error> {
        slot.run(redo, || self.connect(span.end), call)
    }
}

fn send(wire: &mut Wire, requests: &[Request<'_>], deadline: Instant) -> Result<(), Error> {
    wire.send(&encoded(requests), deadline).map_err(failure)
}

fn receive<T>(wire: &mut Wire, request: &Request<'_>, read: Read<T>) -> Result<T, Error> {
    wire.receive(|cursor| answer(cursor, &request.key)).map_err(failure)?.and_then(read)
}

fn send_one<T>(wire: &mut Wire, request: &Request<'_>, read: Read<T>, deadline: Instant) -> Result<T, Error> {
    send(wire, slice::from_ref(request), deadline)?;
    receive(wire, request, read)
}

fn send_many<T>(
    wire: &mut Wire,
    requests: &[Request<'_>],
    read: Read<T>,
    deadline: Instant,
) -> Result<Vec<T>, Error> {
    let mut values = Vec::with_capacity(requests.len());
    for requests in requests.chunks(CHUNK) {
        send(wire, requests, deadline)?;
        for request in requests {
            values.push(receive(wire, request, read)?);
        }
    }
    Ok(values)
}

impl Memcached {
    fn ask<T>(&self, request: Request<'_>, redo: Redo, read: Read<T>, deadline: Instant) -> Result<T, Error> {
        let span = self.limits.span(deadline)?;
        let server = &self.servers[self.route(&request.key)];
        let answer = server.run(redo, span, |wire| send_one(wire, &request, read, span.end));
        answer.map_err(|error| error.at(&self.limits.place))
    }

    fn ask_many<'k, T>(
        &self,
        requests: impl IntoIterator<Item = Request<'k>>,
        redo: Redo,
        read: Read<T>,
        deadline: Instant,
    ) -> Result<Vec<T>, Error> {
        let span = self.limits.span(deadline)?;
        let mut all = Vec::new();
        for batch in self.batches(requests) {
            let sent = self.servers[batch.server]
                .run(redo, span, |wire| send_many(wire, &batch.requests, read, span.end));
            all.extend(batch.placed(sent.map_err(|error| error.at(&self.limits.place))?));
        }
        Ok(in_order(all))
    }
}

impl Backend for Memcached {
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        let (span, request) = (self.limits.span(deadline)?, get(key));
        let server = &self.servers[self.route(&request.key)];
        let found = match server.pool.try_slot(span) {
            Some(slot) => {
                server.run_on(slot, Redo::Once, span, |wire| send_one(wire, &request, value, span.end))
            }
            None => server.rides.get(&server.pool, key, span, |slot, keys| {
                let requests: Vec<_> = keys.iter().map(|key| get(key)).collect();
                server.run_on(slot, Redo::Once, span, |wire| send_many(wire, &requests, value, span.end))
            }),
        };
        found.map_err(|error| error.at(&self.limits.place))
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

// ---- Errors ------------------------------------------------------------------------------------

fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "the server's answer doesn't fit the command")
}

/// What went wrong with a connection.
fn failure(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Error::new(ErrorKind::Timeout, "no answer within the deadline").with_source(error)
        }
        _ => Error::new(ErrorKind::Unavailable, error.to_string()).with_source(error),
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
    fn batches_go_by_server_and_come_back_in_order() {
        let three = memcached("memcached://cache1,cache2,cache3");
        let keys: Vec<_> = (0..100_u32).map(|n| n.to_string()).collect();
        let batches = three.batches(keys.iter().map(|key| get(key.as_bytes())));
        assert_eq!(batches.len(), 3);
        let answers = batches.iter().flat_map(|batch| batch.places.iter().map(|place| (*place, *place)));
        assert_eq!(in_order(answers.collect()), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn failures_have_their_kinds() {
        for (io, kind) in [
            (io::ErrorKind::TimedOut, ErrorKind::Timeout),
            (io::ErrorKind::WouldBlock, ErrorKind::Timeout),
            (io::ErrorKind::UnexpectedEof, ErrorKind::Unavailable),
            (io::ErrorKind::ConnectionRefused, ErrorKind::Unavailable),
        ] {
            assert_eq!(failure(io.into()).kind(), kind);
        }
    }
}
