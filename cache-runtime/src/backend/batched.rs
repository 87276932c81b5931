//! Async reads that arrive together share a request.
//!
//! The first task that asks opens a batch and yields once, so that other ready tasks can join it. All of them then go out
//! as one `get_many`. A lone read waits for nobody: its turn comes back at once.
//!
//! A task of its own drives a batch of two or more, so that a waiter that gives up takes nothing from the others, and
//! neither does one whose future is kept without being polled. A batch ends at the deadline of the read that opened it,
//! and only reads with about as much time join. It goes to one server, so that a server that is down holds up no other's
//! reads, and stays within one runtime, whose end closes its connections. Knows keys and bytes, no functions.
//!
//! A task that blocks its thread right after it has joined holds up the batch, because the task that drives it is queued
//! on that thread.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;

use super::adapt::FromAsyncBackend;
use super::derived::{async_backend_of_service, bytes_of};
use super::request::{Answer, Condition, Reply, Request, Service, Version, Versioned};
use super::{AsyncBackend, SetOptions};
use crate::common::sync::lock;
use crate::common::wait::{BoxFuture, Caller, MaybeReady};
use crate::error::{Error, ErrorKind};
use crate::net::MAX_BATCH;
use crate::net::tokio::per_runtime::PerRuntime;

/// The number of waiters that room is made for at once: where there are two, there usually are many.
const RESERVE: usize = 64;

/// How much the deadlines of a batch and of a read that joins it may differ.
const SLACK: Duration = Duration::from_millis(5);

/// A backend whose reads, when tasks make them at the same time, go out as one
/// [`get_many`](AsyncBackend::get_many). All other operations pass through.
///
/// Redis and Memcached include it when they are named by URL. It helps if `get_many` is one round trip.
///
/// ```
/// use std::time::{Duration, Instant};
/// use cache_runtime::{AsyncBackend, Batched, Memory};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let backend = Batched::new(Memory::default());
/// let soon = Instant::now() + Duration::from_millis(100);
/// assert_eq!(backend.get(b"ann", soon).await?, None);
/// # Ok::<(), cache_runtime::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Batched {
    service: Arc<dyn Service>,
    open: PerRuntime<OpenBatches>,
}

/// For each server, the batch that reads may still join.
type OpenBatches = Vec<Weak<Batch>>;

impl Batched {
    /// The same backend with its reads batched.
    pub fn new(backend: impl AsyncBackend) -> Self {
        Self::over(Arc::new(FromAsyncBackend(Arc::new(backend))))
    }

    pub(crate) fn over(service: Arc<dyn Service>) -> Self {
        Self { service, open: PerRuntime::new() }
    }

    /// Joins the open batch for the server of `key`, or opens one.
    fn join(&self, key: &[u8], deadline: Instant, waker: &Waker) -> Result<Waiter, Error> {
        let make = || (0..self.service.servers().max(1)).map(|_| Weak::new()).collect();
        self.open.with(make, |batches: &mut OpenBatches| {
            let open = match batches.as_mut_slice() {
                [only] => only,
                batches => &mut batches[self.service.server_of(key).min(batches.len() - 1)],
            };
            let joined = open.upgrade().and_then(|batch| batch.join(key, deadline, waker));
            joined.unwrap_or_else(|| {
                let first = Batch::open(self.service.clone(), key, deadline, waker);
                *open = Arc::downgrade(&first.batch);
                first
            })
        })
    }
}

impl fmt::Debug for Batched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batched").finish_non_exhaustive()
    }
}

impl Service for Batched {
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        match (caller, request) {
            (Caller::Async, Request::Get(key)) if !self.service.travels_alone(key) => {
                MaybeReady::Later(Box::pin(Read { batched: self, key, deadline, stage: Stage::New }))
            }
            (caller, request) => self.service.call(request, deadline, caller),
        }
    }

    fn max_value_len(&self) -> usize {
        self.service.max_value_len()
    }

    fn servers(&self) -> usize {
        self.service.servers()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        self.service.server_of(key)
    }

    fn groups(&self) -> usize {
        self.service.groups()
    }

    fn group_of(&self, key: &[u8]) -> usize {
        self.service.group_of(key)
    }
}

