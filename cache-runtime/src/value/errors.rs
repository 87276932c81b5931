//! Sharing of errors that aren't stored with the calls that waited for them.
//!
//! [`ErrProbe`] tells whether the errors of a return type can be shared: an inherent constant, which exists for errors that
//! are `Clone + Send + Sync + 'static`, shadows the one of the blanket trait [`ErrFallback`].

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::common::catch::catch;
use crate::error::ErrorKind;

/// An error of one type.
pub(crate) type SharedErr = Arc<dyn Any + Send + Sync>;

/// How the errors of a return type `R` are shared.
pub struct ShareErr<R> {
    /// A copy of the error in a return value, if that is an `Err`.
    pub(crate) copy: fn(&R) -> Option<SharedErr>,
    /// The return value with a shared error.
    pub(crate) revive: fn(&SharedErr) -> Option<R>,
}

/// Finds out whether the errors of `R` can be shared.
pub struct ErrProbe<R>(PhantomData<R>);

/// Provides the constant where they can't.
pub trait ErrFallback<R> {
    /// All waiters run the body.
    const SHARE: Option<ShareErr<R>> = None;
}

impl<R> ErrFallback<R> for ErrProbe<R> {}

impl<T, E: Clone + Send + Sync + 'static> ErrProbe<Result<T, E>> {
    /// By copies of the error.
    pub const SHARE: Option<ShareErr<Result<T, E>>> = Some(ShareErr {
        copy: |ret| ret.as_ref().err().and_then(shared),
        revive: |error| revived(error).map(Err),
    });
}

impl<T, E: Clone + Send + Sync + 'static> ErrProbe<Option<Result<T, E>>> {
    /// By copies of the error.
    pub const SHARE: Option<ShareErr<Option<Result<T, E>>>> = Some(ShareErr {
        copy: |ret| ret.as_ref()?.as_ref().err().and_then(shared),
        revive: |error| revived(error).map(|error| Some(Err(error))),
    });
}

fn shared<E: Clone + Send + Sync + 'static>(error: &E) -> Option<SharedErr> {
    catch::<E, _>(ErrorKind::Encode, || Ok(Arc::new(error.clone()) as SharedErr)).ok()
}

fn revived<E: Clone + 'static>(error: &SharedErr) -> Option<E> {
    let error = error.downcast_ref::<E>()?;
    catch::<E, _>(ErrorKind::Encode, || Ok(error.clone())).ok()
}
