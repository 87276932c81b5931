//! Where calls happen: the process's settings and functions, or a test's own.
//!
//! There is one world for each process. A child of `fork` has its parent's settings, and functions that begin anew. A
//! [testing scope](crate::testing) is another world, current on the threads that entered it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task;

use log::Level;

use super::state::State;
use crate::common::clock::Clock;
use crate::common::process::PerProcess;
use crate::common::report::report;
use crate::common::sync::lock;
use crate::config::Config;
use crate::config::context::Context;
use crate::error::{Error, ErrorKind};
use crate::remote::space::Spaces;
use crate::stats::{AllStats, Stats};

/// Settings in use, and the state of every function that has been called under them.
pub(crate) struct World {
    pub(crate) context: Context,
    /// By the address of the function's site.
    functions: Mutex<HashMap<usize, Arc<State>>>,
    spaces: PerProcess<Spaces>,
}

static GLOBAL: PerProcess<Arc<World>> = PerProcess::new();
static SCOPES_USED: AtomicBool = AtomicBool::new(false);
/// The scope of all threads that are in no other.
static OF_PROCESS: Mutex<Option<Arc<World>>> = Mutex::new(None);
static OF_PROCESS_LEFT: Condvar = Condvar::new();
/// How many threads are in a scope of their own.
static THREADS_INSIDE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CURRENT: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

impl World {
    pub(crate) fn new(config: Config, clock: Clock) -> Self {
        Self { context: Context::new(config, clock), functions: Mutex::default(), spaces: PerProcess::new() }
    }

    /// The world of the process.
    pub(crate) fn global() -> &'static Arc<Self> {
        let new = || Arc::new(Self::new(Config::from_env(), Clock::system()));
        GLOBAL.get(|parent| parent.map_or_else(new, |parent| parent.in_child()))
    }

    fn in_child(&self) -> Arc<Self> {
        Arc::new(Self {
            context: self.context.in_child(),
            functions: Mutex::default(),
            spaces: PerProcess::new(),
        })
    }

    /// The world that this thread is in.
    pub(crate) fn current() -> Arc<Self> {
        Self::scoped().unwrap_or_else(|| Self::global().clone())
    }

    /// Whether any thread of the process has ever entered a scope. Usually this relaxed load is all that scopes cost.
    #[inline]
    pub(crate) fn has_scopes() -> bool {
        SCOPES_USED.load(Ordering::Relaxed)
    }

    /// The testing scope that this thread is in.
    pub(crate) fn scoped() -> Option<Arc<Self>> {
        if !Self::has_scopes() {
            return None;
        }
        let own = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        own.or_else(|| lock(&OF_PROCESS).clone())
    }

    /// Says once that a function was called outside of all scopes while other threads are inside: threads and tasks that a
    /// test starts don't inherit its scope.
    pub(crate) fn notice_stray_call(function: &str) {
        static IS_TOLD: AtomicBool = AtomicBool::new(false);
        if THREADS_INSIDE.load(Ordering::Relaxed) > 0 && !IS_TOLD.swap(true, Ordering::Relaxed) {
            report(
                Level::Error,
                format_args!(
                    "{function} was called outside of the testing scopes that are entered: if its test has a scope, enter it on \
                 the new thread (`Scope::enter`), around the new task (`Scope::run`) or for the process \
                 (`Scope::enter_process`)"
                ),
            );
        }
    }

    /// Makes `world` the scope of this thread, and returns the one before.
    pub(crate) fn enter(world: Option<Arc<Self>>) -> Option<Arc<Self>> {
        SCOPES_USED.store(true, Ordering::Relaxed);
        let is_inside = world.is_some();
        let before = CURRENT.try_with(|current| current.replace(world)).ok().flatten();
        match (before.is_some(), is_inside) {
            (false, true) => _ = THREADS_INSIDE.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = THREADS_INSIDE.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        before
    }

    /// Runs `future` in this world, on whatever threads it is polled.
    pub(crate) async fn run<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        let mut future = Box::pin(future);
        std::future::poll_fn(move |cx| self.poll(future.as_mut(), cx)).await
    }

    fn poll<F: Future>(
        self: &Arc<Self>,
        future: Pin<&mut F>,
        cx: &mut task::Context<'_>,
    ) -> task::Poll<F::Output> {
        let _entered = Entered::into(self.clone());
        future.poll(cx)
    }

    /// The state of the function at `site`, made by `make` at first use.
    pub(crate) fn function(&self, site: usize, make: impl FnOnce() -> State) -> Arc<State> {
        if let Some(state) = lock(&self.functions).get(&site) {
            return state.clone();
        }
        // Made without the lock: tracing a type runs the user's `Deserialize`.
        let made = make();
        let mut functions = lock(&self.functions);
        let clash = functions.iter().any(|(other, state)| *other != site && made.clashes_with(state));
        let made = if clash { made.broken_by_clash() } else { made };
        functions.entry(site).or_insert_with(|| Arc::new(made)).clone()
    }

    /// The spaces of the plain cache.
    pub(crate) fn spaces(&self) -> &Spaces {
        self.spaces.get(|_| Spaces::default())
    }

    /// Every function called so far.
    fn functions(&self) -> Vec<Arc<State>> {
        lock(&self.functions).values().cloned().collect()
    }
}

