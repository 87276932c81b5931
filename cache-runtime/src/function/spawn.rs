//! Runs beside the caller: threads for blocking functions, tasks for async ones, both in the caller's world.
//!
//! Knows nothing of what the work is. The number of threads is bounded: if there is no room for another, the caller does
//! the renewal itself. A child of `fork` begins with room for all.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::world::World;
use crate::common::process::PerProcess;

/// The most threads at once.
const MAX_THREADS: usize = 32;

/// The right to start a thread. It is given back when the thread ends.
pub(crate) struct Room(&'static AtomicUsize);

/// Room for another thread, if there is any.
pub(crate) fn room() -> Option<Room> {
    static RUNNING: PerProcess<AtomicUsize> = PerProcess::new();
    let running = RUNNING.get(|_| AtomicUsize::new(0));
    let more = |running| (running < MAX_THREADS).then_some(running + 1);
    running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Room(running))
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `work` on a new thread. If the system can't start one, the work is dropped.
pub(crate) fn thread(room: Room, work: impl FnOnce() + Send + 'static) {
    let scope = World::scoped();
    let in_scope = move || {
        let _room = room;
        World::enter(scope);
        work();
    };
    let started = std::thread::Builder::new().name("cache-renewal".to_owned()).spawn(in_scope);
    if let Err(error) = started {
        log::warn!("can't start a thread to renew a cache entry: {error}");
    }
}

#[cfg(feature = "tokio")]
pub(crate) use self::tasks::{result, runtime, task};
#[cfg(not(feature = "tokio"))]
pub(crate) use self::without_tasks::{result, runtime, task};

#[cfg(feature = "tokio")]
mod tasks {
    use std::future::poll_fn;
    use std::panic::resume_unwind;
    use std::pin::{Pin, pin};
    use std::task::Poll;

    use tokio::runtime::Handle;
    use tokio::task::{JoinError, JoinHandle};

    use crate::function::world::World;

    /// The tokio runtime that this is called on, if there is one.
    pub(crate) fn runtime() -> Option<Handle> {
        Handle::try_current().ok()
    }

    /// Runs `work` as a new task. Dropping what is returned doesn't end it.
    pub(crate) fn task<T: Send + 'static>(
        runtime: &Handle,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match World::scoped() {
            Some(scope) => runtime.spawn(scope.run(work)),
            None => runtime.spawn(work),
        }
    }

    /// Waits for a task; passes its panic on. `None` if its runtime has ended, or once `is_abandoned` is ready.
    pub(crate) async fn result<T>(
        mut task: JoinHandle<T>,
        is_abandoned: impl Future<Output = ()>,
    ) -> Option<T> {
        let mut is_abandoned = pin!(is_abandoned);
        poll_fn(|context| {
            if let Poll::Ready(result) = Pin::new(&mut task).poll(context) {
                return Poll::Ready(match result.map_err(JoinError::try_into_panic) {
                    Ok(value) => Some(value),
                    Err(Ok(panic)) => resume_unwind(panic),
                    Err(Err(_)) => None,
                });
            }
            is_abandoned.as_mut().poll(context).map(|()| {
                task.abort();
                None
            })
        })
        .await
    }
}

#[cfg(not(feature = "tokio"))]
mod without_tasks {
    use std::convert::Infallible;

    /// There is none.
    pub(crate) struct Runtime(Infallible);

    pub(crate) fn runtime() -> Option<Runtime> {
        None
    }

    pub(crate) fn task<T>(runtime: &Runtime, _work: impl Future<Output = T> + Send + 'static) -> Runtime {
        match runtime.0 {}
    }

    pub(crate) async fn result<T>(task: Runtime, _is_abandoned: impl Future<Output = ()>) -> Option<T> {
        match task.0 {}
    }
}
