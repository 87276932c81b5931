//! The keys whose renewal failed lately: the old value is served meanwhile, and the body is left alone.
//!
//! Owns nothing but keys and times; how long a pause lasts is for `policy`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::context::lock;

/// More keys than this are not remembered: their next stale hit tries again.
const MOST: usize = 10_000;

/// Keys, and when the pause of each is over.
#[derive(Default)]
pub(crate) struct Pauses {
    until: Mutex<HashMap<Box<[u8]>, u64>>,
    /// Whether there may be any, so that the usual case takes no lock.
    any: AtomicBool,
}

impl Pauses {
    pub(crate) fn holds(&self, key: &[u8], now: u64) -> bool {
        self.any.load(Ordering::Acquire) && lock(&self.until).get(key).is_some_and(|until| now < *until)
    }

    pub(crate) fn start(&self, key: &[u8], now: u64, pause: u64) {
        let mut all = lock(&self.until);
        if all.len() >= MOST {
            all.retain(|_, until| now < *until);
        }
        if all.len() < MOST {
            all.insert(key.into(), now.saturating_add(pause));
            self.any.store(true, Ordering::Release);
        }
    }

    /// Forgets `key`: it has a new value.
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
        assert!(!pauses.any.load(Ordering::Relaxed), "back to the case without a lock");
    }

    #[test]
    fn their_number_is_bounded() {
        let pauses = Pauses::default();
        for key in 0..=MOST as u64 {
            pauses.start(&key.to_le_bytes(), 0, 5);
        }
        assert_eq!(lock(&pauses.until).len(), MOST);
        pauses.start(b"later", 10, 5);
        assert_eq!(lock(&pauses.until).len(), 1, "those that are over make room");
    }
}