/// Keeps a thread in a world until it is dropped.
pub(crate) struct Entered(Option<Arc<World>>);

impl Entered {
    pub(crate) fn into(world: Arc<World>) -> Self {
        Self(World::enter(Some(world)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        World::enter(self.0.take());
    }
}

/// Keeps all threads of the process in a world, except those in another one, until it is dropped.
pub(crate) struct EnteredByProcess(());

impl EnteredByProcess {
    /// Waits while the process is in another world.
    pub(crate) fn into(world: Arc<World>) -> Self {
        SCOPES_USED.store(true, Ordering::Relaxed);
        let is_entered = |current: &mut Option<Arc<World>>| current.is_some();
        let current = OF_PROCESS_LEFT.wait_while(lock(&OF_PROCESS), is_entered);
        *current.unwrap_or_else(PoisonError::into_inner) = Some(world);
        Self(())
    }
}

impl Drop for EnteredByProcess {
    fn drop(&mut self) {
        let world = lock(&OF_PROCESS).take();
        OF_PROCESS_LEFT.notify_one();
        // Dropped without the lock: values may call cached functions when they are dropped.
        drop(world);
    }
}

impl Config {
    /// Makes these the settings of the process.
    ///
    /// # Errors
    /// A setting or a URL is wrong, or a cached call, a [`Cache`](crate::Cache) or another `install` came first.
    pub fn install(self) -> Result<(), Error> {
        self.validate()?;
        let new = Arc::new(World::new(self, Clock::system()));
        let used = GLOBAL.get(|parent| parent.map_or_else(|| new.clone(), |parent| parent.in_child()));
        if Arc::ptr_eq(used, &new) {
            return Ok(());
        }
        let message = "settings are already in use: install them once, before the first use of a cache";
        Err(Error::new(ErrorKind::Config, message))
    }
}

/// The statistics of every function called so far, by name.
///
/// ```
/// println!("{}", cache_runtime::stats());
/// ```
pub fn stats() -> AllStats {
    let mut all: Vec<Stats> = World::current().functions().iter().map(|state| state.stats()).collect();
    all.sort_by(|a, b| a.function.cmp(&b.function));
    AllStats::new(all)
}

/// Reports everything that is wrong with the settings in use: bad variables, bad URLs, refused passwords, databases and
/// commands, and, for functions called so far, aliases without a URL, values that their codec can't handle, and runs that
/// can't be shared in a cluster. Call it at start-up. On each server that [`Config`] or a variable names it does once what
/// calls do, with keys under the prefix that it removes. Each step may take the backend's timeout, and the first that is not
/// answered is the last. A companion makes a function known just as a call does: `user::stats()` is one that asks no server.
/// Functions don't register themselves before that: it would take `unsafe` code in your crate (a section of the linker), which
/// crates may forbid.
///
/// Three things are only logged as warnings. A server that is down may come back. A command that is refused and has a
/// substitute costs only time. A variable `CACHE_<X>_URL` whose scheme belongs to no backend may be for another program, until
/// a function uses the alias.
///
/// ```
/// fn main() -> Result<(), cache_runtime::CheckError> {
///     cache_runtime::check()?;
///     // …
///     Ok(())
/// }
/// ```
///
/// # Errors
/// One [`CheckError`] that lists every problem.
pub fn check() -> Result<(), CheckError> {
    let world = World::current();
    let mut problems = world.context.problems();
    for misuse in world.functions().iter().flat_map(|state| state.misuse()) {
        // A problem with a setting breaks all functions that it concerns, and is in the list already.
        if !problems.iter().any(|problem| problem.to_string() == misuse.to_string()) {
            problems.push(misuse);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(CheckError(problems)) }
}

/// The problems that [`check`] found. `Display` prints one per line.
#[derive(Clone)]
pub struct CheckError(Vec<Error>);

impl CheckError {
    /// The problems, one by one.
    pub fn errors(&self) -> &[Error] {
        &self.0
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CheckError {}
