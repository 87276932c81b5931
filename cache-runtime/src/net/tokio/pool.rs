//! The connections of async callers: for each runtime and server as many as calls are under way, up to the pool's size.
//!
//! Idle connections and retries follow the rules of [`net::pool::idle`](crate::net::pool::idle). Knows nothing of what is sent over
//! them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Sleep, sleep_until, timeout_at};

use super::stream::AsyncStream;
use crate::common::sync::lock;
use crate::error::{Effect, Error};
use crate::net::options::{FullNotice, Options, Span, all_busy, timed_out};
use crate::net::pool::idle::{After, Connection, Flow, Growth, Idle, Pooled, Retry, out_of_time};

/// The most connections of a runtime to one server, unless the URL says otherwise. Reads share requests anyway; a task
/// that waits to write costs more than a connection.
const DEFAULT_SIZE: usize = 64;

/// The connections of one runtime to one server. A future that is dropped drops its connection, and with it the answer
/// that may still come.
pub(crate) struct AsyncPool {
    state: Mutex<State>,
    permits: Semaphore,
    notice: Arc<FullNotice>,
}

struct State {
    idle: Idle<Line>,
    /// How many permits there are.
    size: usize,
    /// How many were taken away because the server takes no more connections.
    removed: usize,
}

struct Line {
    stream: AsyncStream,
    alarm: Alarm,
}

impl Connection for Line {
    fn is_open(&mut self) -> bool {
        self.stream.is_open()
    }

    fn begin(&mut self, deadline: Instant) {
        self.stream.begin(deadline);
    }

    fn flow(&self) -> Flow {
        self.stream.flow()
    }
}

/// A request and the server it is for. Not closures, because the compiler can't tell that their futures are `Send`.
pub(crate) trait Exchange: Sync {
    type Answer: Send;

    fn connect(&self, deadline: Instant) -> impl Future<Output = Result<AsyncStream, Error>> + Send;

    fn ask(&self, stream: &mut AsyncStream) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

impl AsyncPool {
    pub(crate) fn new(options: &Options) -> Self {
        let size = options.pool(DEFAULT_SIZE);
        let state = State { idle: Idle::new(), size, removed: 0 };
        Self { state: Mutex::new(state), permits: Semaphore::new(size), notice: options.notice.clone() }
    }

    /// Asks on an idle connection, or on a new one if there is none. If the server takes no new one, waits for one of those
    /// that are open.
    pub(crate) async fn run<E: Exchange>(
        &self,
        retry: Retry,
        span: Span,
        exchange: E,
    ) -> Result<E::Answer, Error> {
        loop {
            let permit = match self.permits.try_acquire() {
                Ok(permit) => permit,
                Err(_) => self.permit(span).await?,
            };
            let idle = lock(&self.state).idle.take(span.start);
            if let Some(mut pooled) = idle
                && retry.may_use(&mut pooled.connection)
            {
                let result = ask_on(&mut pooled, span, &exchange).await;
                match result.as_ref().map_err(|error| lock(&self.state).idle.after(&pooled, error, retry)) {
                    Ok(_) | Err(After::Keep) => return self.keep(pooled, span, result),
                    Err(After::Close) => return result,
                    Err(After::Retry) => {}
                }
            }
            // Boxed, because few calls need it, and it would dominate the size of the others' futures.
            if let Some(result) = Box::pin(self.run_on_new(span, &exchange)).await {
                return result;
            }
            self.give_up(permit);
        }
    }

    /// Waits for a permit.
    async fn permit(&self, span: Span) -> Result<SemaphorePermit<'_>, Error> {
        let size = self.restore(span);
        match timeout_at(span.end.into(), self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(all_busy(size)),
        }
    }

    /// Restores what was taken away, if the server may take more connections again. Returns how many permits there are.
    fn restore(&self, span: Span) -> usize {
        let mut state = lock(&self.state);
        if state.removed > 0 && matches!(state.idle.growth(span.start), Growth::Open) {
            self.permits.add_permits(state.removed);
            state.size += state.removed;
            state.removed = 0;
        }
        state.size
    }

    /// Gives back a permit that stands for a connection that can't be opened.
    fn give_up(&self, permit: SemaphorePermit<'_>) {
        let mut state = lock(&self.state);
        if state.size > state.idle.open() {
            permit.forget();
            state.size -= 1;
            state.removed += 1;
        }
    }

    /// Asks on a new connection; `None` if the call must wait for one of those that are open.
    async fn run_on_new<E: Exchange>(&self, span: Span, exchange: &E) -> Option<Result<E::Answer, Error>> {
        let growth = lock(&self.state).idle.growth(span.start);
        match growth {
            Growth::Fail(error) => return Some(Err(error)),
            Growth::Wait => return None,
            Growth::Open => {}
        }
        let mut alarm = Alarm::at(span.end);
        let connected = alarm.until(span.end, exchange.connect(span.end)).await;
        let stream = match connected.unwrap_or_else(|| Err(timed_out())) {
            Err(error) if self.is_refused(&error) => return None,
            Err(error) => return Some(Err(error)),
            Ok(stream) => stream,
        };
        let mut pooled = lock(&self.state).idle.adopt(Line { stream, alarm });
        let result = ask_on(&mut pooled, span, exchange).await;
        match &result {
            Err(error) if error.has_effect(Effect::NewConnection) => {
                drop(pooled);
                if self.is_refused(error) { None } else { Some(result) }
            }
            Err(error) if !error.has_effect(Effect::Connection) => Some(result),
            _ => Some(self.keep(pooled, span, result)),
        }
    }

    /// Whether `error` means that the server takes no more connections, and others are open.
    fn is_refused(&self, error: &Error) -> bool {
        // Told without the lock.
        let open = lock(&self.state).idle.refused(error);
        open.inspect(|open| self.notice.tell(*open, error)).is_some()
    }

    /// Keeps the connection of a call with this result.
    fn keep<T>(&self, pooled: Pooled<Line>, span: Span, result: Result<T, Error>) -> Result<T, Error> {
        lock(&self.state).idle.keep(pooled, span.start);
        result
    }
}

async fn ask_on<E: Exchange>(
    pooled: &mut Pooled<Line>,
    span: Span,
    exchange: &E,
) -> Result<E::Answer, Error> {
    pooled.connection.begin(span.end);
    let Line { stream, alarm } = &mut pooled.connection;
    match alarm.until(span.end, exchange.ask(stream)).await {
        Some(result) => result,
        None => Err(out_of_time(timed_out(), &pooled.connection, span)),
    }
}

/// The timer of a connection. Setting a timer takes longer than an answer does, so it stays set from call to call and is
/// set again only when it rings too early.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn at(end: Instant) -> Self {
        Self(Box::pin(sleep_until(end.into())))
    }

    /// The output of `work`, unless it takes longer than until `end`.
    ///
    /// Work that comes too late isn't begun: its caller has already been told so, and a late write may be an old one.
    async fn until<T>(&mut self, end: Instant, work: impl Future<Output = T>) -> Option<T> {
        if end <= Instant::now() {
            return None;
        }
        let (timer, mut work) = (&mut self.0, pin!(work));
        if timer.deadline() > end.into() {
            timer.as_mut().reset(end.into());
        }
        poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            while timer.as_mut().poll(context).is_ready() {
                if end <= Instant::now() {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(end.into());
            }
            Poll::Pending
        })
        .await
    }
}
