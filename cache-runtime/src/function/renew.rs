//! Renewal: the old value is served while one caller, or the background, runs the body.
//!
//! A part of [`Function`] for the options `stale` and `early`, and for `single_flight(detach = true)`, where the
//! background makes all runs. The [`State`] decides which call renews. The work is
//! done by a thread or task if the arguments can be kept for it. Otherwise the elected caller does it, and gets the
//! new value, or the old one if the body fails.

use std::any::Any;
use std::future::Pending;
use std::ops::ControlFlow::{Break, Continue};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::call::{Action, Run, driven};
use super::state::State;
use super::{Answered, Function, once, spawn};
use crate::common::wait::{BoxFuture, Caller, MaybeReady};
use crate::error::Error;
use crate::flight::{LeaderPolls, is_inside_a_run};
use crate::freshness::{Found, Origin};
use crate::key::{Args, Key};
use crate::value::outcome::Outcome;

/// A body that owns its arguments, to run on another thread.
pub type BackgroundBody<R> = Box<dyn FnOnce() -> R + Send>;

/// The same for async functions.
pub type BackgroundFuture<R> = BoxFuture<'static, R>;

/// Why a renewal gave no new value.
pub(super) enum Failure<R> {
    /// The body returned an `Err`, which isn't stored.
    Returned(R),
    Panicked(Box<dyn Any + Send>),
}

impl<O: Outcome<R> + 'static, R: 'static> Function<'static, O, R> {
    /// [`call_or_renew`](Self::call_or_renew) that renews in the background if `keep` can keep the arguments.
    pub fn call_or_renew_behind<A>(
        self,
        key: &Args,
        args: A,
        keep: impl FnOnce(&A) -> Option<BackgroundBody<R>>,
        body: impl FnOnce(A) -> R,
    ) -> Answered<R> {
        let behind = |state: &Arc<State>, run: Box<Run>, args: &A| {
            let Some((room, kept)) = spawn::room().zip(keep(args)) else { return Some(run) };
            let state = state.clone();
            spawn::thread(room, move || drop(self.renew(&state, *run, None, kept)));
            None
        };
        self.renewing(key, args, behind, body)
    }

    /// [`call_or_renew_behind`](Self::call_or_renew_behind) for async functions.
    pub async fn call_or_renew_behind_async<A, F: Future<Output = R>>(
        self,
        key: Args,
        args: A,
        keep: impl FnOnce(&A) -> Option<BackgroundFuture<R>>,
        body: impl FnOnce(A) -> F,
    ) -> Answered<R> {
        let behind = |state: &Arc<State>, run, args: &A| self.renewal_behind(state, run, || keep(args));
        self.renewing_async(key, args, behind, in_place, body).await
    }

    /// [`call_or_renew_behind_async`](Self::call_or_renew_behind_async), in which each run goes on when its caller gives up.
    pub async fn call_detached_async<A, F: Future<Output = R>>(
        self,
        key: Args,
        args: A,
        keep: impl Fn(&A) -> Option<BackgroundFuture<R>>,
        body: impl FnOnce(A) -> F,
    ) -> Answered<R>
    where
        R: Send,
        O::Stored: Send,
    {
        let behind = |state: &Arc<State>, run, args: &A| self.renewal_behind(state, run, || keep(args));
        let detach =
            |state: &Arc<State>, key: &_, run, args: &A| self.run_behind(state, key, run, keep(args));
        self.renewing_async(key, args, behind, detach, body).await
    }

    /// Renews in the background if `keep` can keep the arguments; returns the run otherwise.
    fn renewal_behind(
        self,
        state: &Arc<State>,
        run: Box<Run>,
        keep: impl FnOnce() -> Option<BackgroundFuture<R>>,
    ) -> Option<Box<Run>> {
        let Some((runtime, kept)) = spawn::runtime().zip(keep()) else { return Some(run) };
        run.polls().iter().for_each(LeaderPolls::spawned);
        let state = state.clone();
        let _task = spawn::task(&runtime, async move { self.renew_behind_async(&state, run, kept).await });
        None
    }

    /// Runs in the background if that could keep the arguments; returns the run otherwise. A run inside another one stays
    /// there, because waiting for it would hide which run waits for which.
    fn run_behind(
        self,
        state: &Arc<State>,
        key: &Result<Key, Error>,
        run: Box<Run>,
        kept: Option<BackgroundFuture<R>>,
    ) -> Result<impl Future<Output = Option<Answered<R>>> + use<O, R>, Box<Run>>
    where
        R: Send,
        O::Stored: Send,
    {
        let Some(polls) = run.polls().filter(|_| !is_inside_a_run()) else { return Err(run) };
        let Some((runtime, kept)) = spawn::runtime().zip(kept) else { return Err(run) };
        polls.spawned();
        state.flights.watch();
        let (state, key) = (state.clone(), key.clone());
        let task = spawn::task(&runtime, async move {
            let call = state.call(&key, self.format(), Caller::Async);
            self.perform_async(&state, call, MaybeReady::done(Action::Run(run)), pin!(kept)).await
        });
        Ok(spawn::result(task, polls.abandoned()))
    }
}

