//! What a renewal in the background needs to own: the arguments, which must outlive the call, and a future that may
//! move between threads.
//!
//! Generated code asks without knowing the types. An inherent method shadows a trait's: where its bounds hold it
//! returns something; otherwise the trait's method returns nothing, and the elected caller runs the body.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::marker::PhantomData;

use crate::common::catch::catch;
use crate::error::ErrorKind;
use crate::function::renew::BackgroundFuture;

/// An argument of a call: a value, or what a reference points to.
pub struct Arg<'a, T: ?Sized>(&'a T);

/// A copy of an argument that the background owns.
pub struct OwnedArg<T: ToOwned + ?Sized>(T::Owned);

/// Stands for the copy of an argument that can't be copied. It has no values.
pub struct NotOwnable<T: ?Sized>(Infallible, PhantomData<fn(&T)>);

impl<'a, T: ?Sized> Arg<'a, T> {
    /// An argument taken by value.
    pub fn value(argument: &'a T) -> Self {
        Self(argument)
    }

    /// An argument taken by reference.
    pub fn reference(argument: &&'a T) -> Self {
        Self(argument)
    }
}

impl<T: ToOwned<Owned: Send + 'static> + ?Sized> Arg<'_, T> {
    /// A copy, unless making it panics.
    pub fn to_own(&self) -> Option<OwnedArg<T>> {
        catch::<T, _>(ErrorKind::Key, || Ok(OwnedArg(self.0.to_owned()))).ok()
    }
}

/// Provides the method for arguments that can't be copied or sent.
pub trait CloneFallback<T: ?Sized> {
    /// No copy.
    fn to_own(&self) -> Option<NotOwnable<T>> {
        None
    }
}

impl<T: ?Sized> CloneFallback<T> for Arg<'_, T> {}

impl<T: ToOwned + ?Sized> OwnedArg<T> {
    /// For a body that takes the argument by value.
    pub fn value(self) -> T::Owned {
        self.0
    }

    /// For a body that takes the argument by reference.
    pub fn reference(&self) -> &T {
        self.0.borrow()
    }
}

impl<T: ?Sized> NotOwnable<T> {
    /// For a body that takes the argument by value.
    pub fn value(self) -> T
    where
        T: Sized,
    {
        match self.0 {}
    }

    /// For a body that takes the argument by reference.
    pub fn reference(&self) -> &T {
        match self.0 {}
    }
}

/// The type of the future that a body returns.
pub struct BodyFuture<F>(PhantomData<fn() -> F>);

impl<F> BodyFuture<F> {
    /// Takes the type from `_body`, which is never called.
    pub fn of(_body: impl FnOnce() -> F) -> Self {
        Self(PhantomData)
    }
}

/// Stands for an argument of a call that is never made.
pub fn unreachable_arg<T>() -> T {
    unreachable!("only its type is used")
}

impl<F: Future + Send> BodyFuture<F> {
    /// Boxes `future`, which awaits the body, for a task that may move between threads.
    pub fn spawnable<G>(self, future: G) -> Option<BackgroundFuture<F::Output>>
    where
        G: Future<Output = F::Output> + Send + 'static,
    {
        Some(Box::pin(future))
    }
}

/// Provides the method for futures that aren't `Send`.
pub trait SendFallback<F: Future>: Sized {
    /// No task.
    fn spawnable<G: Future<Output = F::Output>>(self, _future: G) -> Option<BackgroundFuture<F::Output>> {
        None
    }
}

impl<F: Future> SendFallback<F> for BodyFuture<F> {}
