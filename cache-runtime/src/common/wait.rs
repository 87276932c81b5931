//! Blocking and async callers, served by the same code.
//!
//! Everything that talks to a backend is written once, as `async` code over
//! [`AsyncBackend`](crate::AsyncBackend). For a blocking caller the backend's futures are ready when
//! first polled, so [`block_on`] polls once and is done.

use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_listener::Event;

use crate::backend::BoxFuture;
use crate::common::background;

/// Which kind of caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Io {
    /// A thread, which may block.
    Blocking,
    /// A task, which must not.
    Async,
}

/// Runs `future` on this thread.
///
/// It comes behind a pointer, because the code of a future is compiled again in every module that knows its type.
pub(crate) fn block_on<T>(mut future: Pin<&mut dyn Future<Output = T>>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => pollster::block_on(future),
    }
}

/// What an operation gives that serves both kinds of callers, as a type without a name of its own: for blocking ones it
/// is done and needs no box.
pub(crate) enum Soon<'a, T> {
    Now(Ready<T>),
    Later(BoxFuture<'a, T>),
}

impl<'a, T> Soon<'a, T> {
    pub(crate) fn of(future: impl Future<Output = T> + Send + 'a, io: Io) -> Self {
        match io {
            Io::Blocking => Self::done(block_on(pin!(future))),
            Io::Async => Self::Later(Box::pin(future)),
        }
    }

    pub(crate) fn done(value: T) -> Self {
        Self::Now(ready(value))
    }

    /// For blocking callers.
    pub(crate) fn now(self) -> T {
        match self {
            Self::Now(done) => done.into_inner(),
            Self::Later(mut future) => block_on(future.as_mut()),
        }
    }
}

impl<T> Future for Soon<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Self::Now(done) => Pin::new(done).poll(cx),
            Self::Later(future) => future.as_mut().poll(cx),
        }
    }
}

/// Waits for `duration`. A task is woken by the background thread, so this needs no runtime.
pub(crate) async fn pause(duration: Duration, io: Io) {
    if io == Io::Async {
        let event = Arc::new(Event::new());
        let over = event.listen();
        let ring = move || _ = event.notify(usize::MAX);
        if let Some(_alarm) = background::alarm(duration, ring) {
            return over.await;
        }
        // The system starts no more threads. To hold up this one for a moment is better than to spin.
    }
    std::thread::sleep(duration);
}
