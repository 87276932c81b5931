//! A model checker tries every order of arrival, success, failure, panic, cancellation and invalidation.
//!
//! [Shuttle](https://docs.rs/shuttle) decides at each lock which thread goes on, and reports deadlocks. The calls here do
//! what the drivers do. A variable stands for the store, and a number for the value: how many invalidations had begun
//! before its run did.

use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use shuttle::{future, thread};

use super::*;
use crate::value::Packed;

const KEY: &[u8] = b"key";

/// How the run of a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With a value that is stored and shared.
    Value,
    /// With an `Err`: nothing to store, nothing to share.
    Nothing,
    /// With a value that look-ups find.
    InStore,
    /// By a panic or by being dropped.
    Abandoned,
    /// The call is dropped when it has to wait for the first time.
    Cancelled,
    /// Somebody notices that nobody polls it, and then it goes on after all.
    Undriven,
}

#[derive(Default)]
struct World {
    flights: Flights,
    store: Mutex<Option<u64>>,
    /// How many have begun.
    invalidations: AtomicU64,
    /// Runs that lead now.
    leading: AtomicU64,
    /// How often the truth has changed, each time before a refresh.
    truth: AtomicU64,
}

/// The claim of a run that is always outdated.
struct Outdated;

impl Claim for Outdated {
    fn is_outdated(&self, _: Instant, _: Option<&[u8]>) -> bool {
        true
    }

    fn secure(&self) {}
}

impl World {
    /// A call that missed.
    fn call(&self, end: End) {
        let mut turn = pin!(self.flights.join(KEY, 0).turn(None));
        let turn = match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(turn) => turn,
            std::task::Poll::Pending if end == End::Cancelled => return,
            std::task::Poll::Pending => future::block_on(turn),
        };
        match turn {
            Turn::Lead(leader) => self.run(leader, end),
            Turn::InStore => self.call(end),
            Turn::Shared(_) | Turn::Alone => {}
            Turn::Again => self.call(end),
        }
    }

    /// A call that takes only what a run reads from now on.
    fn refresh(&self) {
        let wanted = self.truth.fetch_add(1, Ordering::SeqCst) + 1;
        let since = next_run();
        loop {
            match future::block_on(self.flights.join(KEY, since).turn(None)) {
                Turn::Lead(leader) => return self.run(leader, End::Value),
                Turn::Shared(Shared::Value(Packed::Encoded(read))) => {
                    let read = u64::from_le_bytes(read[..].try_into().expect("eight bytes"));
                    return assert!(read >= wanted, "{read} was read before {wanted}");
                }
                Turn::Again => {}
                Turn::Shared(_) | Turn::Alone | Turn::InStore => unreachable!("no run here ends like that"),
            }
        }
    }

    fn run(&self, leader: Leader, end: End) {
        let began = self.invalidations.load(Ordering::SeqCst);
        leader.begin(Arc::new(Outdated));
        let read = self.truth.load(Ordering::SeqCst);
        let leading = self.leading.fetch_add(1, Ordering::SeqCst) + 1;
        // An invalidation lets later calls start anew.
        assert!(leading <= 1 + self.invalidations.load(Ordering::SeqCst), "two runs of one key at once");
        thread::yield_now();
        self.leading.fetch_sub(1, Ordering::SeqCst);
        match end {
            End::Value => {
                if leader.may_store() {
                    thread::yield_now();
                    *lock(&self.store) = Some(began);
                }
                leader.complete(Some(Shared::Value(Packed::Encoded(Bytes::copy_from_slice(
                    &read.to_le_bytes(),
                )))));
            }
            End::Nothing => leader.complete(None),
            End::InStore => leader.complete_in_store(),
            End::Abandoned | End::Cancelled => drop(leader),
            End::Undriven => {
                if let Some(flight) = lock(&self.flights.0.by_key).flights.remove(KEY) {
                    flight.abandon();
                }
                thread::yield_now();
                assert!(!leader.may_store(), "a newer run may have stored its result");
                leader.complete(None);
            }
        }
    }

    fn invalidate(&self) {
        self.invalidations.fetch_add(1, Ordering::SeqCst);
        for stored in self.flights.invalidate(KEY) {
            future::block_on(stored.done(None));
        }
        *lock(&self.store) = None;
    }

    /// A call that sees that another process has invalidated the key.
    fn call_after_an_invalidation_elsewhere(&self) {
        self.invalidations.fetch_add(1, Ordering::SeqCst);
        self.flights.invalidate_if(KEY, |claim| claim.is_outdated(Instant::now(), None));
        self.call(End::Nothing);
    }
}

