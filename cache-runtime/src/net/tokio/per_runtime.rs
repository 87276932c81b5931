//! One value for each tokio runtime: a connection belongs to the runtime whose driver wakes it. A child of `fork` needs
//! a runtime of its own, because its parent's has threads that the child lacks and a poller that both share.

use std::sync::{Arc, Mutex, Weak};

use tokio::runtime::{Handle, Id};
use tokio::sync::watch;

use crate::common::process::{PerProcess, Process};
use crate::common::sync::lock;
use crate::error::{Error, ErrorKind, Reason};

/// There are few runtimes, so a linear search is faster than hashing.
type Values<T> = Mutex<Vec<(Id, T)>>;

/// A `T` for each living runtime that has asked for one.
pub(crate) struct PerRuntime<T>(PerProcess<Shared<T>>);

/// What the runtimes of a process share.
struct Shared<T> {
    values: Arc<Values<T>>,
    /// Dropped with this, which ends the tasks that wait for the end of their runtimes.
    alive: watch::Sender<()>,
}

impl<T: Send + 'static> PerRuntime<T> {
    pub(crate) fn new() -> Self {
        Self(PerProcess::new())
    }

    /// Passes the value of the current runtime to `work`, under a lock. `make` makes the value on first use.
    pub(crate) fn with<R>(
        &self,
        make: impl FnOnce() -> T,
        work: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Error> {
        let runtime = Handle::try_current().map_err(|error| {
            let message = "an async call outside a tokio runtime";
            Error::new(ErrorKind::Config, message).with_source(error).because(Reason::Process)
        })?;
        let id = runtime.id();
        let shared = self.0.get(|_| Shared { values: Arc::default(), alive: watch::Sender::new(()) });
        let mut values = lock(&shared.values);
        if let Some((_, value)) = values.iter_mut().find(|(known, _)| *known == id) {
            return Ok(work(value));
        }
        let mut value = make();
        let result = work(&mut value);
        values.push((id, value));
        drop(values);
        shared.remove_with(&runtime);
        Ok(result)
    }
}

impl<T: Send + 'static> Shared<T> {
    /// Removes the value when the runtime ends: a runtime drops its tasks then, so a task that waits forever notices.
    /// Another runtime may get the same id later.
    fn remove_with(&self, runtime: &Handle) {
        let process = Process::current();
        let entry = Entry { process, values: Arc::downgrade(&self.values), runtime: runtime.id() };
        let mut alive = self.alive.subscribe();
        runtime.spawn(async move {
            let _entry = entry;
            // Returns only when the sender is gone.
            alive.changed().await
        });
    }
}

/// Removes a runtime's value when dropped.
struct Entry<T> {
    process: Process,
    values: Weak<Values<T>>,
    runtime: Id,
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        // Bound to a name, so that the value is dropped after the lock is released.
        let _value = self.values.upgrade().and_then(|values| {
            let mut values = lock(&values);
            let index = values.iter().position(|(known, _)| *known == self.runtime)?;
            Some(values.swap_remove(index))
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn get(values: &PerRuntime<Arc<()>>) -> Result<Arc<()>, Error> {
        values.with(Arc::default, |value| value.clone())
    }

    #[test]
    fn each_runtime_has_its_own() {
        let values = PerRuntime::<Arc<()>>::new();
        let (one, two) = (runtime(), runtime());
        let first = one.block_on(async { get(&values) }).unwrap();
        let other = two.block_on(async { get(&values) }).unwrap();
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(Arc::ptr_eq(&first, &one.block_on(async { get(&values) }).unwrap()));
    }

    #[test]
    fn nothing_is_kept_of_runtimes_that_are_gone() {
        let values = PerRuntime::<Arc<()>>::new();
        for _ in 0..1000 {
            runtime().block_on(async { get(&values) }).unwrap();
        }
        assert!(lock(&values.0.existing().unwrap().values).is_empty());
    }

    #[test]
    fn nothing_is_kept_in_a_runtime_that_lives_longer() {
        let runtime = runtime();
        let values = PerRuntime::<Arc<()>>::new();
        let value = Arc::downgrade(&runtime.block_on(async { get(&values) }).unwrap());
        drop(values);
        assert!(value.upgrade().is_none());
        runtime.block_on(async {
            while Handle::current().metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn without_a_runtime_it_is_an_error() {
        let error = get(&PerRuntime::new()).unwrap_err();
        assert!(error.to_string().contains("outside a tokio runtime"), "{error}");
    }
}
