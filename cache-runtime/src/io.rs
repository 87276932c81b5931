//! Blocking and async callers, served by the same code.
//!
//! Everything that talks to a backend is written once, as `async` code over
//! [`AsyncBackend`](crate::AsyncBackend). For a blocking caller the backend's futures are ready when
//! first polled, so [`block_on`] polls once and is done.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Which kind of caller waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Io {
    /// A thread, which may block.
    Blocking,
    /// A task, which must not.
    Async,
}

/// Runs `future` on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => pollster::block_on(future),
    }
}
