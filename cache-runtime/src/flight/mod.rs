//! Single-flight: one run of the body per key at a time.
//!
//! A call that missed joins the [`Flights`] of its function: it leads a run, waits for the one that is under way, or is
//! told to run on its own. What happens between arrival, panic, cancellation and invalidation is decided here, under
//! one lock per function; how a caller waits is its driver's business.
//!
//! - A leader that panics or is cancelled drops its [`Leader`]: the flight is vacant, and one waiter takes it over.
//! - A leader whose result can't be shared (an `Err`, or a value that is not to be stored) releases its waiters, who run
//!   at the same time, not one after another.
//! - A call inside the run of its own key, or one that would close a circle of waiting runs, runs on its own: nobody
//!   waits for themselves.
//! - An invalidation takes the flight out of sight: its callers get its result, which is not stored, and later calls
//!   start anew.

use std::cell::RefCell;
use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;
#[cfg(not(shuttle))]
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener};
#[cfg(shuttle)]
use shuttle::sync::Mutex;
use smallvec::SmallVec;

use crate::common::background::{self, Alarm};
#[cfg(not(shuttle))]
use crate::config::context::lock;
use crate::value::Packed;

use self::waits::Inside;

#[cfg(all(shuttle, test))]
mod model;
#[cfg(shuttle)]
use self::model::lock;

/// The runs of one function that are under way.
#[derive(Clone, Default)]
pub(crate) struct Flights(Arc<Table>);

type ByKey = HashMap<ShortKey, Arc<Flight>, foldhash::quality::RandomState>;
/// Mostly short enough to need no allocation.
type ShortKey = SmallVec<[u8; 32]>;

/// Shared with leaders and waiters, who may outlive the call that made them: a renewal goes on in the background.
#[derive(Default)]
struct Table {
    by_key: Mutex<ByKey>,
    /// Counts the runs that ended, so that a call can tell whether what it looked for came meanwhile.
    landed: AtomicU64,
}

/// One run, from its leader's arrival until all who waited have its result.
struct Flight {
    number: u64,
    key: ShortKey,
    /// Changed under the lock of `by_key` only; a lock of its own because a detached flight is in no map.
    progress: Mutex<Progress>,
    changed: Event,
}

struct Progress {
    phase: Phase,
    waiters: usize,
    /// Invalidated: the result must not be stored.
    is_detached: bool,
    /// The invalidation didn't wait for the end of the store: what is stored must go.
    is_given_up: bool,
    began: Option<Began>,
}

/// When a run began that has a lease in the cluster, and the name of that lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    pub(crate) at: Instant,
    pub(crate) lease: [u8; 16],
}

enum Phase {
    /// A leader runs the body.
    Running,
    /// The leader stores the result.
    Storing,
    /// The leader is gone without a result.
    Vacant,
    /// The run is over, with a result that waiters take, or without.
    Landed(Option<Packed>),
    /// The result is where calls look.
    Elsewhere,
}

/// What a call that missed is to do.
pub(crate) enum Role {
    /// Run the body for all.
    Lead(Leader),
    /// Wait for the run under way.
    Wait(Waiter),
    /// Run the body for oneself.
    Alone,
}

/// What a waiter finds when it looks.
pub(crate) enum Arrival {
    /// The result of the run.
    Shared(Packed),
    /// The run gave nothing to share: run the body for oneself.
    Alone,
    /// The result is where calls look.
    Elsewhere,
    /// The leader is gone: run the body for all.
    Lead(Leader),
    /// Not yet: wait for this, and look again.
    Pending(EventListener),
}

impl Flights {
    /// How many runs have ended. Asked before a look-up: if it differs when the call comes to lead, what it
    /// looked for may be there by now.
    pub(crate) fn landed(&self) -> u64 {
        self.0.landed.load(Ordering::SeqCst)
    }

    /// Joins the run of `key`, or starts it.
    pub(crate) fn join(&self, key: &[u8]) -> Role {
        let mut by_key = lock(&self.0.by_key);
        let Some(flight) = by_key.get(key).cloned() else { return Role::Lead(self.start(&mut by_key, key)) };
        let Some(noted) = waits::note(flight.number) else { return Role::Alone };
        lock(&flight.progress).waiters += 1;
        Role::Wait(Waiter { table: self.0.clone(), flight, _noted: noted })
    }

