//! Blocking and async callers, served by the same code.
//!
//! Everything that talks to a backend is written once, as `async` code over
//! [`AsyncBackend`](crate::AsyncBackend). For a blocking caller the backend's futures are ready when
//! first polled, so [`block_on`] polls once and is done.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_listener::Event;

use crate::background;

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
    // Behind a pointer: its code is large, and would else be here twice for each future there is.
    let mut future: Pin<&mut dyn Future<Output = F::Output>> = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => pollster::block_on(future),
    }
}

/// Waits for `duration`. A task is woken by the background thread, so this needs no runtime.
pub(crate) async fn pause(duration: Duration, io: Io) {
    if io == Io::Async {
        let event = Arc::new(Event::new());
        let over = event.listen();
        if background::schedule(duration, move || {
            event.notify(usize::MAX);
            None
        }) {
            return over.await;
        }
        // The system starts no more threads. To hold up this one for a moment is better than to spin.
    }
    std::thread::sleep(duration);
}
