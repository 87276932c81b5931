//! Breakers around a backend: while a server is down, operations on it fail at once.
//!
//! An operation that finds no server, no answer in its time, or nonsense, opens the breaker of that server; so do
//! slow answers, once they have wasted a call's whole budget without a quick one between. While it is open nothing is
//! asked but by a probe in the [background], which closes it again. No call pays for another's retry, nor for a probe.
//!
//! What a server says, even if it is an error, is an answer: a breaker knows of time and transport only. Nothing here
//! knows of entries.

use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backend::adapt::Prompt;
use crate::backend::{AsyncBackend, BoxFuture};
use crate::common::background;
use crate::common::clock::{Clock, nanos};
use crate::common::wait::Io;
use crate::config::context::lock;
use crate::error::{Error, ErrorKind};

/// The pause before the first probe; each one that fails doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What probes ask for: nobody stores it.
const PROBE: &str = "cache-runtime:probe";

/// A backend whose operations pass through breakers. The blocking and the async side of a backend share them.
pub(crate) struct Guarded {
    io: Io,
    guard: Arc<Guard>,
}

/// The breakers of a backend, one for each of its servers.
pub(crate) struct Guard {
    breakers: Box<[Breaker]>,
    /// For blocking callers, and for probes.
    blocking: Arc<dyn Prompt>,
    asynchronous: Arc<dyn AsyncBackend>,
    /// Where the backend is, in errors and in the log.
    place: String,
    /// The time that a call may spend.
    budget: Duration,
    /// The machine's, also in tests: servers know no other.
    clock: Clock,
}

#[derive(Default)]
struct Breaker {
    /// Even while it is closed, odd while it is open; counts both.
    epoch: AtomicU64,
    /// Nanoseconds spent without a quick answer since the last one; after it has closed, not zero until there is one.
    wasted: AtomicU64,
    /// Held while the two change.
    outage: Mutex<Option<Outage>>,
}

/// From the opening of a breaker until a call proves that the server is back.
struct Outage {
    since: Instant,
    pause: Duration,
    /// What calls get meanwhile.
    refusal: Error,
}

impl Guarded {
    /// Both sides of one backend, and what guards them.
    pub(crate) fn pair(
        blocking: Arc<dyn Prompt>,
        asynchronous: Arc<dyn AsyncBackend>,
        place: String,
        budget: Duration,
    ) -> ([Self; 2], Arc<Guard>) {
        let breakers = (0..blocking.servers().max(1)).map(|_| Breaker::default()).collect();
        let guard =
            Arc::new(Guard { breakers, blocking, asynchronous, place, budget, clock: Clock::system() });
        let sides = [Io::Blocking, Io::Async].map(|io| Self { io, guard: guard.clone() });
        (sides, guard)
    }

    /// Performs `operation` on the server of `key`, unless that is down.
    fn pass<'a, T: Send + 'a>(
        &'a self,
        key: &[u8],
        operation: impl FnOnce(&'a dyn AsyncBackend) -> Reply<'a, T>,
    ) -> Reply<'a, T> {
        // Begins before the operation is made: some do their work there.
        match self.guard.admit(self.guard.server_of(key), self.guard.clock.monotonic()) {
            Ok(watch) => match unpanicked(|| operation(self.guard.of(self.io))) {
                Ok(operation) => Box::pin(Watched { watch: Some(watch), operation }),
                Err(panicked) => Box::pin(ready(Err(panicked))),
            },
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }
}

type Reply<'a, T> = BoxFuture<'a, Result<T, Error>>;

impl Prompt for Guarded {
    fn get_now(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        self.guard.get_now(key, Instant::now(), deadline)
    }
}

impl AsyncBackend for Guarded {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, Option<Bytes>> {
        self.pass(key, |backend| backend.get(key, deadline))
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]], deadline: Instant) -> Reply<'a, Vec<Option<Bytes>>> {
        let Some(first) = keys.first() else { return Box::pin(ready(Ok(Vec::new()))) };
        let server = self.server_of(first);
        if self.servers() == 1 || keys.iter().all(|key| self.server_of(key) == server) {
            return self.pass(first, |backend| backend.get_many(keys, deadline));
        }
        // Of several servers one may be down: each key by itself tells which.
        Box::pin(async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key, deadline).await?);
            }
            Ok(values)
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, ()> {
        self.pass(key, |backend| backend.set(key, value, ttl, deadline))
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        self.pass(key, |backend| backend.add(key, value, ttl, deadline))
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        self.pass(key, |backend| backend.replace(key, old, new, ttl, deadline))
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, bool> {
        self.pass(key, |backend| backend.delete(key, deadline))
    }

    fn max_value_len(&self) -> usize {
        self.guard.of(self.io).max_value_len()
    }

    fn servers(&self) -> usize {
        self.guard.servers()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        self.guard.server_of(key)
    }
}

