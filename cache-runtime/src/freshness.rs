//! What a look-up finds, how fresh it is, and how long values live: pure decisions from times, options and dice.
//!
//! Knows no store, no clock and no key. Times are nanoseconds on the caller's clock; `u64::MAX` never ends. Dice are
//! numbers from 0 to 1, drawn only where an option needs them.

use std::time::Duration;

use crate::common::clock::nanos;
use crate::value::Packed;

/// An entry that may be served if it unpacks.
pub(crate) struct Found {
    pub(crate) packed: Packed,
    /// The time that the run behind it took.
    pub(crate) cost: Duration,
    /// Never [`Freshness::Expired`].
    pub(crate) freshness: Freshness,
    pub(crate) source: Source,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// An entry: a hit.
    Entry,
    /// A result in the fallback store, because the server couldn't take it: a hit too.
    Fallback,
    /// A run that another call had begun.
    Run,
}

/// Where the value of a call comes from, as the companion `lookup` tells.
///
/// ```
/// use cache_runtime::{Origin, cached};
///
/// #[cached(ttl = 60)]
/// fn square(n: u64) -> u64 { n * n }
///
/// assert_eq!(square::lookup(7), (49, Origin::Run));
/// assert_eq!(square::lookup(7), (49, Origin::Memory));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// An entry in the memory of this process.
    Memory,
    /// An entry on the function's backend.
    Server,
    /// An entry past its `ttl`, which is being renewed, or couldn't be.
    Stale,
    /// A result that this process keeps because the backend didn't take it.
    Fallback,
    /// A run that another call had begun, and for which this one waited.
    Waited,
    /// The body, which this call ran.
    Run,
}

impl Found {
    pub(crate) fn origin(&self) -> Origin {
        match (self.source, self.freshness, &self.packed) {
            (Source::Run, ..) => Origin::Waited,
            (_, Freshness::Stale | Freshness::Reserve, _) => Origin::Stale,
            (Source::Fallback, ..) => Origin::Fallback,
            (Source::Entry, _, Packed::Typed(..)) => Origin::Memory,
            (Source::Entry, _, Packed::Encoded(_)) => Origin::Server,
        }
    }
}

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Serve it.
    Fresh,
    /// Serve it and renew it: it expires soon.
    Early,
    /// Serve it and renew it: it has expired, but is within the stale window.
    Stale,
    /// Serve it if the body fails: it has expired, but is within the window of `on_error`.
    Reserve,
    /// Don't serve it.
    Expired,
}

/// A read lengthens the life of an entry only by at least this part of `idle`.
const IDLE_STEPS: u64 = 16;

/// How far the clocks of two machines may differ without consequences, in milliseconds.
const SKEW_MS: u64 = 1_000;

/// Whether an entry was written by a clock that is ahead of this one: it comes from the future. Then nobody knows when its
/// lifetime ends, so it is due at once.
#[inline]
pub(crate) fn is_from_future(now_ms: u64, created_ms: u64) -> bool {
    created_ms > now_ms.saturating_add(SKEW_MS)
}

/// The options `stale`, `on_error`, `idle`, `early` and `jitter`, as generated code states them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FreshnessOptions {
    /// `stale`: how long after its lifetime a value is served while it is renewed.
    pub(crate) stale: Option<fn() -> Duration>,
    /// `on_error`: how long after its lifetime a value is served if the body fails.
    pub(crate) on_error: Option<fn() -> Duration>,
    /// `idle`: how long a value in memory lives after each read, within its lifetime.
    pub(crate) idle: Option<fn() -> Duration>,
    /// `early`: how eagerly a value is renewed before it expires, which is the β of XFetch; 0 is off.
    pub(crate) early: f64,
    /// `jitter`: the largest fraction by which a lifetime is shortened at random; 0 is off.
    pub(crate) jitter: f64,
}

/// The same options, ready to decide with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FreshnessPolicy {
    /// Nanoseconds after the lifetime.
    stale: u64,
    on_error: u64,
    /// Nanoseconds after a read.
    idle: Option<u64>,
    early: f64,
    jitter: f64,
}

