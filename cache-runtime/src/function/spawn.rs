//! Work beside the caller: threads for blocking functions, tasks for async ones, both in the caller's context.
//!
//! Knows nothing of what the work is. Threads are few: each does a renewal that a caller would else have waited for, so
//! when there is no room for one more, the caller does it.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::context::Context;

/// The most threads at once.
const THREADS: usize = 32;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The right to start a thread, given back when that ends.
pub(crate) struct Room(());

/// Room for one more thread, if there is some.
pub(crate) fn room() -> Option<Room> {
    let more = |running| (running < THREADS).then_some(running + 1);
    RUNNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Room(()))
}

impl Drop for Room {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `work` on a thread of its own. Where the system has none, the work is dropped.
pub(crate) fn thread(room: Room, work: impl FnOnce() + Send + 'static) {
    let scope = Context::scoped();
    let in_scope = move || {
        let _room = room;
        Context::enter(scope);
        work();
    };
    let started = std::thread::Builder::new().name("cache-renewal".to_owned()).spawn(in_scope);
    if let Err(error) = started {
        log::warn!("no thread for the renewal of a cache entry: {error}");
    }
}

#[cfg(feature = "tokio")]
pub(crate) use self::tasks::{runtime, task};
#[cfg(not(feature = "tokio"))]
pub(crate) use self::without_tasks::{runtime, task};

#[cfg(feature = "tokio")]
mod tasks {
    use tokio::runtime::Handle;

    use crate::config::context::Context;
    use crate::testing::Scope;

    /// The runtime that this is called on, if it is tokio's.
    pub(crate) fn runtime() -> Option<Handle> {
        Handle::try_current().ok()
    }

    /// Runs `work` as a task of its own.
    pub(crate) fn task(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        match Context::scoped() {
            Some(context) => drop(runtime.spawn(async move { Scope(context).run(work).await })),
            None => drop(runtime.spawn(work)),
        }
    }
}

#[cfg(not(feature = "tokio"))]
mod without_tasks {
    use std::convert::Infallible;

    pub(crate) fn runtime() -> Option<Infallible> {
        None
    }

    pub(crate) fn task(runtime: &Infallible, _work: impl Future<Output = ()> + Send + 'static) {
        match *runtime {}
    }
}
