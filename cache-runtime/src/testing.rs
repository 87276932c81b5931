//! Isolation and a clock that tests move, for unit tests of cached functions.
//!
//! Inside a [`Scope`] every function starts with no entries and no statistics, remote functions use memory with the same
//! encoding as on their server, and time stands still until the test moves it. Scopes don't see each other, so tests can
//! run in parallel in one process.
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
//! A scope is current on the thread that entered it. Threads and tasks that a test starts don't inherit it: give it to them,
//! or enter it [for the process](Scope::enter_process), as tests of a server do. A call that leaves it behind is reported once.
//!
//! ```
//! # use cache_runtime::{cached, testing::Scope};
//! # #[cached(ttl = 60)]
//! # fn price(id: u64) -> u64 { id * 100 }
//! let scope = Scope::new();
//! let in_scope = scope.clone();
//! std::thread::spawn(move || {
//!     let _entered = in_scope.enter();
//!     price(1)
//! })
//! .join()
//! .unwrap();
//! let task = scope.run(async { price(1) }); // for `tokio::spawn`
//! # pollster::block_on(task);
//! let _entered = scope.enter();
//! assert_eq!(price::stats().runs, 1);
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::common::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::function::world::{self, World};

/// The cache of one test: see the [module](self).
#[derive(Clone)]
pub struct Scope(Arc<World>);

impl Scope {
    /// Everything is in memory, and the environment is not read.
    pub fn new() -> Self {
        Self(Arc::new(World::new(Config::new().memory_only(), Clock::manual())))
    }

    /// With the settings of the test, which may name real servers.
    ///
    /// # Errors
    /// A setting or a URL is wrong.
    pub fn with_config(config: Config) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self(Arc::new(World::new(config, Clock::manual()))))
    }

    /// Makes this the current scope of the thread until the guard is dropped.
    #[must_use = "the scope is left when the guard is dropped"]
    pub fn enter(&self) -> Entered {
        Entered { _world: world::Entered::into(self.0.clone()), _not_send: PhantomData }
    }

    /// Runs `future` in this scope, on whatever threads it is polled. What is returned keeps the scope, so it can be spawned.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.0.clone().run(future)
    }

    /// Makes this the current scope of all threads that enter no other, until the guard is dropped: for tests of a server,
    /// whose tasks and threads the test doesn't start. Waits while another test has done so, so these tests run one by one.
    ///
    /// ```
    /// use cache_runtime::{cached, testing::Scope};
    ///
    /// #[cached(ttl = 60)]
    /// fn price(id: u64) -> u64 {
    ///     id * 100
    /// }
    ///
    /// let scope = Scope::new();
    /// let _entered = scope.enter_process();
    /// std::thread::spawn(|| price(1)).join().unwrap();
    /// assert_eq!(price::stats().runs, 1);
    /// ```
    #[must_use = "the scope is left when the guard is dropped"]
    pub fn enter_process(&self) -> EnteredByProcess {
        EnteredByProcess { _world: world::EnteredByProcess::into(self.0.clone()) }
    }

    /// The scope that this thread is in, to be carried to other threads and tasks.
    pub fn current() -> Option<Self> {
        World::scoped().map(Self)
    }

    /// Moves the scope's clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.context.clock.advance(by);
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("config", &self.0.context.config).finish_non_exhaustive()
    }
}

/// Keeps a thread in a [`Scope`]. Guards are dropped on their own thread, in reverse order of entering.
pub struct Entered {
    _world: world::Entered,
    _not_send: PhantomData<*const ()>,
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}

/// Keeps a process in a [`Scope`].
pub struct EnteredByProcess {
    _world: world::EnteredByProcess,
}

impl fmt::Debug for EnteredByProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnteredByProcess")
    }
}