impl<O: Outcome<R>, R> Function<'_, O, R> {
    /// [`call`](Self::call) that renews what expires soon or has expired: the elected caller runs the body.
    pub fn call_or_renew(self, key: &Args, body: impl FnOnce() -> R) -> Answered<R> {
        self.renewing(key, (), |_, run, ()| Some(run), |()| body())
    }

    /// [`call_or_renew`](Self::call_or_renew) for async functions.
    pub async fn call_or_renew_async(self, key: Args, body: impl Future<Output = R>) -> Answered<R> {
        self.renewing_async(key, body, |_, run, _| Some(run), in_place, |body| body).await
    }

    /// Serves or renews. `behind` takes the run to the background, or returns it.
    fn renewing<A>(
        self,
        key: &Args,
        args: A,
        behind: impl FnOnce(&Arc<State>, Box<Run>, &A) -> Option<Box<Run>>,
        body: impl FnOnce(A) -> R,
    ) -> Answered<R> {
        let state = self.state();
        let call = state.call(&key.0, self.format(), Caller::Blocking);
        let action = match self.begin(&state, call, state.get(call).wait()) {
            Break(ret) => return ret,
            Continue(action) => action,
        };
        let action = match action.wait() {
            Action::Renew(answer, run) => match behind(state.arc(), run, &args) {
                Some(run) => {
                    let renewed = self.renew(&state, *run, None, || body(args));
                    return self.renewed_or_old(&state, renewed, &answer.found);
                }
                None => Action::Return(answer),
            },
            action => action,
        };
        self.perform(&state, call, MaybeReady::done(action), &mut once(|| body(args)))
    }

    /// [`renewing`](Self::renewing) for async functions. `detach` takes a run that isn't a renewal to the background, or
    /// returns it. The background may lose it, and gives `None` then.
    async fn renewing_async<A, F: Future<Output = R>, D: Future<Output = Option<Answered<R>>>>(
        self,
        key: Args,
        args: A,
        behind: impl FnOnce(&Arc<State>, Box<Run>, &A) -> Option<Box<Run>>,
        detach: impl FnOnce(&Arc<State>, &Result<Key, Error>, Box<Run>, &A) -> Result<D, Box<Run>>,
        body: impl FnOnce(A) -> F,
    ) -> Answered<R> {
        let (Args(key), state) = (key, self.state());
        let call = state.call(&key, self.format(), Caller::Async);
        let lookup = state.get(call).await;
        let action = match self.begin(&state, call, lookup) {
            Break(ret) => return ret,
            Continue(action) => action,
        };
        let action = match action.await {
            Action::Renew(answer, run) => match behind(state.arc(), run, &args) {
                Some(run) => {
                    let renewed = self.renew_async(&state, run, None, pin!(body(args))).await;
                    return self.renewed_or_old(&state, renewed, &answer.found);
                }
                None => Action::Return(answer),
            },
            Action::Run(run) => match detach(state.arc(), &key, run, &args) {
                Ok(detached) => match detached.await {
                    Some(ret) => return ret,
                    None => Run::alone().into(),
                },
                Err(run) => Action::Run(run),
            },
            action => action,
        };
        self.perform_async(&state, call, MaybeReady::done(action), pin!(body(args))).await
    }

    /// Runs `body` and stores its result. After a failure the next attempt has to wait, and those who wait for the run
    /// take `old`.
    pub(super) fn renew(
        self,
        state: &State,
        run: Run,
        old: Option<&Found>,
        body: impl FnOnce() -> R,
    ) -> Result<R, Failure<R>> {
        let started = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| run.inside(body)));
        let time = state.count_run(started);
        match self.ended(state, run, old, ended, Caller::Blocking) {
            Ok((run, stored)) => {
                self.put(state, run, &stored, time, Caller::Blocking).wait();
                Ok(O::revive(stored))
            }
            Err(done) => done,
        }
    }

    /// [`renew`](Self::renew) for async functions.
    pub(super) async fn renew_async(
        self,
        state: &State,
        run: Box<Run>,
        old: Option<&Found>,
        body: Pin<&mut impl Future<Output = R>>,
    ) -> Result<R, Failure<R>> {
        let (started, polls) = (Instant::now(), run.polls());
        let ended = catch_unwind_async(run.inside_async(body)).await;
        let time = state.count_run(started);
        let (run, stored) = match self.ended(state, *run, old, ended, Caller::Async) {
            Ok(stored) => stored,
            Err(done) => return done,
        };
        driven(polls, self.put(state, run, &stored, time, Caller::Async)).await;
        Ok(O::revive(stored))
    }

    /// [`renew_async`](Self::renew_async) when nobody waits for the value, which need not be `Send`.
    async fn renew_behind_async(self, state: &State, run: Box<Run>, body: impl Future<Output = R>) {
        let (started, polls) = (Instant::now(), run.polls());
        let ended = catch_unwind_async(run.inside_async(pin!(body))).await;
        let time = state.count_run(started);
        let package = || {
            let (run, stored) = self.ended(state, *run, None, ended, Caller::Async).ok()?;
            let result = self.package(state, &run, &stored);
            Some((run, result))
        };
        if let Some((run, result)) = package() {
            driven(polls, state.finish(run, result, time, Caller::Async)).await;
        }
    }

    /// The result of a renewal that must be stored, or the final outcome if there is nothing to store.
    #[allow(clippy::type_complexity, reason = "it is matched at once")]
    fn ended(
        self,
        state: &State,
        run: Run,
        old: Option<&Found>,
        ended: Result<R, Box<dyn Any + Send>>,
        caller: Caller,
    ) -> Result<(Run, O::Stored), Result<R, Failure<R>>> {
        let run = run.after_body();
        let failure = match ended.map(O::split) {
            Ok(Ok(stored)) => return Ok((run, stored)),
            Ok(Err(ret)) if !O::failed(&ret) => {
                return Err(Ok(self.finish_unstored(state, run, ret, caller)));
            }
            Ok(Err(ret)) => Failure::Returned(ret),
            Err(panic) => Failure::Panicked(panic),
        };
        state.renewal_failed(run, old, caller);
        Err(Err(failure))
    }

    /// The new value, or the old one after a failed renewal.
    pub(super) fn renewed_or_old(
        self,
        state: &State,
        renewed: Result<R, Failure<R>>,
        old: &Found,
    ) -> Answered<R> {
        let failure = match renewed {
            Ok(ret) => return (ret, Origin::Run),
            Err(failure) => failure,
        };
        match (self.serve(state, old), failure) {
            (Some(ret), _) => (ret, old.origin()),
            (None, Failure::Returned(ret)) => (ret, Origin::Run),
            (None, Failure::Panicked(panic)) => resume_unwind(panic),
        }
    }
}

/// For functions whose runs aren't detached. The type of the future is one that holds no result.
fn in_place<A, R>(
    _: &Arc<State>,
    _: &Result<Key, Error>,
    run: Box<Run>,
    _: &A,
) -> Result<Pending<Option<Answered<R>>>, Box<Run>> {
    Err(run)
}

async fn catch_unwind_async<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
