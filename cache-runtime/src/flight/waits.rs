//! Which run waits for which, so that no circle of runs waits for itself.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::common::process::PerProcess;
use crate::common::sync::lock;

thread_local! {
    /// The runs that this thread is inside of, outermost first.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// For each run of this process that waits, by its number, the runs that it waits for.
fn all_waits() -> &'static Mutex<HashMap<u64, Vec<u64>>> {
    static WAITS: PerProcess<Mutex<HashMap<u64, Vec<u64>>>> = PerProcess::new();
    WAITS.get(|_| Mutex::default())
}

/// Marks this thread as inside a run until it is dropped.
pub(crate) struct Inside;

impl Inside {
    #[inline(never)]
    pub(super) fn enter(number: u64) -> Self {
        // The thread-local variable may be gone while the thread shuts down. Then there is nothing to remember.
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

/// Whether this thread or task is inside a run, so that others may be waiting for it.
pub(crate) fn is_inside_a_run() -> bool {
    INSIDE.try_with(|inside| !inside.borrow().is_empty()).unwrap_or(false)
}

/// The record that some runs wait for another. Dropped when they stop waiting.
pub(super) struct Wait {
    runs: Vec<u64>,
    target: u64,
}

/// Records that the runs this thread is inside of wait for `target`; `None` if that would close a circle.
pub(super) fn register(target: u64) -> Option<Wait> {
    let runs = INSIDE.try_with(|inside| inside.borrow().clone()).unwrap_or_default();
    if runs.is_empty() {
        return Some(Wait { runs, target });
    }
    let mut waits = lock(all_waits());
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
    Some(Wait { runs, target })
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.runs.is_empty() {
            return;
        }
        let mut waits = lock(all_waits());
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
