//! Time as the cache sees it: the system's clocks, or one that a test moves by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far the coarse clock may lag behind the exact one, in nanoseconds. It stands still between two ticks of the kernel,
/// which are 10 ms apart at most, and both of its readings (now and at the origin) may be that old.
const COARSENESS: u64 = 50_000_000;

/// The source of "now".
#[derive(Clone)]
pub(crate) enum Clock {
    /// The machine's clocks.
    System {
        /// The origin of `monotonic`.
        origin: Instant,
        /// The same on the coarse clock.
        coarse: Coarse,
    },
    /// Nanoseconds since the Unix epoch. Only [`Clock::advance`] moves it.
    Manual(Arc<AtomicU64>),
}

/// A clock that takes a fifth of the time to read, where the system has one.
#[cfg(target_os = "linux")]
type Coarse = coarsetime::Instant;
#[cfg(not(target_os = "linux"))]
type Coarse = Instant;

#[inline]
fn coarse() -> Coarse {
    #[cfg(target_os = "linux")]
    return Coarse::now_without_cache_update();
    #[cfg(not(target_os = "linux"))]
    return Coarse::now();
}

/// Nanoseconds from `origin` to now by the coarse clock.
#[inline]
fn coarse_since(origin: Coarse) -> u64 {
    #[cfg(target_os = "linux")]
    return coarse().duration_since(origin).as_nanos();
    #[cfg(not(target_os = "linux"))]
    return nanos(coarse().duration_since(origin));
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self::System { origin: Instant::now(), coarse: coarse() }
    }

    /// A clock that starts now and stands still.
    pub(crate) fn manual() -> Self {
        Self::Manual(Arc::new(AtomicU64::new(nanos(since_epoch()))))
    }

    /// Nanoseconds since a fixed origin. Never jumps; deadlines inside this process use it.
    pub(crate) fn monotonic(&self) -> u64 {
        match self {
            Self::System { origin, .. } => nanos(origin.elapsed()),
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// What [`monotonic`](Self::monotonic) was at `instant`, without reading the system's clock again. A manual clock knows
    /// only its present.
    pub(crate) fn monotonic_at(&self, instant: Instant) -> u64 {
        match self {
            Self::System { origin, .. } => nanos(instant.saturating_duration_since(*origin)),
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    /// Whether `deadline`, in the nanoseconds of [`monotonic`](Self::monotonic), is in the future. Exact: the coarse clock
    /// decides only where it can't be wrong.
    #[inline]
    pub(crate) fn is_before(&self, deadline: u64) -> bool {
        match self {
            _ if deadline == u64::MAX => true,
            Self::System { coarse, .. } if coarse_since(*coarse).saturating_add(COARSENESS) < deadline => {
                true
            }
            Self::System { .. } | Self::Manual(_) => self.monotonic() < deadline,
        }
    }

    /// Milliseconds since the Unix epoch. Deadlines that other machines read use this clock.
    pub(crate) fn unix_ms(&self) -> u64 {
        match self {
            Self::System { .. } => millis(since_epoch()),
            Self::Manual(now) => now.load(Ordering::SeqCst) / 1_000_000,
        }
    }

    /// Moves a manual clock forward. Does nothing to the system's clock.
    pub(crate) fn advance(&self, by: Duration) {
        if let Self::Manual(now) = self {
            now.fetch_add(nanos(by), Ordering::SeqCst);
        }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `duration` in nanoseconds, capped at `u64::MAX` (584 years).
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `duration` in milliseconds, capped at `u64::MAX`.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_exact_on_the_coarse_clock_too() {
        let clock = Clock::system();
        let mut margin = 2 * COARSENESS;
        // Polls each deadline until it has passed: the two clocks never disagree.
        while margin > 0 {
            let deadline = clock.monotonic() + margin;
            loop {
                let before = clock.monotonic();
                let is_before = clock.is_before(deadline);
                let after = clock.monotonic();
                assert!(is_before || after >= deadline, "early by {}", deadline - after);
                assert!(!is_before || before < deadline, "late by {}", before - deadline);
                if !is_before {
                    break;
                }
            }
            margin /= 4;
        }
        assert!(clock.is_before(u64::MAX));
    }

    #[test]
    fn a_manual_clock_is_exact() {
        let clock = Clock::manual();
        let deadline = clock.monotonic() + 10;
        clock.advance(Duration::from_nanos(9));
        assert!(clock.is_before(deadline));
        clock.advance(Duration::from_nanos(1));
        assert!(!clock.is_before(deadline));
    }
}
