//! Isolation and a hand-moved clock for unit tests of cached functions.
//!
//! Inside a [`Scope`] every function starts with no entries and no statistics, remote functions use
//! memory through the same encoding as on their server, and time stands still until the test moves it.
//! Scopes don't see each other, so tests may run in parallel in one process.
//!
//! ```
//! use std::time::Duration;
//! use cache_runtime::{cached, testing::Scope};
//!
//! #[cached(ttl = 60)]
//! fn price(id: u64) -> u64 {
//!     id * 100
//! }
//!
//! let scope = Scope::new();
//! let _entered = scope.enter();
//! price(1);
//! price(1);
//! assert_eq!(price::stats().runs, 1);
//! scope.advance(Duration::from_secs(61));
//! price(1);
//! assert_eq!(price::stats().runs, 2);
//! ```
//!
//! A scope is current on the thread that entered it. Other threads enter it themselves; a future that
//! moves between threads is wrapped with [`Scope::run`].

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::common::clock::Clock;
use crate::config::Config;
use crate::config::context::Context;
use crate::error::Error;

/// A cache of a test's own: see the [module](self).
#[derive(Clone)]
pub struct Scope(pub(crate) Arc<Context>);

impl Scope {
    /// Everything in memory; the environment is not read.
    pub fn new() -> Self {
        Self(Arc::new(Context::new(Config::new().all_memory(), Clock::manual())))
    }

    /// With settings of the test's own, real servers included.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn with(config: Config) -> Result<Self, Error> {
        match config.first_problem() {
            Some(problem) => Err(problem.clone()),
            None => Ok(Self(Arc::new(Context::new(config, Clock::manual())))),
        }
    }

    /// Makes this the current scope of the thread until the guard is dropped.
    #[must_use = "the scope is left when the guard is dropped"]
    pub fn enter(&self) -> Entered {
        Entered { before: Context::enter(Some(self.0.clone())), stays: PhantomData }
    }

    /// Runs `future` in this scope, on whatever threads it is polled.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = Box::pin(future);
        std::future::poll_fn(move |cx| self.poll(future.as_mut(), cx)).await
    }

    fn poll<F: Future>(&self, future: Pin<&mut F>, cx: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let _entered = self.enter();
        future.poll(cx)
    }

    /// Moves the scope's clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// Keeps a thread in a [`Scope`]; guards are dropped in reverse order of entering, on their thread.
pub struct Entered {
    before: Option<Arc<Context>>,
    stays: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        Context::enter(self.before.take());
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}
