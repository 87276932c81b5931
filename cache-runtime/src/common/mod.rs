//! Locks, clocks, counters, random numbers, waiting, and what `fork` does to them. Knows nothing of caching.

pub(crate) mod background;
pub(crate) mod catch;
pub(crate) mod clock;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod report;
pub(crate) mod seqlock;
pub(crate) mod stripe;
pub(crate) mod sync;
pub(crate) mod wait;