impl FreshnessPolicy {
    pub(crate) fn new(options: &FreshnessOptions) -> Self {
        let FreshnessOptions { stale, on_error, idle, early, jitter } = *options;
        let [stale, on_error] = [stale, on_error].map(|window| window.map_or(0, |window| nanos(window())));
        Self { stale, on_error, idle: idle.map(|idle| nanos(idle())), early, jitter }
    }

    /// How many nanoseconds an entry is kept after it has expired.
    pub(crate) fn stale_window(&self) -> u64 {
        self.stale.max(self.on_error)
    }

    /// How many nanoseconds an entry lives after each read.
    pub(crate) fn idle(&self) -> Option<u64> {
        self.idle
    }

    /// How many nanoseconds before its deadline an entry that is read lives longer from then on. Most reads leave it alone.
    pub(crate) fn idle_margin(&self) -> u64 {
        self.idle.map_or(0, |idle| idle - idle / IDLE_STEPS)
    }

    /// Whether values are kept for the case that the body fails.
    pub(crate) fn keeps_reserves(&self) -> bool {
        self.on_error > 0
    }

    /// Whether entries are renewed before they expire.
    pub(crate) fn renews_early(&self) -> bool {
        self.early > 0.0
    }

    /// How fresh an entry is whose value took `cost` to compute.
    ///
    /// `early` is XFetch: each caller renews with a probability that grows exponentially towards the end, in units of the
    /// cost, so that one of many renews in time (Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic Cache Stampede
    /// Prevention", VLDB 2015). `stale` is `stale-while-revalidate` and `stale-if-error` (RFC 5861).
    #[inline]
    pub(crate) fn freshness(
        &self,
        now: u64,
        fresh_until: u64,
        cost: Duration,
        dice: impl FnOnce() -> f64,
    ) -> Freshness {
        if now < fresh_until {
            let is_early = self.renews_early() && self.is_early(fresh_until - now, cost, dice());
            if is_early { Freshness::Early } else { Freshness::Fresh }
        } else if now < fresh_until.saturating_add(self.stale) {
            Freshness::Stale
        } else if now < fresh_until.saturating_add(self.on_error) {
            Freshness::Reserve
        } else {
            Freshness::Expired
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a probability")]
    fn is_early(&self, left: u64, cost: Duration, dice: f64) -> bool {
        // Never 0, whose logarithm is infinite.
        let dice = (1.0 - dice).max(f64::MIN_POSITIVE);
        nanos(cost) as f64 * self.early * -dice.ln() >= left as f64
    }

    /// A lifetime with jitter, so that entries stored together don't expire together. Never longer than `life` and never
    /// zero.
    pub(crate) fn lifetime(&self, life: Duration, dice: impl FnOnce() -> f64) -> Duration {
        if self.jitter <= 0.0 || life.is_zero() {
            return life;
        }
        let taken = life.as_secs_f64() * self.jitter * dice();
        let taken = Duration::try_from_secs_f64(taken).unwrap_or_default();
        life.saturating_sub(taken).max(Duration::from_nanos(1))
    }

    /// The pause after a failed renewal, in nanoseconds: a tenth of the time that an entry is kept, from 0.1 to 10 seconds.
    pub(crate) fn pause(&self) -> u64 {
        (self.stale_window() / 10).clamp(100_000_000, 10_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn policy(stale: u64, early: f64, jitter: f64) -> FreshnessPolicy {
        FreshnessPolicy { stale, on_error: 0, idle: None, early, jitter }
    }

    fn freshness(policy: FreshnessPolicy, now: u64, dice: f64) -> Freshness {
        policy.freshness(now, 10 * SECOND, Duration::from_secs(1), || dice)
    }

    #[test]
    fn after_its_stale_window_a_value_is_kept_for_failures() {
        let policy = FreshnessPolicy { on_error: 5 * SECOND, ..policy(2 * SECOND, 0.0, 0.0) };
        let at = |second: u64| freshness(policy, second * SECOND, 0.0);
        assert_eq!([9, 10, 12, 14, 15].map(at), {
            use Freshness::{Expired, Fresh, Reserve, Stale};
            [Fresh, Stale, Reserve, Reserve, Expired]
        });
    }

    #[test]
    fn without_options_a_value_is_fresh_or_expired() {
        let plain = policy(0, 0.0, 0.0);
        assert_eq!(freshness(plain, 10 * SECOND - 1, 0.999_999), Freshness::Fresh);
        assert_eq!(freshness(plain, 10 * SECOND, 0.0), Freshness::Expired);
        assert_eq!(plain.freshness(u64::MAX - 1, u64::MAX, Duration::MAX, || 1.0), Freshness::Fresh);
    }

    #[test]
    fn a_stale_window_has_an_end() {
        let stale = policy(5 * SECOND, 0.0, 0.0);
        assert_eq!(freshness(stale, 10 * SECOND - 1, 0.0), Freshness::Fresh);
        assert_eq!(freshness(stale, 10 * SECOND, 0.0), Freshness::Stale);
        assert_eq!(freshness(stale, 15 * SECOND - 1, 0.0), Freshness::Stale);
        assert_eq!(freshness(stale, 15 * SECOND, 0.0), Freshness::Expired);
        assert_eq!(stale.freshness(5, u64::MAX, Duration::ZERO, || 0.0), Freshness::Fresh, "never ends");
    }

    /// The chance to renew is e^(-left / (β cost)).
    #[test]
    fn chances_of_an_early_renewal_are_those_of_xfetch() {
        let early = policy(0, 1.0, 0.0);
        let one_cost_before = 9 * SECOND;
        let threshold = 1.0 - (-1.0_f64).exp();
        assert_eq!(freshness(early, one_cost_before, threshold - 0.001), Freshness::Fresh);
        assert_eq!(freshness(early, one_cost_before, threshold + 0.001), Freshness::Early);
        // With β = 2, two costs before the end are as likely.
        let eager = policy(0, 2.0, 0.0);
        assert_eq!(freshness(eager, 8 * SECOND, threshold - 0.001), Freshness::Fresh);
        assert_eq!(freshness(eager, 8 * SECOND, threshold + 0.001), Freshness::Early);
        // Without a cost no draw is early, and the largest draw is not infinite.
        assert_eq!(early.freshness(0, SECOND, Duration::ZERO, || 1.0), Freshness::Fresh);
        assert_eq!(early.freshness(0, u64::MAX, Duration::from_secs(1), || 1.0), Freshness::Fresh);
    }

    #[test]
    fn jitter_shortens_and_never_lengthens() {
        let jitter = policy(0, 0.0, 0.1);
        let life = Duration::from_secs(100);
        assert_eq!(jitter.lifetime(life, || 0.0), life);
        assert_eq!(jitter.lifetime(life, || 0.5), Duration::from_secs(95));
        assert_eq!(jitter.lifetime(life, || 1.0), Duration::from_secs(90));
        assert_eq!(policy(0, 0.0, 0.0).lifetime(life, || 1.0), life);
        assert_eq!(jitter.lifetime(Duration::MAX, || 0.0), Duration::MAX);
        assert!(jitter.lifetime(Duration::MAX, || 1.0) < Duration::MAX);
        assert_eq!(policy(0, 0.0, 1.0).lifetime(life, || 1.0), Duration::from_nanos(1), "not zero");
    }

    #[test]
    fn pauses_are_a_tenth_of_the_window_within_bounds() {
        assert_eq!(policy(30 * SECOND, 0.0, 0.0).pause(), 3 * SECOND);
        assert_eq!(policy(SECOND / 10, 0.0, 0.0).pause(), SECOND / 10);
        assert_eq!(policy(3600 * SECOND, 0.0, 0.0).pause(), 10 * SECOND);
    }
}
