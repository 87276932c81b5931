//! Single-flight: one run of the body per key at a time.
//!
//! A call that missed joins the [`Flights`] of its function. It leads a run, waits for the run under way, or runs alone.
//! This module decides what happens between arrival, panic, cancellation and invalidation, under one lock per function.
//! How a caller waits is up to its driver.
//!
//! - A leader that panics or is canceled drops its [`Leader`]. The flight becomes vacant and one waiter takes it over.
//! - A leader whose result can't be shared releases its waiters, who all run at the same time instead of one after
//!   another.
//! - A call inside the run of its own key runs alone, and so does one that would close a circle of waiting runs, because
//!   neither could ever be answered.
//! - An invalidation detaches the flight: its callers get its result, which is not stored, and later calls start anew.
//! - A child of `fork` has no part in the runs of its parent, which other threads may lead.
//! - A leader whose future was woken and is not polled for some seconds counts as dropped. Its waiters start anew.
//! - A `refresh` takes only the result of a run that began after it was called. It waits for an older run to end.

#[cfg(all(shuttle, test))]
mod model;
mod polls;
#[cfg(all(test, not(shuttle)))]
mod tests;
mod waits;

use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener};
use smallvec::SmallVec;

use crate::common::background::{self, Alarm};
use crate::common::process::Process;
use crate::common::sync::checked::{Mutex, lock};
use crate::value::Shared;

use self::polls::Polls;
use self::waits::Inside;

pub(crate) use self::polls::LeaderPolls;
pub(crate) use self::waits::is_inside_a_run;

/// How often the runs under way are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a run takes before its claim is secured.
const SLOW: Duration = Duration::from_millis(2_500);

/// The runs of one function that are under way.
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<Table>);

#[derive(Default)]
struct ByKey {
    flights: HashMap<FlightKey, Arc<Flight>, foldhash::quality::RandomState>,
    /// Runs beside others of their keys, for which no call waits.
    apart: HashMap<FlightKey, Vec<Arc<Flight>>>,
    /// Flights that are over, for reuse: most runs are over before anybody waits for them, and should cost no allocation.
    spare: Vec<Arc<Flight>>,
}

/// The most flights that are kept for reuse: the depth of a usual recursion.
const MAX_SPARE: usize = 16;

/// Most keys fit without an allocation.
type FlightKey = SmallVec<[u8; 32]>;

/// Shared with leaders and waiters, which may outlive the call that made them: a renewal goes on in the background.
#[derive(Default)]
struct Table {
    process: Process,
    by_key: Mutex<ByKey>,
    /// The number of runs that ended, so that a call can tell whether its answer may have arrived meanwhile.
    completed: AtomicU64,
    /// Whether slow runs are looked for.
    is_watched: AtomicBool,
}

/// One run, from the arrival of its leader until every waiter has the result.
struct Flight {
    number: RunNumber,
    key: FlightKey,
    is_apart: bool,
    /// Changed only under the lock of `by_key`. It needs its own lock because a detached flight is in no map.
    status: Mutex<Status>,
    changed: Event,
    polls: Polls,
}

struct Status {
    phase: Phase,
    waiters: usize,
    /// The result must not be stored: the key was invalidated.
    is_invalidated: bool,
    /// The invalidation did not wait for the store to end, so what is stored must be removed.
    store_must_be_removed: bool,
    began: Option<Began>,
}

impl Status {
    /// Whether anybody may wait for a change: a call for the result, or an invalidation for the end of the store.
    fn is_awaited(&self) -> bool {
        self.waiters > 0 || self.is_invalidated
    }
}

/// When a run whose entry lives on a server began, and its claim on the key there.
struct Began {
    at: Instant,
    claim: Arc<dyn Claim>,
}

/// What a flight needs to know of its run's claim on the key on a server.
pub(crate) trait Claim: Send + Sync {
    /// Whether the key has been changed by others since the run began, as a look-up shows that began at `since` and found
    /// `under`.
    fn is_outdated(&self, since: Instant, under: Option<&[u8]>) -> bool;

    /// Makes sure that an invalidation by others is noticed however long the run takes. Blocks for one operation.
    fn secure(&self);
}

