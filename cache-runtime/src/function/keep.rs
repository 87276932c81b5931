//! What a renewal in the background needs of its own: arguments that outlive the call, and a future that may move.
//!
//! Generated code asks for it without knowing the types. An inherent method is found before a trait's: where the bounds
//! of the first hold, it gives something, else the second gives nothing, and the elected caller runs the body.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::marker::PhantomData;

use crate::function::renew::KeptFuture;

/// An argument, or what it refers to.
pub struct Held<'a, T: ?Sized>(pub &'a T);

/// A copy that the background owns.
pub struct Owned<T: ToOwned + ?Sized>(T::Owned);

/// The copy of what can't be copied: there is none.
pub struct Lost<T: ?Sized>(Infallible, PhantomData<fn(&T)>);

impl<T: ToOwned<Owned: Send + 'static> + ?Sized> Held<'_, T> {
    /// A copy.
    pub fn keep(&self) -> Option<Owned<T>> {
        Some(Owned(self.0.to_owned()))
    }
}

/// The fallback that the inherent method shadows.
pub trait Unowned<T: ?Sized> {
    /// No copy.
    fn keep(&self) -> Option<Lost<T>> {
        None
    }
}

impl<T: ?Sized> Unowned<T> for Held<'_, T> {}

impl<T: ToOwned + ?Sized> Owned<T> {
    /// For an argument taken by value.
    pub fn give(self) -> T::Owned {
        self.0
    }

    /// For an argument taken by reference.
    pub fn lend(&self) -> &T {
        self.0.borrow()
    }
}

impl<T: ?Sized> Lost<T> {
    /// For an argument taken by value.
    pub fn give(self) -> T
    where
        T: Sized,
    {
        match self.0 {}
    }

    /// For an argument taken by reference.
    pub fn lend(&self) -> &T {
        match self.0 {}
    }
}

/// The future `F` that a body makes.
pub struct Task<F>(PhantomData<fn() -> F>);

impl<F> Task<F> {
    /// What `_body` makes, by its type: it is not called.
    pub fn of(_body: impl FnOnce() -> F) -> Self {
        Self(PhantomData)
    }
}

/// Stands for an argument of a call that is not made.
pub fn never<T>() -> T {
    unreachable!("only its type is used")
}

impl<F: Future + Send> Task<F> {
    /// A task around such a future, because it may move between threads.
    pub fn keep<G>(self, task: G) -> Option<KeptFuture<F::Output>>
    where
        G: Future<Output = F::Output> + Send + 'static,
    {
        Some(Box::pin(task))
    }
}

/// The fallback that the inherent method shadows.
pub trait Unsent<F: Future>: Sized {
    /// No task.
    fn keep<G: Future<Output = F::Output>>(self, _task: G) -> Option<KeptFuture<F::Output>> {
        None
    }
}

impl<F: Future> Unsent<F> for Task<F> {}
