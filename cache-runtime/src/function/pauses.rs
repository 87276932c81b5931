//! Keys whose renewal failed recently. Their old values are served meanwhile, and the body doesn't run.
//!
//! Owns keys and times only. [`FreshnessPolicy`](crate::freshness::FreshnessPolicy) decides how long a pause lasts.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::sync::lock;

/// The most keys that are remembered. The next stale hit of any other key tries again.
const MAX_PAUSES: usize = 10_000;

/// Keys, and when the pause of each ends.
#[derive(Default)]
pub(crate) struct Pauses {
    until: Mutex<HashMap<Box<[u8]>, u64>>,
    /// Whether there may be any. The usual case takes no lock.
    any: AtomicBool,
}

impl Pauses {
    pub(crate) fn holds(&self, key: &[u8], now: u64) -> bool {
        self.any.load(Ordering::Acquire) && lock(&self.until).get(key).is_some_and(|until| now < *until)
    }

    pub(crate) fn start(&self, key: &[u8], now: u64, pause: u64) {
        let mut all = lock(&self.until);
        if all.len() >= MAX_PAUSES {
            all.retain(|_, until| now < *until);
        }
        if all.len() < MAX_PAUSES {
            all.insert(key.into(), now.saturating_add(pause));
            self.any.store(true, Ordering::Release);
        }
    }

    /// Ends the pause of `key`, which has a new value.
    pub(crate) fn end(&self, key: &[u8]) {
        if self.any.load(Ordering::Acquire) {
            let mut all = lock(&self.until);
            all.remove(key);
            self.any.store(!all.is_empty(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_until_it_is_over_or_ended() {
        let pauses = Pauses::default();
        assert!(!pauses.holds(b"a", 0));
        pauses.start(b"a", 10, 5);
        pauses.start(b"b", 10, 5);
        assert!(pauses.holds(b"a", 14) && !pauses.holds(b"a", 15) && !pauses.holds(b"c", 10));
        pauses.end(b"a");
        assert!(!pauses.holds(b"a", 10) && pauses.holds(b"b", 10));
        pauses.end(b"b");
        assert!(!pauses.any.load(Ordering::Relaxed), "no lock from now on");
    }

    #[test]
    fn their_number_is_bounded() {
        let pauses = Pauses::default();
        for key in 0..=MAX_PAUSES as u64 {
            pauses.start(&key.to_le_bytes(), 0, 5);
        }
        assert_eq!(lock(&pauses.until).len(), MAX_PAUSES);
        pauses.start(b"later", 10, 5);
        assert_eq!(lock(&pauses.until).len(), 1, "pauses that are over make room");
    }
}