enum Phase {
    /// A leader runs the body.
    Running,
    /// The leader stores the result.
    Storing,
    /// The leader is gone and left no result.
    Vacant,
    /// The leader counts as dropped. The flight is detached.
    Abandoned,
    /// The run is over. Waiters take the result if there is one.
    Completed(Option<Shared>),
    /// The run is over, and its result is where look-ups find it.
    InStore,
}

/// The part that a call which missed takes in the run of its key.
pub(crate) enum Role {
    /// Run the body for all.
    Lead(Leader),
    /// Wait for the run under way.
    Wait(Waiter),
    /// Run the body for this call only.
    Alone,
}

/// How a call goes on that has joined a run, and waited if it had to.
pub(crate) enum Turn {
    /// Run the body for all.
    Lead(Leader),
    /// Run the body for this call only.
    Alone,
    /// Take the shared result.
    Shared(Shared),
    /// Look again: the result is where look-ups find it.
    InStore,
    /// Join again: the run that has ended began too early for this call, or counts as dropped.
    Again,
}

impl Role {
    /// Waits until it is this call's turn. A call that has waited until `until` runs alone.
    pub(crate) async fn turn(self, until: Option<Instant>) -> Turn {
        let waiter = match self {
            Self::Lead(leader) => return Turn::Lead(leader),
            Self::Alone => return Turn::Alone,
            Self::Wait(waiter) => waiter,
        };
        let _alarm = until.map(|until| waiter.wake_at(until));
        loop {
            match waiter.check() {
                Ok(turn) => return turn,
                Err(_) if until.is_some_and(|until| until <= Instant::now()) => return Turn::Alone,
                Err(change) => change.await,
            }
        }
    }
}

impl Flights {
    /// The number of runs that have ended. A call reads it before its look-up: if it has changed when the call comes to
    /// lead, the value it missed may be there by now.
    pub(crate) fn completed(&self) -> u64 {
        self.0.completed.load(Ordering::SeqCst)
    }

    /// Joins the run of `key`, or starts it. The call takes no result of a run that began before `since`.
    pub(crate) fn join(&self, key: &[u8], since: RunNumber) -> Role {
        let mut by_key = lock(&self.0.by_key);
        let flight = match by_key.start(key) {
            Ok(flight) => return Role::Lead(Leader { table: self.0.clone(), flight }),
            Err(flight) => flight,
        };
        let Some(wait) = waits::register(flight.number) else { return Role::Alone };
        lock(&flight.status).waiters += 1;
        Role::Wait(Waiter { table: self.0.clone(), flight, since, _wait: wait })
    }

    /// Starts a run of `key` unless one is under way.
    pub(crate) fn lead(&self, key: &[u8]) -> Option<Leader> {
        let flight = lock(&self.0.by_key).start(key).ok()?;
        Some(Leader { table: self.0.clone(), flight })
    }

    /// Starts a run of `key` beside others, for which no call waits.
    pub(crate) fn lead_apart(&self, key: &[u8]) -> Leader {
        let flight = Arc::new(Flight { is_apart: true, ..Flight::new(SmallVec::from_slice(key)) });
        lock(&self.0.by_key).apart.entry(flight.key.clone()).or_default().push(flight.clone());
        Leader { table: self.0.clone(), flight }
    }

    /// Detaches the runs of `key`: their results won't be stored, and later calls start anew. If a leader is storing now,
    /// a returned value waits for that.
    pub(crate) fn invalidate(&self, key: &[u8]) -> Vec<StoreInProgress> {
        let by_key = &mut *lock(&self.0.by_key);
        let apart = by_key.apart.remove(key).into_iter().flatten();
        let all = apart.chain(by_key.flights.remove(key));
        all.filter_map(Flight::invalidate).collect()
    }

    /// Detaches the run of `key` if `is_outdated` accepts its claim: another process has changed the key.
    pub(crate) fn invalidate_if(&self, key: &[u8], is_outdated: impl FnOnce(&dyn Claim) -> bool) {
        let mut by_key = lock(&self.0.by_key);
        let Some(flight) = by_key.flights.get(key) else { return };
        let is_outdated = lock(&flight.status).began.as_ref().is_some_and(|began| is_outdated(&*began.claim));
        if is_outdated && let Some(flight) = by_key.flights.remove(key) {
            drop(flight.invalidate());
        }
    }