/// An operation that was let through.
struct Watch<'a> {
    guard: &'a Arc<Guard>,
    server: usize,
    epoch: u64,
    /// On the guard's clock.
    started: u64,
    has_ended: bool,
}

/// An operation under way, and who watches it.
pub(crate) struct Watched<'a, T> {
    watch: Option<Watch<'a>>,
    operation: Reply<'a, T>,
}

impl<'a, T> Watched<'a, T> {
    /// An operation on a backend without a breaker.
    pub(crate) fn unwatched(operation: Reply<'a, T>) -> Self {
        Self { watch: None, operation }
    }
}

impl<T> Future for Watched<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let operation = &mut self.operation;
        let polled =
            unpanicked(|| operation.as_mut().poll(context)).unwrap_or_else(|error| Poll::Ready(Err(error)));
        if let (Poll::Ready(result), Some(watch)) = (&polled, self.watch.take_if(|_| polled.is_ready())) {
            watch.ended(result);
        }
        polled
    }
}

impl Watch<'_> {
    fn ended<T>(mut self, result: &Result<T, Error>) {
        self.has_ended = true;
        let is_quick = self.guard.clock.is_before(self.started.saturating_add(nanos(self.guard.budget / 2)));
        match result {
            // One that had little time left says little of the server.
            Err(error) if error.kind() == ErrorKind::Timeout && is_quick => self.waste(),
            Err(error) if is_transport(error) => self.guard.open(self.server, self.epoch, error),
            // Nobody was asked.
            Err(error) if !is_answer(error) => {}
            _ if !is_quick => self.waste(),
            _ if self.guard.breakers[self.server].wasted.load(Ordering::Relaxed) == 0 => {}
            _ => self.guard.prove(self.server, self.epoch),
        }
    }

    #[cold]
    fn waste(&self) {
        let took = self.guard.clock.monotonic().saturating_sub(self.started);
        // Its timer would have ended it: nobody has polled it, which says nothing of the server.
        if took <= nanos(self.guard.budget * 9 / 8) {
            self.guard.waste(self.server, self.epoch, took);
        }
    }
}

impl Drop for Watch<'_> {
    /// A future that its caller gave up has no answer to show for its time.
    fn drop(&mut self) {
        if !self.has_ended {
            self.waste();
        }
    }
}

/// What `work` gives. A backend that panics is one that is of no use now: tokio's timers do on a runtime that has none.
fn unpanicked<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| Error::new(ErrorKind::Unavailable, "the backend panicked"))
}

/// The operation didn't reach the server, or got no answer that makes sense.
fn is_transport(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Protocol)
}

/// The server answered, if only that it won't.
fn is_answer(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Server | ErrorKind::Denied)
}

