//! How fresh an entry is, and for how long one lives: pure decisions from times, options and dice.
//!
//! Knows no store, no clock and no key. Times are nanoseconds of whatever clock the caller uses, the end of a life that
//! never ends is `u64::MAX`, and dice are numbers from 0 to 1, thrown only where an option asks for them.

use std::time::Duration;

use crate::common::clock::nanos;

/// The options `stale`, `early` and `jitter`, as generated code states them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Freshness {
    /// `stale`: for how long after its lifetime a value is served while it is renewed.
    pub(crate) stale: Option<fn() -> Duration>,
    /// `early`: how eagerly a value is renewed before its end, XFetch's β; 0 is off.
    pub(crate) early: f64,
    /// `jitter`: the part of a lifetime that chance may take away; 0 is off.
    pub(crate) jitter: f64,
}

/// The same, ready to decide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge {
    /// Nanoseconds.
    stale: u64,
    early: f64,
    jitter: f64,
}

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Serve it.
    Fresh,
    /// Serve it, and renew it: it ends soon.
    Early,
    /// Serve it, and renew it: it has ended.
    Stale,
    /// Don't serve it.
    Gone,
}

impl Judge {
    pub(crate) fn new(freshness: &Freshness) -> Self {
        let Freshness { stale, early, jitter } = *freshness;
        Self { stale: stale.map_or(0, |stale| nanos(stale())), early, jitter }
    }

    /// For how many nanoseconds after its end an entry is kept.
    pub(crate) fn grace(&self) -> u64 {
        self.stale
    }

    /// Whether entries are renewed before their end.
    pub(crate) fn is_eager(&self) -> bool {
        self.early > 0.0
    }

    /// Judges an entry whose value took `cost` to make.
    ///
    /// `early` is XFetch: each caller renews with a probability that grows towards the end, exponentially and in units of
    /// the cost, so that one of many does so in time (Vattani, Chierichetti, Lowenstein: "Optimal Probabilistic Cache
    /// Stampede Prevention", VLDB 2015). `stale` is `stale-while-revalidate` and `stale-if-error` (RFC 5861).
    #[inline]
    pub(crate) fn verdict(
        &self,
        now: u64,
        fresh_until: u64,
        cost: Duration,
        dice: impl FnOnce() -> f64,
    ) -> Verdict {
        if now < fresh_until {
            match self.is_eager() && self.is_early(fresh_until - now, cost, dice()) {
                true => Verdict::Early,
                false => Verdict::Fresh,
            }
        } else if now < fresh_until.saturating_add(self.stale) {
            Verdict::Stale
        } else {
            Verdict::Gone
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a probability")]
    fn is_early(&self, left: u64, cost: Duration, dice: f64) -> bool {
        // From 0 to 1, 0 apart: its logarithm has no end.
        let dice = (1.0 - dice).max(f64::MIN_POSITIVE);
        nanos(cost) as f64 * self.early * -dice.ln() >= left as f64
    }

    /// A lifetime, shortened by chance so that entries made together don't end together; never lengthened, never zero.
    pub(crate) fn lifetime(&self, life: Duration, dice: impl FnOnce() -> f64) -> Duration {
        if self.jitter <= 0.0 || life.is_zero() {
            return life;
        }
        let taken = life.as_secs_f64() * self.jitter * dice();
        let taken = Duration::try_from_secs_f64(taken).unwrap_or_default();
        life.saturating_sub(taken).max(Duration::from_nanos(1))
    }

    /// How long after a renewal that failed the next is tried: a tenth of the stale window, from 0.1 to 10 seconds.
    pub(crate) fn pause(&self) -> u64 {
        (self.stale / 10).clamp(100_000_000, 10_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn judge_with(stale: u64, early: f64, jitter: f64) -> Judge {
        Judge { stale, early, jitter }
    }

    fn verdict(judge: Judge, now: u64, dice: f64) -> Verdict {
        judge.verdict(now, 10 * SECOND, Duration::from_secs(1), || dice)
    }

    #[test]
    fn without_options_a_value_is_fresh_or_gone() {
        let plain = judge_with(0, 0.0, 0.0);
        assert_eq!(verdict(plain, 10 * SECOND - 1, 0.999_999), Verdict::Fresh);
        assert_eq!(verdict(plain, 10 * SECOND, 0.0), Verdict::Gone);
        assert_eq!(plain.verdict(u64::MAX - 1, u64::MAX, Duration::MAX, || 1.0), Verdict::Fresh);
    }

    #[test]
    fn a_stale_window_has_an_end() {
        let stale = judge_with(5 * SECOND, 0.0, 0.0);
        assert_eq!(verdict(stale, 10 * SECOND - 1, 0.0), Verdict::Fresh);
        assert_eq!(verdict(stale, 10 * SECOND, 0.0), Verdict::Stale);
        assert_eq!(verdict(stale, 15 * SECOND - 1, 0.0), Verdict::Stale);
        assert_eq!(verdict(stale, 15 * SECOND, 0.0), Verdict::Gone);
        assert_eq!(stale.verdict(5, u64::MAX, Duration::ZERO, || 0.0), Verdict::Fresh, "never ends");
    }

    /// The chance to renew is e^(-left / (β cost)).
    #[test]
    fn chances_of_an_early_renewal_are_those_of_xfetch() {
        let early = judge_with(0, 1.0, 0.0);
        let one_cost_before = 9 * SECOND;
        let threshold = 1.0 - (-1.0_f64).exp();
        assert_eq!(verdict(early, one_cost_before, threshold - 0.001), Verdict::Fresh);
        assert_eq!(verdict(early, one_cost_before, threshold + 0.001), Verdict::Early);
        // Twice as eager: as likely two costs before the end.
        let eager = judge_with(0, 2.0, 0.0);
        assert_eq!(verdict(eager, 8 * SECOND, threshold - 0.001), Verdict::Fresh);
        assert_eq!(verdict(eager, 8 * SECOND, threshold + 0.001), Verdict::Early);
        // No throw is early without a cost, and the last one is no infinity.
        assert_eq!(early.verdict(0, SECOND, Duration::ZERO, || 1.0), Verdict::Fresh);
        assert_eq!(early.verdict(0, u64::MAX, Duration::from_secs(1), || 1.0), Verdict::Fresh);
    }

    #[test]
    fn jitter_shortens_and_never_lengthens() {
        let jitter = judge_with(0, 0.0, 0.1);
        let life = Duration::from_secs(100);
        assert_eq!(jitter.lifetime(life, || 0.0), life);
        assert_eq!(jitter.lifetime(life, || 0.5), Duration::from_secs(95));
        assert_eq!(jitter.lifetime(life, || 1.0), Duration::from_secs(90));
        assert_eq!(judge_with(0, 0.0, 0.0).lifetime(life, || 1.0), life);
        assert_eq!(jitter.lifetime(Duration::MAX, || 0.0), Duration::MAX);
        assert!(jitter.lifetime(Duration::MAX, || 1.0) < Duration::MAX);
        assert_eq!(judge_with(0, 0.0, 1.0).lifetime(life, || 1.0), Duration::from_nanos(1), "not zero");
    }

    #[test]
    fn pauses_are_a_tenth_of_the_window_within_bounds() {
        assert_eq!(judge_with(30 * SECOND, 0.0, 0.0).pause(), 3 * SECOND);
        assert_eq!(judge_with(SECOND / 10, 0.0, 0.0).pause(), SECOND / 10);
        assert_eq!(judge_with(3600 * SECOND, 0.0, 0.0).pause(), 10 * SECOND);
    }
}