    /// Detaches all runs.
    pub(crate) fn invalidate_all(&self) {
        let mut by_key = lock(&self.0.by_key);
        let ByKey { flights, apart, .. } = &mut *by_key;
        let all = flights.drain().map(|(_, flight)| flight).chain(apart.drain().flat_map(|(_, apart)| apart));
        all.for_each(|flight| drop(flight.invalidate()));
    }

    /// From now on, until no run is under way, secures the claims of slow runs, and abandons runs that nobody drives.
    pub(crate) fn watch(&self) {
        if self.0.is_watched.swap(true, Ordering::SeqCst) {
            return;
        }
        let table = Arc::downgrade(&self.0);
        let is_scheduled = background::schedule(LOOK_EVERY, move || {
            let table = table.upgrade()?;
            table.abandon_undriven();
            table.slow_claims().iter().for_each(|claim| claim.secure());
            table.is_watched.store(false, Ordering::SeqCst);
            let is_idle = lock(&table.by_key).all().next().is_none();
            (!is_idle && !table.is_watched.swap(true, Ordering::SeqCst)).then_some(LOOK_EVERY)
        });
        if !is_scheduled {
            self.0.is_watched.store(false, Ordering::SeqCst);
        }
    }
}

impl Table {
    /// Abandons the runs whose leaders nobody polls.
    fn abandon_undriven(&self) {
        let mut by_key = lock(&self.by_key);
        by_key.flights.retain(|_, flight| {
            let is_driven = !flight.polls.look();
            if !is_driven {
                flight.abandon();
            }
            is_driven
        });
    }

    /// The claims of the runs that began a while ago.
    fn slow_claims(&self) -> Vec<Arc<dyn Claim>> {
        let by_key = lock(&self.by_key);
        let slow = |flight: &Arc<Flight>| {
            let status = lock(&flight.status);
            let began = status.began.as_ref().filter(|began| began.at.elapsed() >= SLOW)?;
            Some(began.claim.clone())
        };
        by_key.all().filter_map(slow).collect()
    }
}