impl Guard {
    /// As [`AsyncBackend::get`] for async callers, begun at `start`, without a box around it: hits are made of it.
    pub(crate) fn get<'a>(
        self: &'a Arc<Self>,
        key: &'a [u8],
        start: Instant,
        deadline: Instant,
    ) -> Result<Watched<'a, Option<Bytes>>, Error> {
        let watch = self.admit(self.server_of(key), self.clock.at(start))?;
        let operation = unpanicked(|| self.asynchronous.get(key, deadline))?;
        Ok(Watched { watch: Some(watch), operation })
    }

    /// The same for blocking callers.
    pub(crate) fn get_now(
        self: &Arc<Self>,
        key: &[u8],
        start: Instant,
        deadline: Instant,
    ) -> Result<Option<Bytes>, Error> {
        let watch = self.admit(self.server_of(key), self.clock.at(start))?;
        let result = self.get_unwatched(key, deadline);
        watch.ended(&result);
        result
    }

    fn get_unwatched(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        unpanicked(|| self.blocking.get_now(key, deadline)).and_then(|result| result)
    }

    fn of(&self, io: Io) -> &dyn AsyncBackend {
        match io {
            Io::Blocking => &*self.blocking,
            Io::Async => &*self.asynchronous,
        }
    }

    fn admit(self: &Arc<Self>, server: usize, started: u64) -> Result<Watch<'_>, Error> {
        let epoch = self.breakers[server].epoch.load(Ordering::Acquire);
        match self.refusal_of(server) {
            Some(refusal) => Err(refusal),
            None => Ok(Watch { guard: self, server, epoch, started, has_ended: false }),
        }
    }

    /// Why operations on `key` fail at once now, if they do.
    pub(crate) fn refusal(&self, key: &[u8]) -> Option<Error> {
        self.refusal_of(self.server_of(key))
    }

    pub(crate) fn servers(&self) -> usize {
        self.breakers.len()
    }

    pub(crate) fn server_of(&self, key: &[u8]) -> usize {
        match self.servers() {
            1 => 0,
            servers => self.blocking.server_of(key).min(servers - 1),
        }
    }

    fn refusal_of(&self, server: usize) -> Option<Error> {
        let breaker = &self.breakers[server];
        match breaker.epoch.load(Ordering::Acquire) % 2 {
            0 => None,
            _ => lock(&breaker.outage).as_ref().map(|outage| outage.refusal.clone()),
        }
    }

    /// Time went by without a quick answer.
    fn waste(self: &Arc<Self>, server: usize, epoch: u64, nanoseconds: u64) {
        let wasted = self.breakers[server].wasted.fetch_add(nanoseconds, Ordering::Relaxed);
        if wasted.saturating_add(nanoseconds) >= nanos(self.budget) {
            let message = format!("answers take too long for a budget of {:?} a call", self.budget);
            self.open(server, epoch, &Error::new(ErrorKind::Timeout, message));
        }
    }

    /// Opens the breaker, unless what `cause` tells of began before its last change.
    #[cold]
    fn open(self: &Arc<Self>, server: usize, epoch: u64, cause: &Error) {
        let breaker = &self.breakers[server];
        let mut outage = lock(&breaker.outage);
        if breaker.epoch.load(Ordering::Relaxed) != epoch || epoch % 2 == 1 {
            return;
        }
        // Still there if the server answered probes only: the pauses go on growing then.
        let (is_new, since, pause) = match &*outage {
            Some(outage) => (false, outage.since, outage.pause),
            None => (true, Instant::now(), FIRST_PAUSE),
        };
        let guard = Arc::downgrade(self);
        if !background::schedule(pause, move || guard.upgrade()?.probe(server)) {
            return;
        }
        *outage = Some(Outage { since, pause, refusal: self.refuse(since, cause) });
        breaker.epoch.store(epoch + 1, Ordering::Release);
        drop(outage);
        if is_new {
            log::warn!("cache {}: down, so it is not asked until it is back: {cause}", self.place);
        }
    }

    /// A quick answer: the server is back, or has not been away.
    #[cold]
    fn prove(&self, server: usize, epoch: u64) {
        let breaker = &self.breakers[server];
        let mut outage = lock(&breaker.outage);
        if breaker.epoch.load(Ordering::Relaxed) != epoch {
            return;
        }
        breaker.wasted.store(0, Ordering::Relaxed);
        if let Some(outage) = outage.take() {
            log::info!("cache {}: back after {:.1?}", self.place, outage.since.elapsed());
        }
    }

    /// Asks the server whether it is there; returns the pause until it is asked again.
    fn probe(&self, server: usize) -> Option<Duration> {
        let key = self.probe_key(server);
        // The first question may have to connect; the second shows how quick the answers are.
        let quick = self.budget / 2;
        let result = self.ask(&key, self.budget).and_then(|took| {
            let took = if took <= quick { took } else { self.ask(&key, quick)? };
            if took <= quick {
                return Ok(());
            }
            Err(Error::new(ErrorKind::Timeout, format!("a probe was answered after {took:.0?}")))
        });
        let breaker = &self.breakers[server];
        let mut outage = lock(&breaker.outage);
        let outage = outage.as_mut()?;
        outage.pause = (outage.pause * 2).min(LONGEST_PAUSE);
        match result {
            Err(cause) => {
                outage.refusal = self.refuse(outage.since, &cause);
                Some(outage.pause)
            }
            Ok(()) => {
                breaker.wasted.store(1, Ordering::Relaxed);
                breaker.epoch.fetch_add(1, Ordering::Release);
                None
            }
        }
    }

    /// How long the server takes to say anything.
    fn ask(&self, key: &[u8], time: Duration) -> Result<Duration, Error> {
        let started = Instant::now();
        let result = self.get_unwatched(key, started + time);
        match result {
            Err(error) if !is_answer(&error) => Err(error),
            _ => Ok(started.elapsed()),
        }
    }

    /// A key that lives on `server`.
    fn probe_key(&self, server: usize) -> Vec<u8> {
        let keys = (0..1000).map(|n| format!("{PROBE}:{n}").into_bytes());
        keys.into_iter().find(|key| self.blocking.server_of(key) == server).unwrap_or_else(|| PROBE.into())
    }

    /// What calls get while the server is down.
    fn refuse(&self, since: Instant, cause: &Error) -> Error {
        let message = format!("not asked, down for {:.1?} now: {}", since.elapsed(), cause.message());
        Error::new(ErrorKind::Unavailable, message).at(&self.place).with_source(cause.clone())
    }
}

#[cfg(test)]
mod tests;