async_backend_of_service!(Batched);

/// One read.
struct Read<'a> {
    batched: &'a Batched,
    key: &'a [u8],
    deadline: Instant,
    stage: Stage<'a>,
}

enum Stage<'a> {
    New,
    Waiting(Waiter),
    /// Nobody has joined the batch that this read opened.
    Alone(Answer<'a>),
}

impl Future for Read<'_> {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::New = self.stage {
            let waiter = self.batched.join(self.key, self.deadline, context.waker())?;
            waiter.start_batch();
            self.stage = Stage::Waiting(waiter);
            return Poll::Pending;
        }
        if let Stage::Waiting(waiter) = &mut self.stage {
            match waiter.check(context.waker()) {
                Check::Value(value) => return Poll::Ready(value.map(Reply::Value)),
                Check::Pending => return Poll::Pending,
                Check::Alone => {
                    let service = &self.batched.service;
                    let read = service.call(Request::Get(self.key), self.deadline, Caller::Async);
                    self.stage = Stage::Alone(read);
                }
            }
        }
        match &mut self.stage {
            Stage::Alone(read) => Pin::new(read).poll(context),
            Stage::New | Stage::Waiting(_) => Poll::Pending,
        }
    }
}

/// One `get_many`, from the first read's arrival until every read has its value.
struct Batch {
    service: Arc<dyn Service>,
    deadline: Instant,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// The wakers of the waiters by slot; empty once the values are there.
    waiters: Vec<Option<Waker>>,
    /// The task that drives a batch of two or more, and its runtime.
    driver: Option<(AbortHandle, Id)>,
}

enum Phase {
    /// Reads may join.
    Open(Keys),
    Sent,
    Done(Values),
}

type Values = Result<Vec<Option<Versioned>>, Error>;

/// Keys in one allocation, and where each ends.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// Makes room for `count` keys of about this length.
    fn reserve(&mut self, count: usize, len: usize) {
        self.bytes.reserve(count * len);
        self.ends.reserve(count);
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// Reads the values of all keys.
    async fn read(self, service: Arc<dyn Service>, deadline: Instant) -> Values {
        let keys: Vec<&[u8]> = self.iter().collect();
        let values = match keys.as_slice() {
            [key] => {
                let answer = service.call(Request::Get(key), deadline, Caller::Async).await?;
                vec![answer.value()?]
            }
            keys => service.call(Request::GetMany(keys), deadline, Caller::Async).await?.values()?,
        };
        if values.len() == keys.len() {
            return Ok(values);
        }
        let message = format!("the backend returned {} values for {} keys", values.len(), keys.len());
        Err(Error::new(ErrorKind::Protocol, message))
    }
}

impl Batch {
    /// A new batch and its first waiter, whose task runs again after the tasks that are ready now.
    fn open(service: Arc<dyn Service>, key: &[u8], deadline: Instant, waker: &Waker) -> Waiter {
        let mut keys = Keys::default();
        keys.push(key);
        let waiters = vec![Some(waker.clone())];
        let state = Mutex::new(State { phase: Phase::Open(keys), waiters, driver: None });
        waker.wake_by_ref();
        Waiter { batch: Arc::new(Self { service, deadline, state }), slot: 0, is_done: false }
    }

    /// A slot in the batch, if it is still open and its deadline fits.
    fn join(self: Arc<Self>, key: &[u8], deadline: Instant, waker: &Waker) -> Option<Waiter> {
        // Comparing is much faster than subtracting.
        if deadline > self.deadline + SLACK || self.deadline > deadline + SLACK {
            return None;
        }
        let mut state = lock(&self.state);
        let State { phase: Phase::Open(keys), waiters, .. } = &mut *state else { return None };
        if waiters.len() == MAX_BATCH {
            return None;
        }
        if waiters.len() == 1 {
            waiters.reserve(RESERVE);
            keys.reserve(RESERVE, key.len());
        }
        keys.push(key);
        waiters.push(Some(waker.clone()));
        let slot = waiters.len() - 1;
        drop(state);
        Some(Waiter { batch: self, slot, is_done: false })
    }