    /// Starts a run of `key`, unless one is under way.
    pub(crate) fn lead(&self, key: &[u8]) -> Option<Leader> {
        let mut by_key = lock(&self.0.by_key);
        (!by_key.contains_key(key)).then(|| self.start(&mut by_key, key))
    }

    fn start(&self, by_key: &mut ByKey, key: &[u8]) -> Leader {
        let flight = Arc::new(Flight::new(key));
        by_key.insert(SmallVec::from_slice(key), flight.clone());
        Leader { table: self.0.clone(), flight }
    }

    /// Takes the run of `key` out of sight: its result is not stored, and later calls start anew. If its leader is
    /// storing already, what is returned tells when that is done.
    pub(crate) fn detach(&self, key: &[u8]) -> Option<Storing> {
        let mut by_key = lock(&self.0.by_key);
        by_key.remove(key)?.detach()
    }

    /// Takes the run of `key` out of sight if `is_outdated` says so: it was invalidated in another process.
    pub(crate) fn retire(&self, key: &[u8], is_outdated: impl FnOnce(Began) -> bool) {
        let mut by_key = lock(&self.0.by_key);
        let Some(flight) = by_key.get(key) else { return };
        let began = lock(&flight.progress).began;
        if began.is_some_and(is_outdated)
            && let Some(flight) = by_key.remove(key)
        {
            drop(flight.detach());
        }
    }

    /// [`detach`](Self::detach) for all keys.
    pub(crate) fn detach_all(&self) {
        let mut by_key = lock(&self.0.by_key);
        by_key.drain().for_each(|(_, flight)| drop(flight.detach()));
    }
}

impl Flight {
    fn new(key: &[u8]) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let progress = Progress {
            phase: Phase::Running,
            waiters: 0,
            is_detached: false,
            is_given_up: false,
            began: None,
        };
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            key: SmallVec::from_slice(key),
            progress: Mutex::new(progress),
            changed: Event::new(),
        }
    }

    fn detach(self: Arc<Self>) -> Option<Storing> {
        let mut progress = lock(&self.progress);
        progress.is_detached = true;
        let is_storing = matches!(progress.phase, Phase::Storing);
        drop(progress);
        is_storing.then_some(Storing(self))
    }

    /// Wakes those who wait after `delay`, whether the run has changed or not, unless what is returned is dropped.
    fn wake_after(self: &Arc<Self>, delay: Duration) -> Option<Alarm> {
        let flight = Arc::downgrade(self);
        background::alarm(delay, move || {
            flight.upgrade().map(|flight| flight.changed.notify(usize::MAX));
        })
    }
}

/// A run that was detached when its leader was storing the result.
pub(crate) struct Storing(Arc<Flight>);

impl Storing {
    /// Waits until that is done, if there is an end to `patience` no longer: the leader may be a future that nobody polls.
    pub(crate) async fn done(self, patience: Option<Duration>) {
        // Who stores may drop what was there, whose end may be this: nobody waits for themselves.
        let Some(_noted) = waits::note(self.0.number) else {
            lock(&self.0.progress).is_given_up = true;
            return;
        };
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        let _alarm = patience.map(|patience| self.0.wake_after(patience));
        while let Some(change) = self.change(until) {
            change.await;
        }
    }

    /// What to wait for yet; from `until` on nothing.
    fn change(&self, until: Option<Instant>) -> Option<EventListener> {
        let mut progress = lock(&self.0.progress);
        if !matches!(progress.phase, Phase::Storing) {
            return None;
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            progress.is_given_up = true;
            return None;
        }
        Some(self.0.changed.listen())
    }
}

/// Whether this thread or task is inside of a run: whoever waits here may keep others waiting.
pub(crate) fn is_inside_a_run() -> bool {
    waits::is_inside()
}

/// Removes a flight, unless its key belongs to another by now.
fn remove(by_key: &mut ByKey, flight: &Arc<Flight>) {
    if let Entry::Occupied(current) = by_key.entry(SmallVec::from_slice(&flight.key))
        && Arc::ptr_eq(current.get(), flight)
    {
        current.remove();
    }
}

/// The duty to bring a run to its end; dropped before that, it leaves the flight to a waiter.
pub(crate) struct Leader {
    table: Arc<Table>,
    flight: Arc<Flight>,
}

impl Leader {
    /// Notes that the run begins now, under `lease`.
    pub(crate) fn begin_under(&self, lease: [u8; 16]) {
        lock(&self.flight.progress).began = Some(Began { at: Instant::now(), lease });
    }

