//! Blocking and async callers, served by the same code.
//!
//! Everything that talks to a backend is written once, as `async` code. For a blocking caller the backend does its work
//! when the future is first polled, so [`block_on`] polls once and is done.

use std::future::{Ready, poll_fn, ready};
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{iter, thread};

use event_listener::Event;

use super::background;
use super::sync::lock;

/// A boxed future, as [`AsyncBackend`](crate::AsyncBackend) returns it: a network call dwarfs the allocation.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who waits for the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A thread, which may block.
    Blocking,
    /// A task, which must not.
    Async,
}

/// Runs `future` on this thread.
///
/// Takes a trait object, because the code of a generic future is compiled again in every crate that names its type.
pub(crate) fn block_on<T>(mut future: Pin<&mut dyn Future<Output = T>>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => pollster::block_on(future),
    }
}

/// The result of an operation that serves both kinds of callers, as a type with a name: done already for a blocking
/// caller, a boxed future for an async one.
pub(crate) enum MaybeReady<'a, T> {
    Now(Ready<T>),
    Later(BoxFuture<'a, T>),
}

impl<'a, T> MaybeReady<'a, T> {
    /// Runs `future` to its end if the caller blocks, and boxes it otherwise.
    pub(crate) fn of(future: impl Future<Output = T> + Send + 'a, caller: Caller) -> Self {
        match caller {
            Caller::Blocking => Self::done(block_on(pin!(future))),
            Caller::Async => Self::Later(Box::pin(future)),
        }
    }

    pub(crate) fn done(value: T) -> Self {
        Self::Now(ready(value))
    }

    /// Waits for the result. For blocking callers.
    pub(crate) fn wait(self) -> T {
        match self {
            Self::Now(done) => done.into_inner(),
            Self::Later(mut future) => block_on(future.as_mut()),
        }
    }
}

impl<T> Future for MaybeReady<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Self::Now(done) => Pin::new(done).poll(cx),
            Self::Later(future) => future.as_mut().poll(cx),
        }
    }
}

/// Makes all `calls` at the same time, those of a blocking caller on threads.
pub(crate) async fn all<'a, T: Send>(
    calls: Vec<impl FnOnce() -> MaybeReady<'a, T> + Send>,
    caller: Caller,
) -> Vec<T> {
    match caller {
        Caller::Blocking => on_threads(calls.into_iter().map(|call| || call().wait()).collect()),
        Caller::Async => join_all(calls.into_iter().map(|call| call()).collect()).await,
    }
}

/// Runs each call on a thread, the first on this one. Where the system can't start a thread, its call runs after the others.
fn on_threads<T: Send, C: FnOnce() -> T + Send>(calls: Vec<C>) -> Vec<T> {
    let calls: Vec<_> = calls.into_iter().map(|call| Mutex::new(Some(call))).collect();
    let Some((first, others)) = calls.split_first() else { return Vec::new() };
    let run = |call: &Mutex<Option<C>>| lock(call).take().map(|call| call());
    let outputs: Vec<Option<T>> = thread::scope(|scope| {
        let start = |call| thread::Builder::new().spawn_scoped(scope, move || run(call)).ok();
        let threads: Vec<_> = others.iter().map(start).collect();
        let own = run(first);
        let others = threads.into_iter().zip(others).map(|(thread, call)| match thread {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => run(call),
        });
        iter::once(own).chain(others).collect()
    });
    outputs.into_iter().flatten().collect()
}

/// Awaits all futures at the same time.
pub(crate) async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                *output = Some(ready);
            }
        }
        if futures.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

/// Waits for `duration`. The background thread wakes an async caller, so this needs no runtime.
pub(crate) async fn pause(duration: Duration, caller: Caller) {
    if caller == Caller::Async {
        let event = Arc::new(Event::new());
        let over = event.listen();
        let ring = move || _ = event.notify(usize::MAX);
        if let Some(_alarm) = background::alarm(duration, ring) {
            return over.await;
        }
        // The system can't start the background thread. Blocking this thread for a moment is better than spinning.
    }
    thread::sleep(duration);
}
