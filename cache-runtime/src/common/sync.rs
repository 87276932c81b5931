//! Locking, and the one switch between the standard library and the model checker.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic elsewhere: no lock of this crate guards data that a panic leaves half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The primitives of code that [Shuttle](https://docs.rs/shuttle) checks in every order of its steps: Shuttle's own with
/// `--cfg shuttle`, the standard library's otherwise.
pub(crate) mod checked {
    #[cfg(not(shuttle))]
    pub(crate) use super::lock;
    #[cfg(not(shuttle))]
    pub(crate) use std::{
        sync::{
            Mutex,
            atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence},
        },
        thread::yield_now,
    };

    #[cfg(shuttle)]
    pub(crate) use shuttle::{
        sync::{
            Mutex,
            atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, fence},
        },
        thread::yield_now,
    };

    #[cfg(shuttle)]
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> shuttle::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
