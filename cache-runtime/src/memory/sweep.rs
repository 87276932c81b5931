//! Expired entries are removed in the background, so that they take no memory where nobody reads or stores.
//!
//! A job is scheduled for the earliest deadline of a store and looks at every entry. The next one is scheduled for the
//! next deadline, but a pause later at least, which grows with what a sweep takes: so sweeps take a hundredth of a
//! processor at most. Without entries that expire there is no job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::store::SharedStore;
use crate::common::background;

/// The least time between two sweeps of a store, in nanoseconds.
const PAUSE: u64 = 100_000_000;
/// Sweeps take one part in so many of the time.
const SHARE: u32 = 100;

/// When the next sweep is due on the store's clock; `u64::MAX` if none is scheduled.
pub(super) struct Sweep(AtomicU64);

impl Default for Sweep {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Sweep {
    /// Has `store` swept at `due` or soon after.
    #[inline]
    pub(super) fn ask(store: &Arc<SharedStore>, due: u64, now: u64) {
        let due = due.saturating_add(PAUSE);
        if due < store.sweep().0.load(SeqCst) {
            Self::schedule(store, due, now);
        }
    }

    #[cold]
    fn schedule(store: &Arc<SharedStore>, mut due: u64, now: u64) {
        if store.sweep().0.fetch_min(due, SeqCst) <= due {
            return;
        }
        let weak = Arc::downgrade(store);
        let job = move || {
            let store = weak.upgrade()?;
            // Another job is due before this one, or was.
            let is_mine = store.sweep().0.compare_exchange(due, u64::MAX, SeqCst, SeqCst).is_ok();
            let (next, delay) = is_mine.then(|| sweep(&store)).flatten()?;
            due = next;
            (store.sweep().0.fetch_min(due, SeqCst) > due).then_some(delay)
        };
        if !background::schedule(Duration::from_nanos(due.saturating_sub(now)), job) {
            store.sweep().0.store(u64::MAX, SeqCst);
        }
    }
}

/// Sweeps; returns when the next sweep is due, and in what time.
fn sweep(store: &SharedStore) -> Option<(u64, Duration)> {
    let (started, now) = (Instant::now(), store.clock.monotonic());
    // An entry that is stored from here on schedules the next sweep if this one doesn't see it.
    let next = store.remove_expired(now);
    let pause = u64::try_from((started.elapsed() * SHARE).as_nanos()).unwrap_or(u64::MAX).max(PAUSE);
    let delay = next.saturating_sub(now).max(pause);
    (next != u64::MAX).then(|| (now.saturating_add(delay), Duration::from_nanos(delay)))
}
