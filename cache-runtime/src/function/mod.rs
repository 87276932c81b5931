//! One cached function: key, look-up, run and store, for blocking and async callers.
//!
//! [`Function`] is the typed view that generated code holds. It only packs and unpacks values. The [`State`], which is not
//! generic, makes the decisions. The drivers (`call`, `call_async` and so on) perform the same steps and differ in how they
//! wait.

pub(crate) mod call;
pub(crate) mod keep;
mod lookup;
mod pauses;
pub(crate) mod place;
pub(crate) mod renew;
mod run;
mod site;
mod spawn;
pub(crate) mod spec;
mod state;
mod values;
pub(crate) mod world;
mod write;

use std::any::type_name;
use std::future::poll_fn;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use self::call::{Action, Answer, Call, Life, Lookup, Packaged, Run, RunTime, driven};
pub use self::site::Site;
use self::site::StateRef;
use self::state::State;
pub use self::values::Values;
use crate::common::catch::catch;
use crate::common::wait::{Caller, MaybeReady, block_on};
use crate::error::{Error, ErrorKind};
use crate::freshness::{Found, Freshness, Origin, Source};
use crate::key::{Args, Key};
use crate::remote::Query;
use crate::stats::Stats;
use crate::value::outcome::Outcome;
use crate::value::{MakeFormat, Mode, Packed, Shared};

/// A body to run, once. A trait object, so that everything a miss needs is compiled once for all functions of a return
/// type; not a `Box<dyn FnOnce>`, which allocates.
type Body<'b, R> = &'b mut dyn FnMut() -> R;

/// Makes a [`Body`] of a closure that can be called once.
fn once<R>(body: impl FnOnce() -> R) -> impl FnMut() -> R {
    let mut body = Some(body);
    move || body.take().map_or_else(|| unreachable!("a run calls its body once"), |body| body())
}

/// See [`Function::hit`]. Compiled once for all functions of a return type.
#[inline(never)]
fn hit<M: Mode<O::Stored>, O: Outcome<R>, R>(site: &'static Site, key: &Result<Key, Error>) -> Option<R> {
    let state = site.state_outside_scopes()?;
    // Decided by the compiler: numbers, and only they, are made of bits.
    let stored = match M::NUMBER.filter(|of_bits| of_bits(0).is_some()) {
        Some(of_bits) => state.number(key).and_then(of_bits),
        None => state.hit(key, M::copy),
    };
    stored.map(O::revive)
}

/// A cached function that returns `R`, stored as `O` says.
pub struct Function<'v, O: Outcome<R>, R> {
    site: &'static Site,
    values: &'v Values<O, R>,
}

/// Not derived, because `O` and `R` need not be `Copy`.
impl<O: Outcome<R>, R> Copy for Function<'_, O, R> {}

impl<O: Outcome<R>, R> Clone for Function<'_, O, R> {
    fn clone(&self) -> Self {
        *self
    }
}

/// A return value, and where it comes from.
pub(crate) type Answered<R> = (R, Origin);

/// How a call goes on.
enum Next<R> {
    Return(Answered<R>),
    Run(Box<Run>),
    /// Take part in a run, because the answer doesn't unpack.
    Join(Box<Answer>),
}

impl<'v, O: Outcome<R>, R> Function<'v, O, R> {
    /// The function at `site`.
    #[inline]
    pub fn new(site: &'static Site, values: &'v Values<O, R>) -> Self {
        Self { site, values }
    }

    /// The answer of a hit about which nothing has to be decided, and that needs no waiting.
    #[inline]
    pub fn hit(self, key: &Args) -> Option<R> {
        (self.values.hit)(self.site, &key.0)
    }

    /// Answers from the cache, or runs `body` and stores its result. [`hit`](Self::hit) has already missed.
    #[inline]
    pub fn call(self, key: &Args, body: impl FnOnce() -> R) -> Answered<R> {
        self.look_up_or_run(&key.0, &mut once(body))
    }

    #[cold]
    #[inline(never)]
    fn look_up_or_run(self, key: &Result<Key, Error>, body: Body<'_, R>) -> Answered<R> {
        let state = self.state();
        if let Some(run) = state.lead_at_once(key) {
            return self.run(&state, run, body);
        }
        let call = state.call(key, self.format(), Caller::Blocking);
        match self.begin(&state, call, state.get(call).wait()) {
            Break(ret) => ret,
            Continue(action) => self.perform(&state, call, action, body),
        }
    }

