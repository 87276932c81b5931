//! The connections of blocking callers: how many there are, which is used next, and when a call is retried on a new one.
//!
//! A child of `fork` makes connections of its own. Knows neither what the connections are nor what is sent over them.

#[cfg(test)]
mod tests;

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::dial::time_left;
use super::options::Span;
use crate::common::process::PerProcess;
use crate::common::sync::lock;
use crate::error::{Error, ErrorKind};

/// Firewalls and load balancers forget quiet connections without telling either end, most after minutes.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// The most connections to one server, unless the URL says otherwise. They are opened on demand. Reads that find all of
/// them busy share a request, which is faster than a connection for each.
pub(crate) const DEFAULT_SIZE: usize = 16;

/// Whether a call that finds its connection closed is sent again on a new one.
///
/// A server that restarts closes connections that look alive until they are used, so without retries a restart would fail
/// one call per connection. Nobody can know whether the server had read the request, so only calls that may run twice are
/// retried. Other calls look at the connection before they use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Once,
    Never,
}

impl Retry {
    /// Whether a call may use an idle connection.
    pub(crate) fn may_use(self, idle: &mut impl Connection) -> bool {
        self == Self::Once || idle.is_open()
    }

    /// Timeouts are not retried: the server is slow, and asking again would make it slower.
    pub(crate) fn applies(self, error: &Error) -> bool {
        self == Self::Once && error.kind() == ErrorKind::Unavailable
    }
}

/// What the pool needs to know of a connection.
pub(crate) trait Connection {
    /// Whether the server has neither closed the connection nor sent anything, as far as this end knows.
    fn is_open(&mut self) -> bool;
}

/// A connection, and when it was opened and last used.
pub(crate) struct Pooled<C> {
    pub(crate) connection: C,
    opened: Instant,
    /// When the last call began.
    used: Instant,
}

impl<C> Pooled<C> {
    pub(crate) fn new(connection: C) -> Self {
        let now = Instant::now();
        Self { connection, opened: now, used: now }
    }
}

/// The connections that no call uses, in the order of their last use. The last one used is taken first, so that surplus
/// connections stay idle and are closed.
pub(crate) struct Idle<C>(Vec<Pooled<C>>);

impl<C> Idle<C> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A connection for a call that begins `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Pooled<C>> {
        let pooled = self.0.pop().filter(|pooled| now < pooled.used + MAX_IDLE);
        if pooled.is_none() {
            // All others were used even longer ago.
            self.0.clear();
        }
        pooled
    }

    /// Keeps a connection whose last call began at `start` and succeeded. After any failure, even a timeout, an answer may
    /// still be on its way, and the next call would take it for its own.
    pub(crate) fn keep(&mut self, mut pooled: Pooled<C>, start: Instant) {
        pooled.used = start;
        if self.0.first().is_some_and(|oldest| oldest.used + MAX_IDLE <= start) {
            self.0.remove(0);
        }
        self.0.push(pooled);
    }

    /// Closes the connections as old as `closed`, which the server has closed: it closed them at the same time.
    pub(crate) fn discard(&mut self, closed: &Pooled<C>) {
        self.0.retain(|other| other.opened > closed.opened);
    }
}

/// The connections of blocking callers to one server.
pub(crate) struct Pool<C> {
    shared: PerProcess<Shared<C>>,
    size: usize,
}

/// What the callers of a process share.
struct Shared<C> {
    state: Mutex<State<C>>,
    released: Condvar,
}

struct State<C> {
    idle: Idle<C>,
    /// Permits that are taken or reserved.
    used: usize,
    waiting: usize,
    /// Permits that are reserved for callers that wait. Other callers find them used. Otherwise a thread that calls again
    /// and again would usually be faster than one that must wake up first.
    reserved: usize,
}

impl<C> Pool<C> {
    pub(crate) const fn new(size: usize) -> Self {
        Self { shared: PerProcess::new(), size }
    }

    fn shared(&self) -> &Shared<C> {
        self.shared.get(|parent| {
            // Closes the parent's idle connections here, which they survive in the parent.
            if let Some(mut state) = parent.and_then(|parent| parent.state.try_lock().ok()) {
                state.idle = Idle::new();
            }
            let state = State { idle: Idle::new(), used: 0, waiting: 0, reserved: 0 };
            Shared { state: Mutex::new(state), released: Condvar::new() }
        })
    }

    /// A permit, unless all are used.
    pub(crate) fn try_permit(&self, span: Span) -> Option<Permit<'_, C>> {
        let shared = self.shared();
        let mut state = lock(&shared.state);
        if state.used == self.size {
            return None;
        }
        state.used += 1;
        Some(shared.grant(state, span))
    }

    /// Waits for a permit.
    pub(crate) fn permit(&self, span: Span) -> Result<Permit<'_, C>, Error> {
        let shared = self.shared();
        let mut state = lock(&shared.state);
        if state.used < self.size {
            state.used += 1;
            return Ok(shared.grant(state, span));
        }
        // A permit that is reserved now belongs to a caller that came earlier.
        state.waiting += 1;
        loop {
            let Ok(left) = time_left(span.end) else {
                state.waiting -= 1;
                return Err(self.busy());
            };
            state = shared.released.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            if state.reserved > 0 {
                break;
            }
        }
        state.waiting -= 1;
        state.reserved -= 1;
        Ok(shared.grant(state, span))
    }

    /// The error of a call that has waited in vain.
    pub(crate) fn busy(&self) -> Error {
        let message = format!("all {} connections stayed busy until the deadline", self.size);
        Error::new(ErrorKind::Timeout, message)
    }
}

impl<C> Shared<C> {
    fn grant(&self, mut state: MutexGuard<'_, State<C>>, span: Span) -> Permit<'_, C> {
        Permit { shared: self, start: span.start, pooled: state.idle.take(span.start) }
    }
}

/// The right to use one connection. Dropping it gives the right back, even in a panic.
pub(crate) struct Permit<'p, C> {
    shared: &'p Shared<C>,
    /// When the call began.
    start: Instant,
    /// The connection to give back with the permit.
    pooled: Option<Pooled<C>>,
}

impl<C: Connection> Permit<'_, C> {
    /// Runs `call` on an idle connection, or on a new one if there is none.
    pub(crate) fn run<T>(
        mut self,
        retry: Retry,
        connect: impl FnOnce() -> Result<C, Error>,
        mut call: impl FnMut(&mut C) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(mut pooled) = self.pooled.take()
            && retry.may_use(&mut pooled.connection)
        {
            match call(&mut pooled.connection) {
                Err(error) if retry.applies(&error) => lock(&self.shared.state).idle.discard(&pooled),
                result => return self.give_back(pooled, result),
            }
        }
        let mut pooled = Pooled::new(connect()?);
        let result = call(&mut pooled.connection);
        self.give_back(pooled, result)
    }

    /// Keeps the connection if its call succeeded.
    fn give_back<T>(&mut self, pooled: Pooled<C>, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_ok() {
            self.pooled = Some(pooled);
        }
        result
    }
}

impl<C> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        if let Some(pooled) = self.pooled.take() {
            state.idle.keep(pooled, self.start);
        }
        if state.reserved == state.waiting {
            state.used -= 1;
            return;
        }
        state.reserved += 1;
        drop(state);
        self.shared.released.notify_one();
    }
}
