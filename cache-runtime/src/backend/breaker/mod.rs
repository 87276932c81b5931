//! Circuit breakers around a backend: while a server is down, requests to it fail at once.
//!
//! A request that finds no server, gets no answer in time, or gets nonsense opens the breaker of that server. So do slow
//! answers, once they have added up to a call's budget with no fast answer in between. While a breaker is open, only
//! a probe in the [background](crate::common::background) asks the server, and closes the breaker when it answers. No call
//! pays for another's retry or for a probe.
//!
//! Any answer counts as an answer, even an error: a breaker is about time and transport only. Failures that have their cause
//! in this process or in one value don't count. An answer that a person must do something about is logged, once.
//!
//! Knows nothing of entries.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use log::Level;

use super::request::{Answer, Reply, Request, Service};
use super::split::Parts;
use crate::common::background;
use crate::common::clock::{Clock, nanos};
use crate::common::process::PerProcess;
use crate::common::report::report;
use crate::common::sync::lock;
use crate::common::wait::{Caller, MaybeReady};
use crate::error::{Error, ErrorKind, Reason};

/// The pause before the first probe. Each failed probe doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The key that probes read. Nobody stores it.
const PROBE: &str = "cache-runtime:probe";

/// A backend behind breakers, one for each of its servers.
pub(crate) struct WithBreaker(Arc<Breakers>);

struct Breakers {
    breakers: Box<[Breaker]>,
    service: Box<dyn Service>,
    /// The redacted URL of the backend, for errors and the log.
    place: String,
    /// The time that a call may spend.
    budget: Duration,
    /// The system's, also in tests, because servers know no other.
    clock: Clock,
    /// The refusals that are in the log.
    told: Mutex<HashSet<&'static str>>,
}

/// In a child of `fork` it begins anew: the parent's probes are not the child's.
#[derive(Default)]
struct Breaker(PerProcess<State>);

#[derive(Default)]
struct State {
    /// Even while the breaker is closed, odd while it is open. Counts both.
    epoch: AtomicU64,
    /// Nanoseconds that slow answers took since the last fast one. After the breaker has closed it is not zero until the
    /// first fast answer to a call.
    slow: AtomicU64,
    /// When it was first noticed that this process stood still, since the last fast answer; 0 if it did not.
    stalled: AtomicU64,
    /// Locked while the epoch changes.
    outage: Mutex<Option<Outage>>,
}

impl Deref for Breaker {
    type Target = State;

    fn deref(&self) -> &State {
        self.0.get(|_| State::default())
    }
}

/// From the opening of a breaker until a call shows that the server is back.
struct Outage {
    since: Instant,
    pause: Duration,
    /// What calls get meanwhile.
    rejection: Error,
}

impl WithBreaker {
    pub(crate) fn new(service: Box<dyn Service>, place: String, budget: Duration) -> Self {
        let breakers = (0..service.servers().max(1)).map(|_| Breaker::default()).collect();
        let (clock, told) = (Clock::system(), Mutex::default());
        Self(Arc::new(Breakers { breakers, service, place, budget, clock, told }))
    }

    /// Sends `request` to its server, unless that is down.
    fn send<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        let admission = match self.0.try_admit(self.0.server_of(request.first_key())) {
            Ok(admission) => admission,
            Err(rejection) => return MaybeReady::done(Err(rejection)),
        };
        match catch_panic(|| self.0.service.call(request, deadline, caller)) {
            Ok(MaybeReady::Now(answer)) => MaybeReady::done(admission.finish(answer.into_inner())),
            Ok(answer) => MaybeReady::Later(Box::pin(Watched { admission: Some(admission), answer })),
            Err(panicked) => MaybeReady::done(admission.finish(Err(panicked))),
        }
    }
}

impl Service for WithBreaker {
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        // One of several servers may be down.
        if self.0.breakers.len() > 1
            && let Some(parts) = Parts::of(&request, |key| self.0.server_of(key))
        {
            let send = async move { parts.send(caller, |part| self.send(part, deadline, caller)).await };
            return MaybeReady::of(send, caller);
        }
        self.send(request, deadline, caller)
    }

    fn max_value_len(&self) -> usize {
        self.0.service.max_value_len()
    }

    fn servers(&self) -> usize {
        self.0.breakers.len()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        self.0.server_of(key)
    }

    fn groups(&self) -> usize {
        self.0.service.groups()
    }

    fn group_of(&self, key: &[u8]) -> usize {
        self.0.service.group_of(key)
    }

    fn rejection(&self, key: &[u8]) -> Option<Error> {
        self.0.rejection(self.0.server_of(key))
    }
}

