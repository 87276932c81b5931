//! One cached function: key, look up, judge, run, store, for blocking and async callers.
//!
//! [`Function`] is the typed view that generated code holds. It only packs and unpacks values; what it
//! decides with is the [`State`], which is not generic. The drivers (`call`, `call_async` and so
//! on) perform the same steps and differ in how they wait.

pub(crate) mod call;
pub(crate) mod drive;
pub(crate) mod keep;
pub(crate) mod pauses;
pub(crate) mod renew;
pub(crate) mod run;
mod site;
pub(crate) mod spawn;
pub(crate) mod spec;
pub(crate) mod state;
mod template;
mod values;

use std::any::type_name;
use std::future::poll_fn;
use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use crate::common::wait::{Io, Soon, block_on};
use crate::config::context::Context;
use crate::error::Error;
use crate::freshness::Verdict;
use crate::function::call::{Found, Looked, Run, Source, Turn};
use crate::key::{Args, Key};
use crate::stats::{AllStats, Stats};
use crate::value::outcome::Outcome;
use crate::value::{MakeFormat, Mode, Packed};

pub use self::site::Site;
use self::site::StateRef;
pub use self::values::Values;
pub(crate) use crate::function::state::State;

/// A body that is to be run. Behind a pointer, so that all that a miss takes is compiled once for all functions of a
/// return type; next to a miss an allocation is nothing.
type Body<'b, R> = Box<dyn FnOnce() -> R + 'b>;

