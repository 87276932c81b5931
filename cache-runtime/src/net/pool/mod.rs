//! The connections of blocking callers: how many there are, which is used next, and when a call is sent again on a new one.
//!
//! A child of `fork` makes connections of its own. Knows neither what the connections are nor what is sent over them.

pub(crate) mod idle;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use self::idle::{After, Connection, Growth, Idle, Pooled, Retry, out_of_time};
use super::dial::time_left;
use super::options::{FullNotice, Options, Span, all_busy};
use crate::common::process::PerProcess;
use crate::common::sync::lock;
use crate::error::{Effect, Error, ErrorKind};

/// The most connections to one server, unless the URL says otherwise. They are opened on demand. Reads that find all of
/// them busy share a request, which is faster than a connection for each.
const DEFAULT_SIZE: usize = 16;

/// The connections of blocking callers to one server.
pub(crate) struct Pool<C> {
    shared: PerProcess<Shared<C>>,
    size: usize,
    notice: Arc<FullNotice>,
}

/// What the callers of one process share.
struct Shared<C> {
    state: Mutex<State<C>>,
    released: Condvar,
    size: usize,
    notice: Arc<FullNotice>,
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
    pub(crate) fn new(options: &Options) -> Self {
        Self { shared: PerProcess::new(), size: options.pool(DEFAULT_SIZE), notice: options.notice.clone() }
    }

    fn shared(&self) -> &Shared<C> {
        self.shared.get(|parent| {
            // Closes the parent's idle connections here, which they survive in the parent.
            if let Some(mut state) = parent.and_then(|parent| parent.state.try_lock().ok()) {
                state.idle = Idle::new();
            }
            let state = State { idle: Idle::new(), used: 0, waiting: 0, reserved: 0 };
            let (size, notice) = (self.size, self.notice.clone());
            Shared { state: Mutex::new(state), released: Condvar::new(), size, notice }
        })
    }

    /// A permit, unless all are used.
    pub(crate) fn try_permit(&self, span: Span) -> Option<Permit<'_, C>> {
        self.shared().try_permit(span)
    }

    /// Waits for a permit.
    pub(crate) fn permit(&self, span: Span) -> Result<Permit<'_, C>, Error> {
        self.shared().permit(span)
    }

    /// The error of a call that has waited in vain.
    pub(crate) fn busy(&self) -> Error {
        all_busy(lock(&self.shared().state).used)
    }
}

impl<C> Shared<C> {
    /// How many permits there are at the time of `span`: as many as connections if the server takes no more.
    fn limit(&self, state: &State<C>, span: Span) -> usize {
        match state.idle.growth(span.start) {
            Growth::Wait => self.size.min(state.idle.open()),
            Growth::Open | Growth::Fail(_) => self.size,
        }
    }

    fn try_permit(&self, span: Span) -> Option<Permit<'_, C>> {
        let mut state = lock(&self.state);
        if state.used >= self.limit(&state, span) {
            return None;
        }
        state.used += 1;
        Some(self.grant(state, span))
    }

    fn permit(&self, span: Span) -> Result<Permit<'_, C>, Error> {
        let mut state = lock(&self.state);
        if state.used < self.limit(&state, span) {
            state.used += 1;
            return Ok(self.grant(state, span));
        }
        // A permit that is reserved now belongs to a caller that came earlier.
        state.waiting += 1;
        loop {
            let Ok(left) = time_left(span.end) else {
                state.waiting -= 1;
                return Err(all_busy(state.used));
            };
            state = self.released.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            if state.reserved > 0 {
                break;
            }
        }
        state.waiting -= 1;
        state.reserved -= 1;
        Ok(self.grant(state, span))
    }

    fn grant(&self, mut state: MutexGuard<'_, State<C>>, span: Span) -> Permit<'_, C> {
        Permit { pool: self, span, pooled: state.idle.take(span.start) }
    }

    /// Whether `error` means that the server takes no more connections, and others are open.
    fn is_refused(&self, error: &Error) -> bool {
        // Told without the lock.
        let open = lock(&self.state).idle.refused(error);
        open.inspect(|open| self.notice.tell(*open, error)).is_some()
    }
}

/// The right to use one connection. Dropping it gives the right back, even in a panic.
pub(crate) struct Permit<'p, C> {
    pool: &'p Shared<C>,
    /// The time of the call.
    span: Span,
    /// The connection to give back with the permit.
    pooled: Option<Pooled<C>>,
}

impl<C: Connection> Permit<'_, C> {
    /// Runs `call` on an idle connection, or on a new one if there is none. If the server takes no new one, waits for one
    /// of those that are open.
    pub(crate) fn run<T>(
        mut self,
        retry: Retry,
        connect: impl Fn() -> Result<C, Error>,
        mut call: impl FnMut(&mut C) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            if let Some(mut pooled) = self.pooled.take()
                && retry.may_use(&mut pooled.connection)
            {
                let result = self.call_on(&mut pooled, &mut call);
                match result
                    .as_ref()
                    .map_err(|error| lock(&self.pool.state).idle.after(&pooled, error, retry))
                {
                    Ok(_) | Err(After::Keep) => return self.keep(pooled, result),
                    Err(After::Close) => return result,
                    Err(After::Retry) => {}
                }
            }
            let growth = lock(&self.pool.state).idle.growth(self.span.start);
            match growth {
                Growth::Fail(error) => return Err(error),
                Growth::Wait => {}
                Growth::Open => match connect() {
                    Err(error) if self.pool.is_refused(&error) => {}
                    Err(error) => return Err(error),
                    Ok(connection) => match self.call_on_new(connection, &mut call) {
                        Err(error)
                            if error.has_effect(Effect::NewConnection) && self.pool.is_refused(&error) => {}
                        result => return result,
                    },
                },
            }
            let Self { pool, span, .. } = self;
            // The permit goes first: it stands for a connection that can't be opened.
            drop(self);
            self = pool.permit(span)?;
        }
    }

    fn call_on_new<T>(
        &mut self,
        connection: C,
        call: impl FnMut(&mut C) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut pooled = lock(&self.pool.state).idle.adopt(connection);
        let result = self.call_on(&mut pooled, call);
        match &result {
            Err(error) if !error.has_effect(Effect::Connection) => result,
            _ => self.keep(pooled, result),
        }
    }

    fn call_on<T>(
        &self,
        pooled: &mut Pooled<C>,
        mut call: impl FnMut(&mut C) -> Result<T, Error>,
    ) -> Result<T, Error> {
        pooled.connection.begin(self.span.end);
        call(&mut pooled.connection).map_err(|error| match error.kind() {
            ErrorKind::Timeout => out_of_time(error, &pooled.connection, self.span),
            _ => error,
        })
    }

    /// Keeps the connection of a call with this result.
    fn keep<T>(&mut self, pooled: Pooled<C>, result: Result<T, Error>) -> Result<T, Error> {
        self.pooled = Some(pooled);
        result
    }
}

impl<C> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        if let Some(pooled) = self.pooled.take() {
            state.idle.keep(pooled, self.span.start);
        }
        state.used -= 1;
        let free = self.pool.limit(&state, self.span).saturating_sub(state.used);
        let wanted = free.min(state.waiting - state.reserved);
        state.used += wanted;
        state.reserved += wanted;
        drop(state);
        (0..wanted).for_each(|_| self.pool.released.notify_one());
    }
}
