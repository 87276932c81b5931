//! The connections of async callers: as many per runtime and server as calls are under way, up to the pool's size.
//!
//! Which is used next and when a call is redone is as in `pool.rs`. Knows nothing of what is said over them.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep_until, timeout_at};

use super::limits::Span;
use super::pool::{Idle, Member, Redo};
use super::wire::AsyncWire;
use crate::error::Error;

/// The connections of one runtime to one server. A future dropped on the way drops its connection,
/// and with it the answer that may still come.
pub(crate) struct AsyncPool {
    idle: Idle<Line>,
    slots: Semaphore,
}

struct Line {
    wire: AsyncWire,
    alarm: Alarm,
}

/// What a call has to say, and to which server. No closures: the compiler can't tell that their futures are `Send`.
pub(crate) trait Exchange: Sync {
    type Answer: Send;

    fn connect(&self) -> impl Future<Output = Result<AsyncWire, Error>> + Send;

    fn ask(&self, wire: &mut AsyncWire) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

impl AsyncPool {
    pub(crate) const fn new(size: usize) -> Self {
        Self { idle: Idle::new(), slots: Semaphore::const_new(size) }
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
        if let Some(mut member) = self.idle.take(start) {
            let Line { wire, alarm } = &mut member.connection;
            match alarm.until(end, exchange.ask(wire)).await? {
                Err(error) if redo.applies(&error) => self.idle.forget(&member),
                result => return Some(self.idle.settle(member, start, result)),
            }
        }
        let mut alarm = Alarm::at(end);
        let mut wire = match alarm.until(end, exchange.connect()).await? {
            Ok(wire) => wire,
            Err(error) => return Some(Err(error)),
        };
        let result = alarm.until(end, exchange.ask(&mut wire)).await?;
        Some(self.idle.settle(Member::new(Line { wire, alarm }), start, result))
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
    async fn until<T>(&mut self, end: Instant, work: impl Future<Output = T>) -> Option<T> {
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
