//! Blocking and async callers, served by the same code.
//!
//! Everything that talks to a backend is written once, as `async` code. For a blocking caller the backend does its work
//! when the future is first polled, so [`block_on`] polls once and is done.

use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_listener::Event;

use super::background;

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
    std::thread::sleep(duration);
}