/// See [`Function::hit`]. Compiled once for all functions of a return type.
#[inline(never)]
fn hit<M: Mode<O::Stored>, O: Outcome<R>, R>(site: &'static Site, key: &Result<Key, Error>) -> Option<R> {
    let state = site.state_outside_scopes()?;
    // What the compiler knows of each type: all numbers are made of bits, and no others are.
    let stored = match M::NUMBER.filter(|of_bits| of_bits(0).is_some()) {
        Some(of_bits) => state.number(key).or_else(|| state.number_in_index(key)).and_then(of_bits),
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

/// What a call is to do.
enum Next<R> {
    Return(R),
    Run(Box<Run>),
    /// Take part in a run, because what was found doesn't unpack.
    Join(Box<Found>),
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

    /// Answers from the cache, or runs `body` and stores its result; a [`hit`](Self::hit) has been looked for.
    #[inline]
    pub fn call(self, key: &Args, body: impl FnOnce() -> R) -> R {
        self.look_or_run(&key.0, Box::new(body))
    }

    /// [`call`](Self::call) for async functions. In a box, so that the caller's future is small.
    #[inline]
    pub fn call_async(self, key: Args, body: impl Future<Output = R>) -> Pin<Box<impl Future<Output = R>>> {
        Box::pin(async move {
            // Neither the key nor the body is moved to a place of its own: it would be there twice.
            let state = self.state();
            let landed = state.landed();
            let mut look = state.look(&key.0, self.format(), Io::Async);
            // Not by `await`, which moves what was found to a place of its own.
            let begun = poll_fn(|context| {
                let looked = ready!(Pin::new(&mut look).poll(context));
                Poll::Ready(self.begin(&state, &key.0, looked, landed, Io::Async))
            });
            let turn = match begun.await {
                Break(ret) => return ret,
                Continue(turn) => turn,
            };
            // In boxes, like all that few hits need: it would be most of their futures.
            let mut body = Box::pin(body);
            Box::pin(self.run_in_turn_async(&state, &key.0, landed, turn, body.as_mut())).await
        })
    }

    /// Runs `body` and stores its result, whatever the cache holds; a run under way is joined.
    #[inline]
    pub fn refresh(self, key: &Args, body: impl FnOnce() -> R) -> R {
        self.run_anew(&key.0, Box::new(body))
    }

    #[inline(never)]
    fn run_anew(self, key: &Result<Key, Error>, body: Body<'_, R>) -> R {
        let state = self.state();
        let turn = state.begin_anew(key, self.format(), Io::Blocking);
        self.run_in_turn(&state, key, state.landed(), turn, body)
    }

    /// [`refresh`](Self::refresh) for async functions.
    pub async fn refresh_async(self, key: Args, body: impl Future<Output = R>) -> R {
        let (Args(key), body) = (key, pin!(body));
        let state = self.state();
        let turn = state.begin_anew(&key, self.format(), Io::Async);
        self.run_in_turn_async(&state, &key, state.landed(), turn, body).await
    }

    /// What the cache holds for `key`.
    ///
    /// # Errors
    /// The key or the backend failed.
    pub fn peek(self, key: Args) -> Result<Option<O::Stored>, Error> {
        block_on(pin!(self.peek_with(key.0, Io::Blocking)))
    }

    /// [`peek`](Self::peek) for async functions.
    ///
    /// # Errors
    /// The key or the backend failed.
    pub async fn peek_async(self, key: Args) -> Result<Option<O::Stored>, Error> {
        self.peek_with(key.0, Io::Async).await
    }

    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// The key, the value or the backend failed.
    pub fn insert(self, key: Args, value: O::Stored) -> Result<(), Error> {
        block_on(pin!(self.insert_with(key.0, value, Io::Blocking)))
    }

    /// [`insert`](Self::insert) for async functions.
    ///
    /// # Errors
    /// The key, the value or the backend failed.
    pub async fn insert_async(self, key: Args, value: O::Stored) -> Result<(), Error> {
        self.insert_with(key.0, value, Io::Async).await
    }

    /// Removes the entry under `key`.
    ///
    /// # Errors
    /// The key or the backend failed: the entry may still be served.
    pub fn invalidate(self, key: Args) -> Result<(), Error> {
        self.state().delete(&key.0?, self.format(), Io::Blocking).now()
    }

    /// [`invalidate`](Self::invalidate) for async functions.
    ///
    /// # Errors
    /// The key or the backend failed: the entry may still be served.
    pub async fn invalidate_async(self, key: Args) -> Result<(), Error> {
        self.state().delete(&key.0?, self.format(), Io::Async).await
    }

    /// The text key on a server.
    pub fn key(self, key: Args) -> String {
        self.state().text_key(key.0.as_ref().ok(), self.format())
    }

    /// As [`Site::clear`].
    ///
    /// # Errors
    /// The backend failed: entries may still be served.
    pub fn clear(self) -> Result<(), Error> {
        self.site.clear()
    }

    /// As [`Site::clear_async`].
    ///
    /// # Errors
    /// The backend failed: entries may still be served.
    pub async fn clear_async(self) -> Result<(), Error> {
        self.site.clear_async().await
    }

    /// As [`Site::stats`].
    pub fn stats(self) -> Stats {
        self.site.stats()
    }

    // The steps that the drivers share.

    #[inline]
    pub(crate) fn state(self) -> StateRef {
        self.site.state()
    }

    #[cold]
    #[inline(never)]
    fn look_or_run(self, key: &Result<Key, Error>, body: Body<'_, R>) -> R {
        let state = self.state();
        let landed = state.landed();
        let looked = state.look(key, self.format(), Io::Blocking).now();
        match self.begin(&state, key, looked, landed, Io::Blocking) {
            Break(ret) => ret,
            Continue(turn) => self.run_in_turn(&state, key, landed, turn, body),
        }
    }

    /// The answer, if what was found is fresh and unpacks; else how the call comes to its turn.
    #[inline(never)]
    pub(crate) fn begin<'a>(
        self,
        state: &'a State,
        key: &'a Result<Key, Error>,
        looked: Looked,
        landed: u64,
        io: Io,
    ) -> ControlFlow<R, Soon<'a, Turn>> {
        if let Looked::Found(found) = &looked
            && found.verdict == Verdict::Fresh
            && let Some(ret) = self.serve(state, found)
        {
            return Break(ret);
        }
        Continue(state.begin(key, looked, landed, self.format(), io))
    }

    /// Answers, or runs `body`, as the turn is.
    pub(crate) fn run_in_turn<'a>(
        self,
        state: &'a State,
        key: &'a Result<Key, Error>,
        landed: u64,
        mut turn: Soon<'a, Turn>,
        body: Body<'_, R>,
    ) -> R {
        let run = loop {
            match self.next(state, turn.now()) {
                Next::Return(ret) => return ret,
                Next::Run(run) => break run,
                Next::Join(found) => {
                    turn = state.begin_again(key, found, landed, self.format(), Io::Blocking);
                }
            }
        };
        let started = Instant::now();
        let ret = run.inside(body);
        match self.end(state, run, ret, started, Io::Blocking) {
            Ok((stored, kept)) => {
                kept.now();
                O::revive(stored)
            }
            Err(ret) => ret,
        }
    }

    /// [`run_in_turn`](Self::run_in_turn) for async functions. The body stays where it is: each future around it would
    /// else hold room for it.
    pub(crate) async fn run_in_turn_async<'a>(
        self,
        state: &'a State,
        key: &'a Result<Key, Error>,
        landed: u64,
        mut turn: Soon<'a, Turn>,
        body: Pin<&mut impl Future<Output = R>>,
    ) -> R {
        let run = loop {
            // What is held while a future waits must be `Send`, which an `R` need not be.
            match self.next(state, turn.await) {
                Next::Return(ret) => return ret,
                Next::Run(run) => break run,
                Next::Join(found) => turn = state.begin_again(key, found, landed, self.format(), Io::Async),
            }
        };
        let started = Instant::now();
        let ret = run.inside_async(body).await;
        let (stored, kept) = match self.end(state, run, ret, started, Io::Async) {
            Ok(kept) => kept,
            Err(ret) => return ret,
        };
        kept.await;
        O::revive(stored)
    }

    #[inline(never)]
    fn next(self, state: &State, turn: Turn) -> Next<R> {
        let found = match turn {
            Turn::Run(run) | Turn::Renew(_, run) => return Next::Run(run),
            Turn::Answer(found) => found,
        };
        match self.serve(state, &found) {
            Some(ret) => Next::Return(ret),
            None if found.source == Source::Run => Next::Run(Box::new(Run::alone())),
            None => Next::Join(found),
        }
    }

    /// The return value that an entry stands for, if it unpacks.
    #[inline(never)]
    pub(crate) fn serve(self, state: &State, found: &Found) -> Option<R> {
        match (self.values.unpack)(&found.packed) {
            Ok(stored) => {
                state.answered(found);
                Some(O::revive(stored))
            }
            Err(error) => {
                state.undecodable(&error);
                None
            }
        }
    }

    /// Stores what a run gave; or gives it back, if that is not to be stored.
    #[inline(never)]
    fn end<'s>(
        self,
        state: &'s State,
        run: Box<Run>,
        ret: R,
        started: Instant,
        io: Io,
    ) -> Result<(O::Stored, Soon<'s, ()>), R> {
        let cost = state.ran(started);
        match O::split(ret) {
            Ok(stored) => {
                let kept = self.keep(state, run, &stored, cost, io);
                Ok((stored, kept))
            }
            Err(ret) => Err(self.not_kept(state, run, ret)),
        }
    }

    /// Stores what a run gave.
    pub(crate) fn keep<'s>(
        self,
        state: &'s State,
        run: Box<Run>,
        stored: &O::Stored,
        cost: Duration,
        io: Io,
    ) -> Soon<'s, ()> {
        let result = self.result(state, &run, stored);
        state.finish(run, result, cost, io)
    }

    /// Ends a run whose result isn't stored.
    pub(crate) fn not_kept(self, state: &State, run: Box<Run>, ret: R) -> R {
        match O::failed(&ret) {
            // What was there before is still the best there is.
            true => run.end_without_result(),
            false => state.finish_without_result(run),
        }
        ret
    }

    pub(crate) fn format(self) -> MakeFormat {
        self.values.format
    }

    /// What of a result is to be stored or shared, and for how long.
    pub(crate) fn result(
        self,
        state: &State,
        run: &Run,
        stored: &O::Stored,
    ) -> Option<(Packed, Option<Duration>)> {
        if !run.wants_result() {
            return None;
        }
        if O::LOOKS_PLAIN && state.is_hidden_failure(type_name::<O::Value>()) {
            return None;
        }
        let refused = |value| self.values.cache_if.is_some_and(|cache_if| !cache_if(value));
        if O::value(stored).is_some_and(refused) {
            return None;
        }
        let life = self.lifetime(state, stored)?;
        match self.pack(stored) {
            Ok(packed) => Some((packed, life)),
            Err(error) => {
                // Where nothing is stored anyway, the look-up has told why.
                if run.stores() {
                    state.failed(&error);
                }
                None
            }
        }
    }

    /// How long `stored` may be served: `Some(None)` is without end, `None` not at all.
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

    async fn peek_with(self, key: Result<Key, Error>, io: Io) -> Result<Option<O::Stored>, Error> {
        let state = self.state();
        match state.peek(&key?, self.format(), io).await? {
            Some(packed) => (self.values.unpack)(&packed).map(Some).or_else(|error| {
                state.undecodable(&error);
                Ok(None)
            }),
            None => Ok(None),
        }
    }

    async fn insert_with(self, key: Result<Key, Error>, value: O::Stored, io: Io) -> Result<(), Error> {
        let (key, state) = (key?, self.state());
        let write = match self.lifetime(&state, &value) {
            None => None,
            Some(life) => Some((self.pack(&value)?, life)),
        };
        drop(value);
        match write {
            Some((packed, life)) => state.insert(key, packed, life, self.format(), io).await,
            // A value without a lifetime is not stored; the one before it must not stay either.
            None => state.delete(&key, self.format(), io).await,
        }
    }
}

/// The statistics of every function used so far, by name.
///
/// ```
/// println!("{}", cache_runtime::stats());
/// ```
pub fn stats() -> AllStats {
    let mut all: Vec<Stats> = Context::current().functions().iter().map(|state| state.stats()).collect();
    all.sort_by(|a, b| a.function.cmp(&b.function));
    AllStats(all)
}