    /// Closes the batch and returns its keys, if anybody still waits for a value.
    fn close(&self) -> Option<Keys> {
        let mut state = lock(&self.state);
        match mem::replace(&mut state.phase, Phase::Sent) {
            Phase::Open(keys) if state.waiters.iter().any(Option::is_some) => Some(keys),
            _ => None,
        }
    }

    /// Ends the batch and wakes all waiters.
    fn deliver(&self, values: Values) {
        let mut state = lock(&self.state);
        state.phase = Phase::Done(values);
        let waiters = mem::take(&mut state.waiters);
        drop(state);
        waiters.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Drives a batch of two or more. Dropping it fails the batch.
struct Driver(Arc<Batch>);

impl Driver {
    /// Sends the batch after the tasks that are ready now have run.
    async fn run(self) {
        let mut has_yielded = false;
        poll_fn(|context| {
            if mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        if let Some(keys) = self.0.close() {
            let values = keys.read(self.0.service.clone(), self.0.deadline).await;
            self.0.deliver(values);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !matches!(lock(&self.0.state).phase, Phase::Done(_)) {
            let why = if thread::panicking() { "the backend panicked" } else { "the runtime has ended" };
            self.0.deliver(Err(Error::new(ErrorKind::Unavailable, why)));
        }
    }
}

/// A read in a batch.
struct Waiter {
    batch: Arc<Batch>,
    slot: usize,
    is_done: bool,
}

/// What a waiter finds.
enum Check {
    Value(Result<Option<Versioned>, Error>),
    Pending,
    /// Read alone: nobody else joined, or nobody drives the batch.
    Alone,
}

impl Waiter {
    /// Starts the driver if this is the second read. The first read runs again anyway, and may turn out to be alone.
    fn start_batch(&self) {
        if self.slot == 1 {
            // A runtime that is ending drops the task at once, which fails the batch.
            let runtime = Handle::current();
            let driver = runtime.spawn(Driver(self.batch.clone()).run()).abort_handle();
            lock(&self.batch.state).driver = Some((driver, runtime.id()));
        }
    }

    fn check(&mut self, waker: &Waker) -> Check {
        let mut state = lock(&self.batch.state);
        if let Phase::Done(values) = &mut state.phase {
            self.is_done = true;
            return Check::Value(match values {
                Ok(values) => Ok(values[self.slot].take()),
                Err(error) => Err(error.clone()),
            });
        }
        if state.waiters.len() == 1 {
            self.is_done = true;
            state.phase = Phase::Sent;
            return Check::Alone;
        }
        // This future has moved to another runtime, and nobody may be driving the one that the batch is on.
        let is_elsewhere =
            |(_, runtime): &(_, Id)| Handle::try_current().is_ok_and(|here| here.id() != *runtime);
        if state.driver.as_ref().is_some_and(is_elsewhere) {
            return Check::Alone;
        }
        if let Some(Some(own)) = state.waiters.get_mut(self.slot) {
            own.clone_from(waker);
        }
        Check::Pending
    }
}

/// Leaves the batch to the others; the last one to leave ends it.
impl Drop for Waiter {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut state = lock(&self.batch.state);
        if matches!(state.phase, Phase::Done(_)) {
            return;
        }
        state.waiters[self.slot] = None;
        if state.waiters.iter().any(Option::is_some) {
            return;
        }
        // Closed to new reads.
        state.phase = Phase::Sent;
        let driver = state.driver.take();
        drop(state);
        if let Some((driver, _)) = driver {
            driver.abort();
        }
    }
}