/// The permission to ask a server. It records how that went.
struct Admission<'a> {
    breakers: &'a Arc<Breakers>,
    server: usize,
    epoch: u64,
    /// In nanoseconds on the clock of the breakers.
    started: u64,
    is_finished: bool,
}

/// An answer that the admission waits for.
struct Watched<'a> {
    admission: Option<Admission<'a>>,
    answer: Answer<'a>,
}

impl Future for Watched<'_> {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = &mut self.answer;
        let polled = catch_panic(|| Pin::new(answer).poll(context));
        let Poll::Ready(result) = polled.unwrap_or_else(|panicked| Poll::Ready(Err(panicked))) else {
            return Poll::Pending;
        };
        Poll::Ready(match self.admission.take() {
            Some(admission) => admission.finish(result),
            None => result,
        })
    }
}

impl Admission<'_> {
    /// Records the result of the request, and returns it.
    fn finish<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.is_finished = true;
        let limit = self.started.saturating_add(nanos(self.breakers.budget / 2));
        let is_fast = self.breakers.clock.is_before(limit);
        match &result {
            Err(error) if !error.is_about_server() => {}
            // A request that had little time left says little about the server.
            Err(error) if error.kind() == ErrorKind::Timeout && is_fast => self.record_slow(),
            Err(error) if error.kind() == ErrorKind::Timeout && self.has_stalled() => {}
            Err(error) if error.is_without_answer() => self.breakers.open(self.server, self.epoch, error),
            // The server was not asked.
            Err(error) if !is_answer(error) => {}
            Err(error) if is_fast => self.breakers.tell(error),
            _ if !is_fast => self.record_slow(),
            _ if self.breakers.breakers[self.server].slow.load(Ordering::Relaxed) == 0 => {}
            _ => self.breakers.record_success(self.server, self.epoch),
        }
        result
    }

    #[cold]
    fn record_slow(&self) {
        let took = self.breakers.clock.monotonic().saturating_sub(self.started);
        if took <= self.longest() {
            self.breakers.record_slow(self.server, self.epoch, took);
        }
    }

    /// A request that took longer was not polled, or its process was stopped, which says nothing about the server.
    fn longest(&self) -> u64 {
        nanos(self.breakers.budget * 9 / 8)
    }

    /// Whether this process stood still during the request. If it does so in one request after the other, it is just busy,
    /// and the server may be down all the same.
    #[cold]
    fn has_stalled(&self) -> bool {
        let now = self.breakers.clock.monotonic();
        if now.saturating_sub(self.started) <= self.longest() {
            return false;
        }
        let breaker = &self.breakers.breakers[self.server];
        // So that the next fast answer resets it.
        breaker.slow.fetch_max(1, Ordering::Relaxed);
        let first = breaker.stalled.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        first.map_or_else(|first| self.started < first, |_| true)
    }
}

impl Drop for Admission<'_> {
    /// A future that its caller dropped has taken time and brought no answer.
    fn drop(&mut self) {
        if !self.is_finished {
            self.record_slow();
        }
    }
}

/// Runs `work`. A panic is a mistake in this process: tokio's timers panic on a runtime without a time driver.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| Error::new(ErrorKind::Unavailable, "the backend panicked").because(Reason::Process))
}

/// The server answered with an error.
fn is_answer(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Server | ErrorKind::Denied | ErrorKind::NotANumber)
}

impl Breakers {
    fn server_of(&self, key: &[u8]) -> usize {
        match self.breakers.len() {
            1 => 0,
            servers => self.service.server_of(key).min(servers - 1),
        }
    }