    /// [`call`](Self::call) for async functions. Boxed, so that the caller's future is small.
    #[inline]
    pub fn call_async(
        self,
        key: Args,
        body: impl Future<Output = R>,
    ) -> Pin<Box<impl Future<Output = Answered<R>>>> {
        Box::pin(async move {
            // Neither the key nor the body is moved: the future would hold room for both places.
            let state = self.state();
            let call = state.call(&key.0, self.format(), Caller::Async);
            let mut get = state.get(call);
            // `await` would move the answer to a place of its own in the future.
            let begun = poll_fn(|context| {
                let lookup = ready!(Pin::new(&mut get).poll(context));
                Poll::Ready(self.begin(&state, call, lookup))
            });
            let action = match begun.await {
                Break(ret) => return ret,
                Continue(action) => action,
            };
            // Boxed, like everything that few hits need: it would dominate the size of their futures.
            let mut body = Box::pin(body);
            Box::pin(self.perform_async(&state, call, action, body.as_mut())).await
        })
    }

    /// Runs `body` and stores its result, whatever the cache holds. Shares the result of a run only if that has begun since
    /// this was called.
    #[inline]
    pub fn refresh(self, key: &Args, body: impl FnOnce() -> R) -> R {
        self.run_anew(&key.0, &mut once(body))
    }

    #[inline(never)]
    fn run_anew(self, key: &Result<Key, Error>, body: Body<'_, R>) -> R {
        let state = self.state();
        let action = state.decide_to_run(key, self.format(), Caller::Blocking);
        self.perform(&state, state.call(key, self.format(), Caller::Blocking), action, body).0
    }

    /// [`refresh`](Self::refresh) for async functions.
    pub async fn refresh_async(self, key: Args, body: impl Future<Output = R>) -> R {
        let (Args(key), body) = (key, pin!(body));
        let state = self.state();
        let action = state.decide_to_run(&key, self.format(), Caller::Async);
        self.perform_async(&state, state.call(&key, self.format(), Caller::Async), action, body).await.0
    }

    /// What the cache holds for `key`.
    ///
    /// # Errors
    /// The key or the backend failed.
    pub fn peek(self, key: Args) -> Result<Option<O::Stored>, Error> {
        block_on(pin!(self.peek_for(key.0, Caller::Blocking)))
    }

    /// [`peek`](Self::peek) for async functions.
    ///
    /// # Errors
    /// The key or the backend failed.
    pub async fn peek_async(self, key: Args) -> Result<Option<O::Stored>, Error> {
        self.peek_for(key.0, Caller::Async).await
    }

    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// The key, the value or the backend failed.
    pub fn insert(self, key: Args, value: O::Stored) -> Result<(), Error> {
        block_on(pin!(self.insert_for(key.0, value, Caller::Blocking)))
    }

    /// [`insert`](Self::insert) for async functions.
    ///
    /// # Errors
    /// The key, the value or the backend failed.
    pub async fn insert_async(self, key: Args, value: O::Stored) -> Result<(), Error> {
        self.insert_for(key.0, value, Caller::Async).await
    }

    /// Removes the entry under `key`.
    ///
    /// # Errors
    /// The key or the backend failed: the entry may still be served.
    pub fn invalidate(self, key: Args) -> Result<(), Error> {
        self.state().remove(self.query(&key.0?, Caller::Blocking)).wait()
    }

    /// [`invalidate`](Self::invalidate) for async functions.
    ///
    /// # Errors
    /// The key or the backend failed: the entry may still be served.
    pub async fn invalidate_async(self, key: Args) -> Result<(), Error> {
        self.state().remove(self.query(&key.0?, Caller::Async)).await
    }

    /// The text key on a server.
    pub fn key(self, key: Args) -> String {
        self.state().text_key(key.0.as_ref().ok(), self.format())
    }

    /// See [`Site::clear`].
    ///
    /// # Errors
    /// The backend failed: entries may still be served.
    pub fn clear(self) -> Result<(), Error> {
        self.site.clear()
    }

    /// See [`Site::clear_async`].
    ///
    /// # Errors
    /// The backend failed: entries may still be served.
    pub async fn clear_async(self) -> Result<(), Error> {
        self.site.clear_async().await
    }

    /// See [`Site::stats`].
    pub fn stats(self) -> Stats {
        self.site.stats()
    }
}

// The steps that the drivers share

