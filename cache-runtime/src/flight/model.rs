//! Every order of arrival, success, failure, panic, cancellation and invalidation, tried by a model checker.
//!
//! [Shuttle](https://docs.rs/shuttle) decides which thread goes on at each lock, and finds a deadlock by itself. What
//! callers do here is what the drivers do, with a variable as the store and a number as the value: how many
//! invalidations had begun before its run did.

use std::pin::pin;
use std::sync::PoisonError;
use std::task::{Context, Waker};

use bytes::Bytes;
use shuttle::sync::MutexGuard;
use shuttle::{future, thread};

use super::*;
use crate::function::call::{Arrived, arrive};

const KEY: &[u8] = b"key";

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the run of a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With a value that is stored and shared.
    Value,
    /// With an `Err`: nothing to store, nothing to share.
    Nothing,
    /// With a value that lies where calls look.
    Elsewhere,
    /// By a panic or by being dropped.
    Abandoned,
    /// The call is dropped when it has to wait for the first time.
    Cancelled,
}

#[derive(Default)]
struct World {
    flights: Flights,
    store: Mutex<Option<u64>>,
    /// How many have begun.
    invalidations: AtomicU64,
    /// Runs that lead now.
    leading: AtomicU64,
}

impl World {
    /// A call that missed.
    fn call(&self, end: End) {
        let mut arrival = pin!(arrive(self.flights.join(KEY), None));
        let arrived = match arrival.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(arrived) => arrived,
            std::task::Poll::Pending if end == End::Cancelled => return,
            std::task::Poll::Pending => future::block_on(arrival),
        };
        match arrived {
            Arrived::Lead(leader) => self.run(leader, end),
            Arrived::Elsewhere => self.call(end),
            Arrived::Shared(_) | Arrived::Alone => {}
        }
    }

    fn run(&self, leader: Leader, end: End) {
        let began = self.invalidations.load(Ordering::SeqCst);
        leader.begin_under([0; 16]);
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
                leader.land(Some(Packed::Encoded(Bytes::new())));
            }
            End::Nothing => leader.land(None),
            End::Elsewhere => leader.land_elsewhere(),
            End::Abandoned | End::Cancelled => drop(leader),
        }
    }

    fn invalidate(&self) {
        self.invalidations.fetch_add(1, Ordering::SeqCst);
        if let Some(stored) = self.flights.detach(KEY) {
            future::block_on(stored.done(None));
        }
        *lock(&self.store) = None;
    }

    /// A call that sees that another process has invalidated the key.
    fn call_after_an_invalidation_elsewhere(&self) {
        self.invalidations.fetch_add(1, Ordering::SeqCst);
        self.flights.retire(KEY, |_| true);
        self.call(End::Nothing);
    }
}

/// Tries many orders of these calls at once, and an invalidation among them.
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
        assert!(lock(&world.flights.0.by_key).is_empty(), "nothing is left when nothing runs");
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
fn failures_release_who_waits() {
    model(&[End::Nothing, End::Value, End::Nothing], true);
}

#[test]
fn callers_that_give_up_leave_nothing_behind() {
    model(&[End::Cancelled, End::Value, End::Cancelled, End::Abandoned], true);
}

#[test]
fn all_at_once() {
    model(&[End::Value, End::Nothing, End::Abandoned, End::Cancelled], true);
}

#[test]
fn values_elsewhere_are_looked_for_by_all() {
    model(&[End::Elsewhere, End::Elsewhere, End::Value, End::Abandoned], true);
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
        assert!(lock(&world.flights.0.by_key).is_empty(), "nothing is left when nothing runs");
    };
    shuttle::check_random(scenario, 4_000);
}