    fn try_admit(self: &Arc<Self>, server: usize) -> Result<Admission<'_>, Error> {
        let epoch = self.breakers[server].epoch.load(Ordering::Acquire);
        if let Some(rejection) = self.rejection(server) {
            return Err(rejection);
        }
        let started = self.clock.monotonic();
        Ok(Admission { breakers: self, server, epoch, started, is_finished: false })
    }

    /// Why requests to `server` are rejected now, if they are.
    fn rejection(&self, server: usize) -> Option<Error> {
        let breaker = &self.breakers[server];
        if breaker.epoch.load(Ordering::Acquire).is_multiple_of(2) {
            return None;
        }
        lock(&breaker.outage).as_ref().map(|outage| outage.rejection.clone())
    }

    /// Adds the time of a slow answer, and opens the breaker if they add up to a budget.
    fn record_slow(self: &Arc<Self>, server: usize, epoch: u64, nanoseconds: u64) {
        let before = self.breakers[server].slow.fetch_add(nanoseconds, Ordering::Relaxed);
        if before.saturating_add(nanoseconds) >= nanos(self.budget) {
            let message = format!("answers take too long for a budget of {:?} per call", self.budget);
            self.open(server, epoch, &Error::new(ErrorKind::Timeout, message));
        }
    }

    /// Opens the breaker because of `cause`, unless the request behind it began before the breaker last changed.
    #[cold]
    fn open(self: &Arc<Self>, server: usize, epoch: u64, cause: &Error) {
        let breaker = &self.breakers[server];
        let mut outage = lock(&breaker.outage);
        if breaker.epoch.load(Ordering::Relaxed) != epoch || epoch % 2 == 1 {
            return;
        }
        // An outage in which the server has answered only probes goes on, and so do its growing pauses.
        let (is_new, since, pause) = match &*outage {
            Some(outage) => (false, outage.since, outage.pause),
            None => (true, Instant::now(), FIRST_PAUSE),
        };
        let breakers = Arc::downgrade(self);
        if !background::schedule(pause, move || breakers.upgrade()?.probe(server)) {
            return;
        }
        *outage = Some(Outage { since, pause, rejection: self.rejection_for(since, cause) });
        breaker.epoch.store(epoch + 1, Ordering::Release);
        drop(outage);
        if is_new {
            let place = &self.place;
            report(
                Level::Warn,
                format_args!("cache {place}: unavailable; bypassed until it recovers: {cause}"),
            );
        }
    }

    /// A fast answer ends the outage, if there is one.
    #[cold]
    fn record_success(&self, server: usize, epoch: u64) {
        let breaker = &self.breakers[server];
        let mut outage = lock(&breaker.outage);
        if breaker.epoch.load(Ordering::Relaxed) != epoch {
            return;
        }
        breaker.slow.store(0, Ordering::Relaxed);
        breaker.stalled.store(0, Ordering::Relaxed);
        if let Some(outage) = outage.take() {
            log::info!("cache {}: back after {:.1?}", self.place, outage.since.elapsed());
        }
    }

    /// Logs a refusal that somebody must do something about.
    #[cold]
    fn tell(&self, error: &Error) {
        if let Some(refusal) = error.refusal()
            && lock(&self.told).insert(refusal.code)
        {
            let message = format_args!("cache {}: {}", self.place, error.message());
            if refusal.passes { log::info!("{message}") } else { report(Level::Error, message) }
        }
    }

    /// Asks the server whether it is back. Returns the pause until the next probe, or closes the breaker.
    fn probe(&self, server: usize) -> Option<Duration> {
        let key = self.probe_key(server);
        // The first question may have to connect. The second shows how fast the answers are.
        let fast = self.budget / 2;
        let result = self.ask(&key, self.budget).and_then(|took| {
            let took = if took <= fast { took } else { self.ask(&key, fast)? };
            if took <= fast {
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
                outage.rejection = self.rejection_for(outage.since, &cause);
                Some(outage.pause)
            }
            Ok(()) => {
                breaker.slow.store(1, Ordering::Relaxed);
                breaker.epoch.fetch_add(1, Ordering::Release);
                None
            }
        }
    }

    /// The time that the server takes to answer anything.
    fn ask(&self, key: &[u8], time: Duration) -> Result<Duration, Error> {
        let started = Instant::now();
        let ask = || self.service.call(Request::Get(key), started + time, Caller::Blocking).wait();
        match catch_panic(ask).and_then(|answer| answer) {
            Err(error) if !is_answer(&error) => Err(error),
            _ => Ok(started.elapsed()),
        }
    }

    /// A key that lives on `server`.
    fn probe_key(&self, server: usize) -> Vec<u8> {
        let mut keys = (0..1000).map(|n| format!("{PROBE}:{n}").into_bytes());
        keys.find(|key| self.service.server_of(key) == server).unwrap_or_else(|| PROBE.into())
    }

    /// What calls get while the server is down.
    fn rejection_for(&self, since: Instant, cause: &Error) -> Error {
        let message = format!("bypassed, down for {:.1?}: {}", since.elapsed(), cause.message());
        Error::new(ErrorKind::Unavailable, message).at(&self.place).with_source(cause.clone())
    }
}
