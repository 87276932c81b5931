//! Panics of the user's code that runs only because of the cache: such code must not fail a call that would succeed
//! without it.

use std::any::{Any, type_name};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind};

/// Runs `work`, which calls the user's code for the type `T`. A panic becomes an error of `kind`. Whatever `work` was
/// changing must be thrown away then.
#[inline]
pub(crate) fn catch<T: ?Sized, O>(
    kind: ErrorKind,
    work: impl FnOnce() -> Result<O, Error>,
) -> Result<O, Error> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(panicked(kind, panic).at(type_name::<T>())))
}

/// [`catch`] where a panic is as good as a `None`. Moves the result once only, which a hit notices.
#[inline]
pub(crate) fn catch_option<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        std::mem::forget(panic);
        None
    })
}

#[cold]
fn panicked(kind: ErrorKind, panic: Box<dyn Any + Send>) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    let error = Error::new(kind, format!("code for it panicked: {text}"));
    // Dropping what somebody panicked with may panic again.
    std::mem::forget(panic);
    error
}