    /// Makes this thread one that is inside of the run, until what is returned is dropped: calls of the same key within
    /// it don't wait for it.
    pub(crate) fn enter(&self) -> Inside {
        Inside::enter(self.flight.number)
    }

    /// Whether the result may be stored. If so, an invalidation from now on waits for [`land`](Self::land).
    pub(crate) fn may_store(&self) -> bool {
        let _by_key = lock(&self.table.by_key);
        let mut progress = lock(&self.flight.progress);
        if !progress.is_detached {
            progress.phase = Phase::Storing;
        }
        !progress.is_detached
    }

    /// Whether an invalidation of what was stored has not waited for that.
    pub(crate) fn is_given_up(&self) -> bool {
        lock(&self.flight.progress).is_given_up
    }

    /// Ends the run; `shared` is for those who waited.
    pub(crate) fn land(self, shared: Option<Packed>) {
        self.end(Phase::Landed(shared));
    }

    /// Ends the run, whose result is where calls look: those who waited look for themselves, because what this call
    /// found there may have been invalidated before they came.
    pub(crate) fn land_elsewhere(self) {
        self.end(Phase::Elsewhere);
    }

    fn end(self, phase: Phase) {
        let mut by_key = lock(&self.table.by_key);
        self.table.landed.fetch_add(1, Ordering::SeqCst);
        remove(&mut by_key, &self.flight);
        lock(&self.flight.progress).phase = phase;
        drop(by_key);
        self.flight.changed.notify(usize::MAX);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut by_key = lock(&self.table.by_key);
        let mut progress = lock(&self.flight.progress);
        if matches!(progress.phase, Phase::Landed(_) | Phase::Elsewhere) {
            return;
        }
        progress.phase = Phase::Vacant;
        if progress.waiters == 0 {
            remove(&mut by_key, &self.flight);
        }
        drop((progress, by_key));
        self.flight.changed.notify(usize::MAX);
    }
}

/// A place among those who wait for a run.
pub(crate) struct Waiter {
    table: Arc<Table>,
    flight: Arc<Flight>,
    _noted: waits::Noted,
}

impl Waiter {
    /// How far the run is.
    pub(crate) fn look(&self) -> Arrival {
        let _by_key = lock(&self.table.by_key);
        let mut progress = lock(&self.flight.progress);
        match &progress.phase {
            Phase::Landed(Some(packed)) => Arrival::Shared(packed.clone()),
            Phase::Landed(None) => Arrival::Alone,
            Phase::Elsewhere => Arrival::Elsewhere,
            Phase::Vacant => {
                progress.phase = Phase::Running;
                Arrival::Lead(Leader { table: self.table.clone(), flight: self.flight.clone() })
            }
            Phase::Running | Phase::Storing => Arrival::Pending(self.flight.changed.listen()),
        }
    }

    /// Wakes those who wait at `until`, whether the run has changed or not, unless what is returned is dropped.
    pub(crate) fn look_again_at(&self, until: Instant) -> Option<Alarm> {
        self.flight.wake_after(until.saturating_duration_since(Instant::now()))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut by_key = lock(&self.table.by_key);
        let mut progress = lock(&self.flight.progress);
        progress.waiters -= 1;
        if progress.waiters == 0 && matches!(progress.phase, Phase::Vacant) {
            remove(&mut by_key, &self.flight);
        }
    }
}

/// Who waits for whom, so that no circle of runs waits for itself.
mod waits {
    use std::sync::Mutex;

    use super::{HashMap, HashSet, RefCell};
    use crate::config::context::lock;

    thread_local! {
        /// The runs that this thread is inside of, from the outermost.
        static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    /// The runs that a run waits for, by its number; only runs that wait are here.
    static WAITS: Mutex<Option<HashMap<u64, Vec<u64>>>> = Mutex::new(None);

    /// Marks this thread as inside of a run.
    pub(crate) struct Inside;

    impl Inside {
        #[inline(never)]
        pub(super) fn enter(number: u64) -> Self {
            // While a thread's variables are destroyed there is nothing to remember.
            let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(number));
            Self
        }
    }

    impl Drop for Inside {
        #[inline(never)]
        fn drop(&mut self) {
            let _ = INSIDE.try_with(|inside| inside.borrow_mut().pop());
        }
    }

    pub(super) fn is_inside() -> bool {
        INSIDE.try_with(|inside| !inside.borrow().is_empty()).unwrap_or(false)
    }