impl ByKey {
    /// A new flight of `key`, or the one that is under way.
    fn start(&mut self, key: &[u8]) -> Result<Arc<Flight>, Arc<Flight>> {
        let Self { flights, spare, .. } = self;
        match flights.entry(SmallVec::from_slice(key)) {
            Entry::Occupied(flight) => Err(flight.get().clone()),
            Entry::Vacant(vacant) => {
                let flight = make(spare.pop(), SmallVec::from_slice(key));
                vacant.insert(flight.clone());
                Ok(flight)
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Flight>> {
        self.flights.values().chain(self.apart.values().flatten())
    }

    /// Removes `flight`, unless its key belongs to another flight by now.
    fn remove(&mut self, flight: &Arc<Flight>) -> Option<Arc<Flight>> {
        if flight.is_apart {
            if let Some(apart) = self.apart.get_mut(&flight.key) {
                apart.retain(|other| !Arc::ptr_eq(other, flight));
                if apart.is_empty() {
                    self.apart.remove(&flight.key);
                }
            }
            return None;
        }
        // Not a clone, which copies byte by byte.
        match self.flights.entry(SmallVec::from_slice(&flight.key)) {
            Entry::Occupied(current) if Arc::ptr_eq(current.get(), flight) => Some(current.remove()),
            _ => None,
        }
    }
}

/// A flight of `key`, in the place of a spare one if nobody uses that any more.
fn make(spare: Option<Arc<Flight>>, key: FlightKey) -> Arc<Flight> {
    let flight = Flight::new(key);
    match spare {
        Some(mut spare) => match Arc::get_mut(&mut spare) {
            Some(place) => {
                *place = flight;
                spare
            }
            None => Arc::new(flight),
        },
        None => Arc::new(flight),
    }
}

/// The number of the next run. Numbers rise.
static NEXT_RUN: AtomicU64 = AtomicU64::new(0);

/// The number of a run, or the least one that a call accepts.
pub(crate) type RunNumber = u64;

/// The number that only runs from now on have.
pub(crate) fn next_run() -> RunNumber {
    NEXT_RUN.load(Ordering::SeqCst)
}

impl Flight {
    fn new(key: FlightKey) -> Self {
        let status = Status {
            phase: Phase::Running,
            waiters: 0,
            is_invalidated: false,
            store_must_be_removed: false,
            began: None,
        };
        Self {
            number: NEXT_RUN.fetch_add(1, Ordering::SeqCst),
            key,
            is_apart: false,
            status: Mutex::new(status),
            changed: Event::new(),
            polls: Polls::default(),
        }
    }

    fn invalidate(self: Arc<Self>) -> Option<StoreInProgress> {
        let mut status = lock(&self.status);
        status.is_invalidated = true;
        let is_storing = matches!(status.phase, Phase::Storing);
        drop(status);
        is_storing.then_some(StoreInProgress(self))
    }

    /// Ends the wait of all waiters, who start anew. What the leader still does is not stored.
    fn abandon(&self) {
        let mut status = lock(&self.status);
        status.is_invalidated = true;
        status.phase = Phase::Abandoned;
        drop(status);
        self.changed.notify(usize::MAX);
    }

    /// Waits until the run counts as dropped, and forever if it ends.
    async fn abandoned(&self) {
        while let Some(change) = self.change_unless_abandoned() {
            change.await;
        }
    }

    fn change_unless_abandoned(&self) -> Option<EventListener> {
        let status = lock(&self.status);
        (!matches!(status.phase, Phase::Abandoned)).then(|| self.changed.listen())
    }

    /// Wakes everybody who waits after `delay`, unless the returned alarm is dropped first.
    fn wake_after(self: &Arc<Self>, delay: Duration) -> Option<Alarm> {
        let flight = Arc::downgrade(self);
        background::alarm(delay, move || {
            flight.upgrade().map(|flight| flight.changed.notify(usize::MAX));
        })
    }
}

/// A run that was invalidated while its leader was storing the result.
pub(crate) struct StoreInProgress(Arc<Flight>);

impl StoreInProgress {
    /// Waits until the store has ended, up to `patience` if there is one: the leader may be a future that nobody polls.
    pub(crate) async fn done(self, patience: Option<Duration>) {
        // The leader may drop the old value while it stores, and that drop may run this. It can't wait for itself.
        let Some(_wait) = waits::register(self.0.number) else {
            lock(&self.0.status).store_must_be_removed = true;
            return;
        };
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        let _alarm = patience.map(|patience| self.0.wake_after(patience));
        while let Some(change) = self.change(until) {
            change.await;
        }
    }

    /// What to wait for next; `None` when the store has ended, and from `until` on.
    fn change(&self, until: Option<Instant>) -> Option<EventListener> {
        let mut status = lock(&self.0.status);
        if !matches!(status.phase, Phase::Storing) {
            return None;
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            status.store_must_be_removed = true;
            return None;
        }
        Some(self.0.changed.listen())
    }
}

/// The duty to bring a run to its end. Dropping it before that leaves the flight to a waiter.
pub(crate) struct Leader {
    table: Arc<Table>,
    flight: Arc<Flight>,
}

impl Leader {
    /// Records that the run begins now, with `claim` on its key.
    pub(crate) fn begin(&self, claim: Arc<dyn Claim>) {
        lock(&self.flight.status).began = Some(Began { at: Instant::now(), claim });
    }

    /// For polling the futures of the leader.
    pub(crate) fn polls(&self) -> LeaderPolls {
        LeaderPolls(self.flight.clone())
    }

    /// Marks this thread as inside the run until the returned guard is dropped. Calls of the same key inside the run
    /// don't wait for it.
    pub(crate) fn enter(&self) -> Inside {
        Inside::enter(self.flight.number)
    }

    /// Whether the result may be stored. If so, an invalidation from now on waits for [`complete`](Self::complete).
    pub(crate) fn may_store(&self) -> bool {
        let _by_key = lock(&self.table.by_key);
        let mut status = lock(&self.flight.status);
        if !status.is_invalidated {
            status.phase = Phase::Storing;
        }
        !status.is_invalidated
    }

    /// Whether calls wait for the result.
    pub(crate) fn has_waiters(&self) -> bool {
        lock(&self.flight.status).waiters > 0
    }

    /// Whether an invalidation gave up waiting for the store, so that what was stored must be removed.
    pub(crate) fn store_must_be_removed(&self) -> bool {
        lock(&self.flight.status).store_must_be_removed
    }

    /// Ends the run. Waiters take `shared`.
    pub(crate) fn complete(self, shared: Option<Shared>) {
        self.end(Phase::Completed(shared));
    }

    /// Ends the run, whose result is where look-ups find it. Waiters look for themselves: what this call found there may
    /// have been invalidated before they arrived.
    pub(crate) fn complete_in_store(self) {
        self.end(Phase::InStore);
    }

    fn end(self, phase: Phase) {
        let mut by_key = lock(&self.table.by_key);
        // A call has no reason to look again after a run that no call could have joined.
        if !self.flight.is_apart {
            self.table.completed.fetch_add(1, Ordering::SeqCst);
        }
        let removed = by_key.remove(&self.flight);
        let mut status = lock(&self.flight.status);
        let (began, is_awaited) = (status.began.take(), status.is_awaited());
        // Nobody takes the result of a spare flight, which must not keep it.
        status.phase = if is_awaited { phase } else { Phase::InStore };
        drop(status);
        if !is_awaited && by_key.spare.len() < MAX_SPARE {
            by_key.spare.extend(removed);
        }
        drop(by_key);
        // Dropped without the locks: a claim may have work to do.
        drop(began);
        if is_awaited {
            self.flight.changed.notify(usize::MAX);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.table.process.is_current() {
            return;
        }
        let mut by_key = lock(&self.table.by_key);
        let mut status = lock(&self.flight.status);
        if matches!(status.phase, Phase::Completed(_) | Phase::InStore | Phase::Abandoned) {
            return;
        }
        status.phase = Phase::Vacant;
        if status.waiters == 0 {
            by_key.remove(&self.flight);
        }
        let began = status.began.take();
        drop((status, by_key));
        drop(began);
        self.flight.changed.notify(usize::MAX);
    }
}

/// A call that waits for the run of another.
pub(crate) struct Waiter {
    table: Arc<Table>,
    flight: Arc<Flight>,
    /// The first run whose result this call takes.
    since: RunNumber,
    _wait: waits::Wait,
}

impl Waiter {
    /// The turn of this call, or the change to wait for.
    fn check(&self) -> Result<Turn, EventListener> {
        if !self.table.process.is_current() {
            return Ok(Turn::Alone);
        }
        let _by_key = lock(&self.table.by_key);
        let mut status = lock(&self.flight.status);
        let is_too_old = self.flight.number < self.since;
        match &status.phase {
            Phase::Completed(_) | Phase::InStore if is_too_old => Ok(Turn::Again),
            Phase::Completed(Some(shared)) => Ok(Turn::Shared(shared.clone())),
            Phase::Completed(None) => Ok(Turn::Alone),
            Phase::InStore => Ok(Turn::InStore),
            Phase::Abandoned => Ok(Turn::Again),
            Phase::Vacant => {
                status.phase = Phase::Running;
                Ok(Turn::Lead(Leader { table: self.table.clone(), flight: self.flight.clone() }))
            }
            Phase::Running | Phase::Storing => Err(self.flight.changed.listen()),
        }
    }

    /// Wakes this call at `until`, unless the returned alarm is dropped first.
    fn wake_at(&self, until: Instant) -> Option<Alarm> {
        self.flight.wake_after(until.saturating_duration_since(Instant::now()))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.table.process.is_current() {
            return;
        }
        let mut by_key = lock(&self.table.by_key);
        let mut status = lock(&self.flight.status);
        status.waiters -= 1;
        if status.waiters == 0 && matches!(status.phase, Phase::Vacant) {
            by_key.remove(&self.flight);
        }
    }
}
