//! The live counters behind [`Stats`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::Stats;
use crate::common::clock::nanos;
use crate::common::stripe::{STRIPES, Stripe};

/// The live counters behind [`Stats`].
#[derive(Default)]
pub(crate) struct Counters {
    /// Hits, and the time they saved.
    pub(crate) hits: Hits,
    pub(crate) misses: Counter,
    pub(crate) stale: Counter,
    pub(crate) fallback_hits: Counter,
    pub(crate) waits: Counter,
    pub(crate) runs: Counter,
    pub(crate) stores: Counter,
    pub(crate) errors: Counter,
    pub(crate) decode_failures: Counter,
    pub(crate) too_large: Counter,
    pub(crate) body_nanos: Counter,
    /// The time that other answers saved.
    pub(crate) saved_nanos: Counter,
}

impl Counters {
    pub(crate) fn snapshot(
        &self,
        function: &str,
        backend: &'static str,
        (entries, evictions): (u64, u64),
    ) -> Stats {
        let (hits, saved_by_hits) = self.hits.sum();
        Stats {
            function: function.to_owned(),
            backend,
            hits,
            misses: self.misses.get(),
            stale: self.stale.get(),
            fallback_hits: self.fallback_hits.get(),
            waits: self.waits.get(),
            runs: self.runs.get(),
            stores: self.stores.get(),
            errors: self.errors.get(),
            decode_failures: self.decode_failures.get(),
            too_large: self.too_large.get(),
            entries,
            evictions,
            body_time: Duration::from_nanos(self.body_nanos.get()),
            saved_time: Duration::from_nanos(self.saved_nanos.get().wrapping_add(saved_by_hits)),
        }
    }
}

/// A number that only grows. It would take centuries to wrap.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn time(&self, duration: Duration) {
        self.0.fetch_add(nanos(duration), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The hits, which each thread counts in a stripe of its own.
pub(crate) struct Hits(Box<[StripeCounts; STRIPES]>);

/// As wide as a cache line, so that neighbors don't contend.
#[derive(Default)]
#[repr(align(64))]
struct StripeCounts {
    hits: AtomicU64,
    saved_nanos: AtomicU64,
}

impl Hits {
    /// Counts a hit that saved `saved` nanoseconds, in the stripe of this thread.
    #[inline]
    pub(crate) fn one(&self, saved: u64, stripe: Stripe) {
        let Some(counts) = self.0.get(stripe.index()) else { return };
        for (number, by) in [(&counts.hits, 1), (&counts.saved_nanos, saved)] {
            if stripe.is_own() {
                number.store(number.load(Relaxed).wrapping_add(by), Relaxed);
            } else {
                number.fetch_add(by, Relaxed);
            }
        }
    }

    fn sum(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(hits, saved), stripe| {
            (
                hits.wrapping_add(stripe.hits.load(Relaxed)),
                saved.wrapping_add(stripe.saved_nanos.load(Relaxed)),
            )
        })
    }
}

impl Default for Hits {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| StripeCounts::default())))
    }
}