    /// The note that some runs wait for another; dropped when they don't any more.
    pub(super) struct Noted {
        runs: Vec<u64>,
        target: u64,
    }

    /// Notes that the runs this thread is inside of wait for `target`; `None` if that would close a circle.
    pub(super) fn note(target: u64) -> Option<Noted> {
        let runs = INSIDE.try_with(|inside| inside.borrow().clone()).unwrap_or_default();
        if runs.is_empty() {
            return Some(Noted { runs, target });
        }
        let mut waits = lock(&WAITS);
        let waits = waits.get_or_insert_default();
        let (mut seen, mut next) = (HashSet::new(), vec![target]);
        while let Some(run) = next.pop() {
            if runs.contains(&run) {
                return None;
            }
            if seen.insert(run) {
                next.extend(waits.get(&run).into_iter().flatten());
            }
        }
        for run in &runs {
            waits.entry(*run).or_default().push(target);
        }
        Some(Noted { runs, target })
    }

    impl Drop for Noted {
        fn drop(&mut self) {
            if self.runs.is_empty() {
                return;
            }
            let mut waits = lock(&WAITS);
            let waits = waits.get_or_insert_default();
            for run in &self.runs {
                let Some(targets) = waits.get_mut(run) else { continue };
                if let Some(index) = targets.iter().position(|known| *known == self.target) {
                    targets.swap_remove(index);
                }
                if targets.is_empty() {
                    waits.remove(run);
                }
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn lead(flights: &Flights, key: &[u8]) -> Leader {
        match flights.join(key) {
            Role::Lead(leader) => leader,
            Role::Wait(_) | Role::Alone => panic!("somebody else leads"),
        }
    }

    fn wait(flights: &Flights, key: &[u8]) -> Waiter {
        match flights.join(key) {
            Role::Wait(waiter) => waiter,
            Role::Lead(_) | Role::Alone => panic!("nobody leads"),
        }
    }

    fn under_way(flights: &Flights) -> usize {
        lock(&flights.0.by_key).len()
    }

    #[test]
    fn nothing_is_left_when_nothing_runs() {
        let flights = Flights::default();
        lead(&flights, b"landed").land(None);
        drop(lead(&flights, b"abandoned"));
        let (leader, waiter) = (lead(&flights, b"both gone"), wait(&flights, b"both gone"));
        drop(leader);
        assert_eq!(under_way(&flights), 1, "the waiter may still take over");
        drop(waiter);
        assert_eq!(under_way(&flights), 0);
    }

    #[test]
    fn one_waiter_takes_over_and_the_others_wait_for_it() {
        let flights = Flights::default();
        let leader = lead(&flights, b"key");
        let (first, second) = (wait(&flights, b"key"), wait(&flights, b"key"));
        assert!(matches!(first.look(), Arrival::Pending(_)));
        drop(leader);
        let Arrival::Lead(leader) = first.look() else { panic!("vacant") };
        assert!(matches!(second.look(), Arrival::Pending(_)));
        drop(first);
        leader.land(Some(Packed::Encoded(vec![1].into())));
        assert!(matches!(second.look(), Arrival::Shared(Packed::Encoded(bytes)) if bytes[..] == [1]));
        assert_eq!(under_way(&flights), 0);
    }

    #[test]
    fn a_detached_run_may_not_store_and_leaves_its_key_alone() {
        let flights = Flights::default();
        let old = lead(&flights, b"key");
        assert!(flights.detach(b"key").is_none(), "nothing is being stored");
        let new = lead(&flights, b"key");
        assert!(!old.may_store() && new.may_store());
        old.land(None);
        assert_eq!(under_way(&flights), 1, "the new run goes on");
        assert!(flights.detach(b"key").is_some(), "it is being stored");
        drop(new);
    }

    #[test]
    fn nobody_waits_for_themselves() {
        let flights = Flights::default();
        let (outer, inner) = (lead(&flights, b"outer"), lead(&flights, b"inner"));
        {
            let _inside = outer.enter();
            assert!(matches!(flights.join(b"outer"), Role::Alone));
            // The outer run waits for the inner one, so the inner one can't wait for it.
            let _waiter = wait(&flights, b"inner");
            let _inside = inner.enter();
            assert!(matches!(flights.join(b"outer"), Role::Alone));
        }
        let _inside = inner.enter();
        drop(wait(&flights, b"outer"));
    }
}
