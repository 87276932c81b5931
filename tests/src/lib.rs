//! What the tests share: servers to talk to, good and bad ones, and the suite that every backend passes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

pub mod authority;
pub mod conformance;
pub mod fakes;
pub mod fleet;
pub mod history;
pub mod hostile;
pub mod logged;
pub mod proxy;
pub mod servers;

/// Polls `future` once; whether it isn't ready.
pub async fn is_pending<F: Future + ?Sized>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// Polls all of `futures` once, and keeps those that aren't ready.
pub async fn poll_all<F: Future + ?Sized>(futures: &mut Vec<Pin<Box<F>>>) {
    poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}
