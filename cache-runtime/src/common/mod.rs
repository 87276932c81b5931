//! Locks, clocks, counters and waiting. Knows nothing of caching.

pub(crate) mod background;
pub(crate) mod catch;
pub(crate) mod clock;
pub(crate) mod report;
pub(crate) mod seqlock;
pub(crate) mod stripe;
pub(crate) mod sync;
pub(crate) mod wait;