impl<O: Outcome<R>, R> Function<'_, O, R> {
    #[inline]
    fn state(self) -> StateRef {
        self.site.state()
    }

    fn format(self) -> MakeFormat {
        self.values.format
    }

    fn query(self, key: &Key, caller: Caller) -> Query<'_> {
        Query { key, format: self.format(), caller }
    }

    /// The answer, if the look-up found a fresh entry that unpacks. Otherwise how the call goes on.
    #[inline(never)]
    fn begin<'s>(
        self,
        state: &'s State,
        call: Call<'s>,
        lookup: Lookup,
    ) -> ControlFlow<Answered<R>, MaybeReady<'s, Action>> {
        state.count_failures(&lookup);
        if let Some(found) = &lookup.found
            && found.freshness == Freshness::Fresh
            && let Some(ret) = self.serve(state, found)
        {
            return Break((ret, found.origin()));
        }
        Continue(state.decide(call, lookup))
    }

    /// Performs `action`, and whatever follows from it.
    fn perform<'s>(
        self,
        state: &'s State,
        call: Call<'s>,
        mut action: MaybeReady<'s, Action>,
        body: Body<'_, R>,
    ) -> Answered<R> {
        let run = loop {
            match self.next(state, action.wait()) {
                Next::Return(ret) => return ret,
                Next::Run(run) => break run,
                Next::Join(answer) => action = state.decide_again(call, answer),
            }
        };
        self.run(state, *run, body)
    }

    /// Runs the body, and stores its result.
    fn run(self, state: &State, mut run: Run, body: Body<'_, R>) -> Answered<R> {
        if let Some(old) = run.reserve.take() {
            return self.run_with_reserve(state, run, &old, body);
        }
        let started = Instant::now();
        let ret = run.inside(body);
        let ret = match self.finish(state, run, ret, started, Caller::Blocking) {
            Ok((stored, done)) => {
                done.wait();
                O::revive(stored)
            }
            Err(ret) => ret,
        };
        (ret, Origin::Run)
    }

    /// Runs the body, and returns the older value if it fails.
    #[cold]
    #[inline(never)]
    fn run_with_reserve(self, state: &State, run: Run, old: &Found, body: Body<'_, R>) -> Answered<R> {
        let renewed = self.renew(state, run, Some(old), body);
        self.renewed_or_old(state, renewed, old)
    }

    /// [`perform`](Self::perform) for async functions. The body stays where it is, because each future around it would hold
    /// room for it.
    async fn perform_async<'s>(
        self,
        state: &'s State,
        call: Call<'s>,
        mut action: MaybeReady<'s, Action>,
        body: Pin<&mut impl Future<Output = R>>,
    ) -> Answered<R> {
        let mut run = loop {
            // Whatever is held across an `await` must be `Send`, which an `R` need not be.
            match self.next(state, action.await) {
                Next::Return(ret) => return ret,
                Next::Run(run) => break run,
                Next::Join(answer) => action = state.decide_again(call, answer),
            }
        };
        if let Some(old) = run.reserve.take() {
            let renewed = self.renew_async(state, run, Some(&old), body).await;
            return self.renewed_or_old(state, renewed, &old);
        }
        let (started, polls) = (Instant::now(), run.polls());
        let ret = run.inside_async(body).await;
        let (stored, done) = match self.finish(state, *run, ret, started, Caller::Async) {
            Ok(stored) => stored,
            Err(ret) => return (ret, Origin::Run),
        };
        driven(polls, done).await;
        (O::revive(stored), Origin::Run)
    }

    #[inline(never)]
    fn next(self, state: &State, action: Action) -> Next<R> {
        let answer = match action {
            Action::Run(run) | Action::Renew(_, run) => return Next::Run(run),
            Action::Return(answer) => answer,
            Action::Share(shared) => {
                let ret = match shared {
                    Shared::None(number) => O::of_none(number),
                    Shared::Err(error) => {
                        self.values.share_err.as_ref().and_then(|share| (share.revive)(&error))
                    }
                    Shared::Value(_) => None,
                };
                state.count_wait();
                return match ret {
                    Some(ret) => Next::Return((ret, Origin::Waited)),
                    None => Next::Run(Box::new(Run::alone())),
                };
            }
        };
        match self.serve(state, &answer.found) {
            Some(ret) => Next::Return((ret, answer.found.origin())),
            None if answer.found.source == Source::Run => Next::Run(Box::new(Run::alone())),
            None => Next::Join(answer),
        }
    }

    /// The return value that an entry stands for, if it unpacks.
    #[inline(never)]
    fn serve(self, state: &State, found: &Found) -> Option<R> {
        match (self.values.unpack)(&found.packed) {
            Ok(stored) => {
                state.count_answer(found);
                Some(O::revive(stored))
            }
            Err(error) => {
                state.undecodable(&error);
                None
            }
        }
    }

    /// Stores the result of a run, or returns it if it is not stored.
    #[inline(never)]
    fn finish<'s>(
        self,
        state: &'s State,
        run: Run,
        ret: R,
        started: Instant,
        caller: Caller,
    ) -> Result<(O::Stored, MaybeReady<'s, ()>), R> {
        let (time, run) = (state.count_run(started), run.after_body());
        match O::split(ret) {
            Ok(stored) => {
                let done = self.put(state, run, &stored, time, caller);
                Ok((stored, done))
            }
            Err(ret) => Err(self.finish_unstored(state, run, ret, caller)),
        }
    }

    /// Stores the result of a run.
    fn put<'s>(
        self,
        state: &'s State,
        run: Run,
        stored: &O::Stored,
        time: RunTime,
        caller: Caller,
    ) -> MaybeReady<'s, ()> {
        let result = self.package(state, &run, stored);
        state.finish(run, result, time, caller)
    }

    /// Ends a run whose result is not stored.
    fn finish_unstored(self, state: &State, run: Run, ret: R, caller: Caller) -> R {
        let share_err = self.values.share_err.as_ref().filter(|_| run.has_waiters());
        let error = || share_err.and_then(|share| (share.copy)(&ret));
        let shared = O::none(&ret).map(Shared::None).or_else(|| error().map(Shared::Err));
        // After an `Err` the old entry, if there is one, is still the best there is.
        state.finish_without_result(run, shared, !O::failed(&ret), caller);
        ret
    }

    /// The part of a result that is stored or shared, and for how long.
    fn package(self, state: &State, run: &Run, stored: &O::Stored) -> Option<Packaged> {
        if !run.wants_result() {
            return None;
        }
        let package = || {
            let life = self.asked(|| self.life_if_stored(state, stored))?;
            if life.is_none() && !run.has_waiters() {
                return Ok(None);
            }
            Ok(Some(Packaged { packed: self.pack(stored)?, life }))
        };
        package().unwrap_or_else(|error| {
            // If nothing is stored anyway, the look-up has already reported why.
            if run.stores() {
                state.failed(&error);
            }
            None
        })
    }

    /// The answer of the functions that the user has given as options.
    fn asked<T>(self, ask: impl FnOnce() -> T) -> Result<T, Error> {
        catch::<O::Value, _>(ErrorKind::Encode, || Ok(ask()))
    }

    /// How long `stored` may be served, if it is stored.
    fn life_if_stored(self, state: &State, stored: &O::Stored) -> Option<Life> {
        if O::LOOKS_PLAIN && state.is_hidden_failure(type_name::<O::Value>()) {
            return None;
        }
        let is_rejected = |value| self.values.cache_if.is_some_and(|cache_if| !cache_if(value));
        if O::value(stored).is_some_and(is_rejected) {
            return None;
        }
        self.lifetime(state, stored)
    }

    /// How long `stored` may be served: `Some(None)` is forever, `None` not at all.
    fn lifetime(self, state: &State, stored: &O::Stored) -> Option<Option<Duration>> {
        let own = match O::value(stored) {
            Some(value) => self.values.ttl.ask(|ttl| ttl(value)),
            None => self.values.negative_ttl.ask(|ttl| ttl()),
        };
        let life = own.or(state.default_ttl());
        (!life.is_some_and(|life| life.is_zero())).then(|| life.map(|life| state.jittered(life)))
    }

    fn pack(self, stored: &O::Stored) -> Result<Packed, Error> {
        (self.values.pack)(stored, self.values.weigh)
    }

    async fn peek_for(self, key: Result<Key, Error>, caller: Caller) -> Result<Option<O::Stored>, Error> {
        let (key, state) = (key?, self.state());
        match state.peek(self.query(&key, caller)).await? {
            Some(packed) => (self.values.unpack)(&packed).map(Some).or_else(|error| {
                state.undecodable(&error);
                Ok(None)
            }),
            None => Ok(None),
        }
    }

    async fn insert_for(
        self,
        key: Result<Key, Error>,
        value: O::Stored,
        caller: Caller,
    ) -> Result<(), Error> {
        let (key, state) = (key?, self.state());
        let query = self.query(&key, caller);
        let life = self.asked(|| self.lifetime(&state, &value));
        let packaged = life.and_then(|life| life.map(|life| Ok((self.pack(&value)?, life))).transpose());
        drop(value);
        state.insert(query, packaged).await
    }
}