/// Tries many orders of these calls, with an invalidation among them if asked.
fn model(calls: &'static [End], invalidate: bool) {
    let scenario = move || {
        let world = Arc::new(World::default());
        let mut threads: Vec<_> = calls
            .iter()
            .map(|end| {
                let world = world.clone();
                thread::spawn(move || world.call(*end))
            })
            .collect();
        if invalidate {
            let world = world.clone();
            threads.push(thread::spawn(move || world.invalidate()));
        }
        for thread in threads {
            thread.join().expect("nobody panics");
        }
        assert!(lock(&world.flights.0.by_key).flights.is_empty(), "nothing is left when nothing runs");
        let current = world.invalidations.load(Ordering::SeqCst);
        assert!(lock(&world.store).is_none_or(|began| began == current), "a value outlived its invalidation");
    };
    shuttle::check_random(scenario, 4_000);
    shuttle::check_pct(scenario, 1_000, 3);
}

#[test]
fn values_and_an_invalidation() {
    model(&[End::Value, End::Value, End::Value], true);
}

#[test]
fn abandoned_runs_are_taken_over() {
    model(&[End::Abandoned, End::Abandoned, End::Value, End::Value], false);
}

#[test]
fn failures_release_the_waiters() {
    model(&[End::Nothing, End::Value, End::Nothing], true);
}

#[test]
fn callers_that_give_up_leave_nothing_behind() {
    model(&[End::Cancelled, End::Value, End::Cancelled, End::Abandoned], true);
}

#[test]
fn every_ending_at_once() {
    model(&[End::Value, End::Nothing, End::Abandoned, End::Cancelled], true);
}

#[test]
fn every_waiter_looks_for_a_value_in_the_store() {
    model(&[End::InStore, End::InStore, End::Value, End::Abandoned], true);
}

#[test]
fn invalidations_elsewhere() {
    let scenario = || {
        let world = Arc::new(World::default());
        let calls: [fn(&World); 4] = [
            World::call_after_an_invalidation_elsewhere,
            World::call_after_an_invalidation_elsewhere,
            |world| world.call(End::Nothing),
            |world| world.call(End::Abandoned),
        ];
        let threads = calls.map(|call| {
            let world = world.clone();
            thread::spawn(move || call(&world))
        });
        for thread in threads {
            thread.join().expect("nobody panics");
        }
        assert!(lock(&world.flights.0.by_key).flights.is_empty(), "nothing is left when nothing runs");
    };
    shuttle::check_random(scenario, 4_000);
}

#[test]
fn refreshes_take_nothing_that_was_read_before() {
    let scenario = || {
        let world = Arc::new(World::default());
        let calls: [fn(&World); 4] = [
            |world| world.call(End::Value),
            World::refresh,
            |world| world.call(End::Abandoned),
            World::refresh,
        ];
        let threads = calls.map(|call| {
            let world = world.clone();
            thread::spawn(move || call(&world))
        });
        for thread in threads {
            thread.join().expect("nobody panics");
        }
        assert!(lock(&world.flights.0.by_key).flights.is_empty(), "nothing is left when nothing runs");
    };
    shuttle::check_random(scenario, 4_000);
    shuttle::check_pct(scenario, 1_000, 3);
}

#[test]
fn a_run_that_nobody_drives_keeps_nobody_waiting() {
    model(&[End::Undriven, End::Value, End::Nothing, End::Value], true);
}
