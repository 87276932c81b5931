//! The open connections to one server: which of them a call uses, and whether it may open another.
//!
//! Shared by the pools of blocking and of async callers. Knows neither what the connections are nor what is sent over
//! them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Effect, Error, ErrorKind, Reason};
use crate::net::options::Span;

/// Firewalls and load balancers forget quiet connections without telling either end, most after minutes.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// How long a connection is used. A name that has moved to another server is followed within this time, even if the old
/// server answers on.
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);

/// How long no more connections are opened after the server has refused one.
const FULL_FOR: Duration = Duration::from_secs(1);

/// A connection to the wrong server is replaced once it is this old. Until then, the name leads to that server.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// Most values are shorter.
pub(crate) const LARGE: usize = 16 << 10;

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
    fn applies(self, error: &Error) -> bool {
        self == Self::Once && error.kind() == ErrorKind::Unavailable
    }
}

/// What the pools need to know of a connection.
pub(crate) trait Connection {
    /// Whether the server has neither closed the connection nor sent anything, as far as this end knows.
    fn is_open(&mut self) -> bool;

    /// Begins a call that must end at `deadline`.
    fn begin(&mut self, deadline: Instant);

    /// What the call has sent and received so far.
    fn flow(&self) -> Flow;
}

/// The bytes that a call has sent and received.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flow {
    bytes: usize,
    /// When the last ones moved, once they are many.
    last: Option<Instant>,
}

impl Flow {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= LARGE {
            self.last = Some(Instant::now());
        }
    }
}

/// The error of a call that ran out of time on `connection`. If many bytes were moving up to then, the value is too large for
/// the line. If they had stopped, the server is down.
pub(crate) fn out_of_time(error: Error, connection: &impl Connection, span: Span) -> Error {
    let middle = span.start + (span.end - span.start) / 2;
    match connection.flow().last {
        Some(last) if middle < last => error.because(Reason::LargeValue),
        _ => error,
    }
}

/// A connection, and when it was opened and last used.
pub(crate) struct Pooled<C> {
    pub(crate) connection: C,
    pub(super) opened: Instant,
    expires: Instant,
    /// When the last call began.
    used: Instant,
    _open: Arc<()>,
}

/// What becomes of a call's connection.
pub(crate) enum After {
    /// It is used again.
    Keep,
    Close,
    /// It is closed, and the call is sent again on a new one.
    Retry,
}

/// What a call does that finds no idle connection.
pub(crate) enum Growth {
    Open,
    /// Wait for one of the open connections.
    Wait,
    Fail(Error),
}

/// The connections that no call uses, in the order of their last use. The last one used is taken first, so that surplus
/// connections stay idle and are closed.
pub(crate) struct Idle<C> {
    idle: Vec<Pooled<C>>,
    /// Every open connection holds a clone, whether it is idle or in use.
    open: Arc<()>,
    /// Connections opened until then are not used again.
    void_until: Option<Instant>,
    /// When the server last refused a new connection, and why.
    full: Option<(Instant, Error)>,
}

impl<C> Idle<C> {
    pub(crate) fn new() -> Self {
        Self { idle: Vec::new(), open: Arc::default(), void_until: None, full: None }
    }

    /// A connection that was opened just now.
    pub(crate) fn adopt(&self, connection: C) -> Pooled<C> {
        let now = Instant::now();
        Pooled { connection, opened: now, expires: now + MAX_AGE, used: now, _open: self.open.clone() }
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }

    /// A connection for a call that begins `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Pooled<C>> {
        while let Some(pooled) = self.idle.pop() {
            if pooled.used + MAX_IDLE <= now {
                // All others were used even longer ago.
                self.idle.clear();
                return None;
            }
            if now < pooled.expires {
                return Some(pooled);
            }
        }
        None
    }

    /// Keeps a connection whose last call began at `start` and got its whole answer. After any failure, even a timeout, an
    /// answer may still be on its way, and the next call would take it for its own.
    pub(crate) fn keep(&mut self, mut pooled: Pooled<C>, start: Instant) {
        if self.void_until.is_some_and(|until| pooled.opened <= until) {
            return;
        }
        pooled.used = start;
        if self.idle.first().is_some_and(|oldest| oldest.used + MAX_IDLE <= start) {
            self.idle.remove(0);
        }
        self.idle.push(pooled);
    }

    /// What becomes of the connection of a call that failed, and of others.
    pub(crate) fn after(&mut self, pooled: &Pooled<C>, error: &Error, retry: Retry) -> After {
        if error.has_effect(Effect::Connection) {
            let now = Instant::now();
            if now < pooled.opened + SETTLED {
                return After::Keep;
            }
            // All others lead to the same server.
            self.void_until = Some(now);
            self.idle.clear();
            return After::Retry;
        }
        if retry.applies(error) {
            // The server has closed it, and those as old as it is at the same time.
            self.idle.retain(|other| other.opened > pooled.opened);
            return After::Retry;
        }
        After::Close
    }

    /// What a call does at `now` that finds no idle connection.
    pub(crate) fn growth(&self, now: Instant) -> Growth {
        match &self.full {
            Some((since, error)) if now < *since + FULL_FOR => match self.open() {
                0 if error.has_effect(Effect::NewConnection) => Growth::Fail(error.clone()),
                0 => Growth::Open,
                _ => Growth::Wait,
            },
            _ => Growth::Open,
        }
    }

    /// Whether a call that could not open a connection because of `error` may wait for one of the open ones. As long as
    /// there are any, only they tell whether the server is well. Returns how many there are then.
    pub(crate) fn refused(&mut self, error: &Error) -> Option<usize> {
        let open = self.open();
        let has_others = open > 0;
        let is_full = error.has_effect(Effect::NewConnection) || (has_others && error.is_without_answer());
        if is_full {
            self.full = Some((Instant::now(), error.clone()));
        }
        (is_full && has_others).then_some(open)
    }
}
