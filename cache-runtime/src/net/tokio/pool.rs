//! The connections of async callers: as many per runtime and server as calls are under way, up to the pool's size.
//!
//! Which is used next and when a call is redone is as in `pool.rs`. Knows nothing of what is said over them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::Poll;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep_until, timeout_at};

use crate::config::context::lock;
use crate::error::Error;
use crate::net::options::Span;
use crate::net::pool::{Idle, Member, Redo};
use crate::net::stream::AsyncWire;

/// How many connections to one server the tasks of a runtime have. Their reads travel together anyhow; a task that waits
/// to write costs more than a connection.
pub(crate) const USUAL: usize = 64;

/// The connections of one runtime to one server. A future dropped on the way drops its connection,
/// and with it the answer that may still come.
pub(crate) struct AsyncPool {
    idle: Mutex<Idle<Line>>,
    slots: Semaphore,
}

struct Line {
    wire: AsyncWire,
    alarm: Alarm,
}

/// What a call has to say, and to which server. No closures: the compiler can't tell that their futures are `Send`.
pub(crate) trait Exchange: Sync {
    type Answer: Send;

    fn connect(&self, deadline: Instant) -> impl Future<Output = Result<AsyncWire, Error>> + Send;

    fn ask(&self, wire: &mut AsyncWire) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

impl AsyncPool {
    pub(crate) const fn new(size: usize) -> Self {
        Self { idle: Mutex::new(Idle::new()), slots: Semaphore::const_new(size) }
    }

    /// Asks on an idle connection, else on a new one; `None` if the call's time is over.
    pub(crate) async fn run<E: Exchange>(
        &self,
        redo: Redo,
        Span { start, end }: Span,
        exchange: E,
    ) -> Option<Result<E::Answer, Error>> {
        let _slot = match self.slots.try_acquire() {
            Ok(slot) => slot,
            Err(_) => timeout_at(end.into(), self.slots.acquire()).await.ok()?.ok()?,
        };
        let idle = lock(&self.idle).take(start);
        if let Some(mut member) = idle {
            let Line { wire, alarm } = &mut member.connection;
            match alarm.until(end, exchange.ask(wire)).await? {
                Err(error) if redo.applies(&error) => lock(&self.idle).forget(&member),
                result => return Some(self.settle(member, start, result)),
            }
        }
        let mut alarm = Alarm::at(end);
        let mut wire = match alarm.until(end, exchange.connect(end)).await? {
            Ok(wire) => wire,
            Err(error) => return Some(Err(error)),
        };
        let result = alarm.until(end, exchange.ask(&mut wire)).await?;
        Some(self.settle(Member::new(Line { wire, alarm }), start, result))
    }

    fn settle<T>(&self, member: Member<Line>, start: Instant, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_ok() {
            lock(&self.idle).keep(member, start);
        }
        result
    }
}

/// The timer of a connection. Setting one takes longer than an answer does, so it stays set from call to call: where
/// it rings before its time it is set again.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn at(end: Instant) -> Self {
        Self(Box::pin(sleep_until(end.into())))
    }

    /// What `work` gives, unless it takes longer than until `end`.
    ///
    /// Work that comes too late isn't begun: its caller has been told so, and a write may be an old one by now.
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
