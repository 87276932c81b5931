//! The connections of async callers: for each runtime and server as many as calls are under way, up to the pool's size.
//!
//! Idle connections and retries follow the rules of [`net::pool`](crate::net::pool). Knows nothing of what is sent over
//! them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::Poll;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep_until, timeout_at};

use super::stream::AsyncStream;
use crate::common::sync::lock;
use crate::error::Error;
use crate::net::options::Span;
use crate::net::pool::{Connection, Idle, Pooled, Retry};

/// The most connections of a runtime to one server, unless the URL says otherwise. Reads share requests anyway; a task
/// that waits to write costs more than a connection.
pub(crate) const DEFAULT_SIZE: usize = 64;

/// The connections of one runtime to one server. A future that is dropped drops its connection, and with it the answer
/// that may still come.
pub(crate) struct AsyncPool {
    idle: Mutex<Idle<Line>>,
    permits: Semaphore,
}

struct Line {
    stream: AsyncStream,
    alarm: Alarm,
}

impl Connection for Line {
    fn is_open(&mut self) -> bool {
        self.stream.is_open()
    }
}

/// A request and the server it is for. Not closures, because the compiler can't tell that their futures are `Send`.
pub(crate) trait Exchange: Sync {
    type Answer: Send;

    fn connect(&self, deadline: Instant) -> impl Future<Output = Result<AsyncStream, Error>> + Send;

    fn ask(&self, stream: &mut AsyncStream) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

impl AsyncPool {
    pub(crate) const fn new(size: usize) -> Self {
        Self { idle: Mutex::new(Idle::new()), permits: Semaphore::const_new(size) }
    }

    /// Asks on an idle connection, or on a new one if there is none; `None` if the call's time runs out.
    pub(crate) async fn run<E: Exchange>(
        &self,
        retry: Retry,
        Span { start, end }: Span,
        exchange: E,
    ) -> Option<Result<E::Answer, Error>> {
        let _permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => timeout_at(end.into(), self.permits.acquire()).await.ok()?.ok()?,
        };
        let idle = lock(&self.idle).take(start);
        if let Some(mut pooled) = idle
            && retry.may_use(&mut pooled.connection)
        {
            let Line { stream, alarm } = &mut pooled.connection;
            match alarm.until(end, exchange.ask(stream)).await? {
                Err(error) if retry.applies(&error) => lock(&self.idle).discard(&pooled),
                result => return Some(self.give_back(pooled, start, result)),
            }
        }
        let mut alarm = Alarm::at(end);
        let mut stream = match alarm.until(end, exchange.connect(end)).await? {
            Ok(stream) => stream,
            Err(error) => return Some(Err(error)),
        };
        let result = alarm.until(end, exchange.ask(&mut stream)).await?;
        Some(self.give_back(Pooled::new(Line { stream, alarm }), start, result))
    }

    /// Keeps the connection if its call succeeded.
    fn give_back<T>(
        &self,
        pooled: Pooled<Line>,
        start: Instant,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if result.is_ok() {
            lock(&self.idle).keep(pooled, start);
        }
        result
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
