//! Time, as the cache sees it: the system's, or one that a test moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where "now" comes from.
#[derive(Clone)]
pub(crate) enum Clock {
    /// The machine's clocks; the instant is the origin of `monotonic`.
    System(Instant),
    /// Nanoseconds since the Unix epoch, moved by [`Clock::advance`] only.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self::System(Instant::now())
    }

    /// A clock that starts at the present and stands still.
    pub(crate) fn manual() -> Self {
        Self::Manual(Arc::new(AtomicU64::new(nanos(since_epoch()))))
    }

    /// Nanoseconds from a fixed origin; never jumps. Deadlines inside this process use it.
    pub(crate) fn monotonic(&self) -> u64 {
        match self {
            Self::System(origin) => nanos(origin.elapsed()),
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Milliseconds since the Unix epoch. Deadlines that other machines read use it.
    pub(crate) fn unix_ms(&self) -> u64 {
        match self {
            Self::System(_) => millis(since_epoch()),
            Self::Manual(now) => now.load(Ordering::SeqCst) / 1_000_000,
        }
    }

    /// Moves a manual clock forward; the system's can't be moved.
    pub(crate) fn advance(&self, by: Duration) {
        if let Self::Manual(now) = self {
            now.fetch_add(nanos(by), Ordering::SeqCst);
        }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Nanoseconds, at the most `u64::MAX` (584 years).
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds, at the most `u64::MAX`.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
