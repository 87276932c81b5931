//! Results that a server could not take stay in this process for some seconds, so that an outage of the cache is not
//! one of what stands behind it.
//!
//! They are few and short-lived, because other processes can't invalidate what is here. Knows no server and no run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;

use crate::common::clock::{Clock, nanos};
use crate::config::context::lock;
use crate::error::ErrorKind;
use crate::remote::envelope::Group as Token;

/// How long a result stays while the server can't be asked.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// How long one stays that the server answers for but doesn't take: others may invalidate it there meanwhile.
const REFUSED: Duration = Duration::from_secs(1);

const MAX_RESULTS: usize = 10_000;
const MAX_BYTES: usize = 32 << 20;

/// The results of one function for one server, by their keys there.
#[derive(Default)]
pub(crate) struct Outage {
    /// Whether there may be any: while all is well no call takes the lock.
    has_any: AtomicBool,
    /// Counts the clears, so that what ran before one isn't kept after it.
    clears: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    results: HashMap<Vec<u8>, Held, RandomState>,
    bytes: usize,
    /// How many are not refused, but here because the server can't be asked.
    unreachable: usize,
    /// Nothing expires before this.
    next_expiry: u64,
}

/// What a run gave, and when it began: after so many clears, in a generation if the server told it.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) payload: Bytes,
    /// What the run took.
    pub(crate) cost: Duration,
    pub(crate) clears: u64,
    pub(crate) generation: Option<Token>,
}

struct Held {
    outcome: Outcome,
    until: u64,
    is_refused: bool,
}

impl Outage {
    /// How many clears there were, for a run that begins.
    pub(crate) fn clears(&self) -> u64 {
        self.clears.load(Ordering::Relaxed)
    }

    /// Keeps a result, for `life` at the most, because storing it failed for the reason `why`.
    pub(crate) fn keep(
        &self,
        key: Vec<u8>,
        outcome: Outcome,
        life: Option<Duration>,
        why: ErrorKind,
        clock: &Clock,
    ) {
        let time = match why {
            ErrorKind::Server => REFUSED,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Denied | ErrorKind::Protocol => {
                UNREACHABLE
            }
            // The fault is the value's.
            _ => return,
        };
        let now = clock.monotonic();
        let until = now.saturating_add(nanos(life.map_or(time, |life| life.min(time))));
        let mut kept = lock(&self.kept);
        if outcome.clears == self.clears() {
            kept.insert(key, Held { outcome, until, is_refused: why == ErrorKind::Server }, now);
            self.has_any.store(true, Ordering::Release);
        }
    }

    /// What is kept under `key`, for a call that the server doesn't answer.
    pub(crate) fn unanswered(&self, key: &[u8], clock: &Clock) -> Option<Outcome> {
        let kept = self.kept_if_any()?;
        kept.get(key, clock.monotonic()).map(|held| held.outcome.clone())
    }

    /// The server is back: what is here because it couldn't be asked goes.
    pub(crate) fn answered(&self, clock: &Clock) {
        let Some(mut kept) = self.kept_if_any() else { return };
        let now = clock.monotonic();
        if kept.unreachable > 0 || kept.next_expiry <= now {
            kept.retain(|held| held.is_refused && now < held.until);
        }
    }

    /// What is kept under `key`, for a call that the server answers with nothing.
    pub(crate) fn missed(&self, key: &[u8], generation: Token, clock: &Clock) -> Option<Outcome> {
        let kept = self.kept_if_any()?;
        let held =
            kept.get(key, clock.monotonic()).filter(|held| held.outcome.generation == Some(generation))?;
        Some(held.outcome.clone())
    }

    /// Forgets what is under `key`.
    pub(crate) fn remove(&self, key: &[u8]) {
        if let Some(mut kept) = self.kept_if_any() {
            kept.remove(key);
        }
    }

    /// Forgets everything, and what runs now.
    pub(crate) fn clear(&self) {
        let mut kept = lock(&self.kept);
        self.clears.fetch_add(1, Ordering::Relaxed);
        kept.retain(|_| false);
    }

    fn kept_if_any(&self) -> Option<MutexGuard<'_, Kept>> {
        if !self.has_any.load(Ordering::Acquire) {
            return None;
        }
        let kept = lock(&self.kept);
        if kept.results.is_empty() {
            self.has_any.store(false, Ordering::Release);
            return None;
        }
        Some(kept)
    }
}

impl Kept {
    fn get(&self, key: &[u8], now: u64) -> Option<&Held> {
        self.results.get(key).filter(|held| now < held.until)
    }

    /// Keeps a result if there is room: what is here goes by itself in a moment.
    fn insert(&mut self, key: Vec<u8>, held: Held, now: u64) {
        self.remove(&key);
        let size = size(&key, &held);
        let is_full = |kept: &Self| kept.results.len() >= MAX_RESULTS || kept.bytes + size > MAX_BYTES;
        if is_full(self) && self.next_expiry <= now {
            self.retain(|held| now < held.until);
        }
        if is_full(self) {
            return;
        }
        if self.results.is_empty() || held.until < self.next_expiry {
            self.next_expiry = held.until;
        }
        self.bytes += size;
        self.unreachable += usize::from(!held.is_refused);
        self.results.insert(key, held);
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, held)) = self.results.remove_entry(key) {
            self.bytes -= size(&key, &held);
            self.unreachable -= usize::from(!held.is_refused);
        }
    }

    fn retain(&mut self, stays: impl Fn(&Held) -> bool) {
        self.results.retain(|_, held| stays(held));
        self.bytes = self.results.iter().map(|(key, held)| size(key, held)).sum();
        self.unreachable = self.results.values().filter(|held| !held.is_refused).count();
        self.next_expiry = self.results.values().map(|held| held.until).min().unwrap_or(u64::MAX);
        if self.results.is_empty() {
            self.results = HashMap::default();
        }
    }
}

fn size(key: &[u8], held: &Held) -> usize {
    key.len() + held.outcome.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Token = [1; 16];

    struct Kept {
        outage: Outage,
        clock: Clock,
    }

    impl Kept {
        fn new() -> Self {
            Self { outage: Outage::default(), clock: Clock::manual() }
        }

        fn keep(&self, key: &str, why: ErrorKind, life: Option<Duration>) {
            self.outage.keep(key.into(), outcome(0), life, why, &self.clock);
        }

        fn has(&self, key: &str) -> bool {
            self.outage.unanswered(key.as_bytes(), &self.clock).is_some()
        }
    }

    fn outcome(clears: u64) -> Outcome {
        let payload = Bytes::from_static(b"value");
        Outcome { payload, cost: Duration::ZERO, clears, generation: Some(HERE) }
    }

    #[test]
    fn results_stay_as_long_as_their_reason_and_their_life_allow() {
        let kept = Kept::new();
        kept.keep("down", ErrorKind::Unavailable, None);
        kept.keep("full", ErrorKind::Server, None);
        kept.keep("short", ErrorKind::Timeout, Some(Duration::from_millis(500)));
        kept.keep("large", ErrorKind::TooLarge, None);
        let there = || ["down", "full", "short", "large"].map(|key| kept.has(key));
        assert_eq!(there(), [true, true, true, false]);
        kept.clock.advance(Duration::from_millis(500));
        assert_eq!(there(), [true, true, false, false]);
        kept.clock.advance(Duration::from_millis(500));
        assert_eq!(there(), [true, false, false, false]);
        kept.clock.advance(Duration::from_secs(9));
        assert_eq!(there(), [false; 4]);
    }

    #[test]
    fn a_server_that_answers_ends_what_is_here_for_its_silence() {
        let kept = Kept::new();
        kept.keep("down", ErrorKind::Unavailable, None);
        kept.keep("full", ErrorKind::Server, None);
        kept.outage.answered(&kept.clock);
        assert!(!kept.has("down"));
        assert!(kept.outage.missed(b"full", HERE, &kept.clock).is_some());
        assert!(kept.outage.missed(b"full", [2; 16], &kept.clock).is_none(), "cleared by another process");
        kept.clock.advance(REFUSED);
        kept.outage.answered(&kept.clock);
        assert!(kept.outage.kept_if_any().is_none(), "nothing is left behind");
    }

    #[test]
    fn what_ran_before_a_clear_is_not_kept_after_it() {
        let kept = Kept::new();
        kept.keep("before", ErrorKind::Unavailable, None);
        kept.outage.clear();
        kept.keep("during", ErrorKind::Unavailable, None);
        assert!(!kept.has("before") && !kept.has("during"));
        let after = outcome(kept.outage.clears());
        kept.outage.keep("after".into(), after, None, ErrorKind::Unavailable, &kept.clock);
        assert!(kept.has("after"));
        kept.outage.remove(b"after");
        assert!(!kept.has("after"));
    }

    #[test]
    fn results_and_bytes_are_bounded_and_room_comes_with_time() {
        let kept = Kept::new();
        for n in 0..=MAX_RESULTS {
            kept.keep(&n.to_string(), ErrorKind::Unavailable, None);
        }
        assert!(kept.has("0") && !kept.has(&MAX_RESULTS.to_string()));
        kept.clock.advance(UNREACHABLE);
        kept.keep("late", ErrorKind::Unavailable, None);
        assert_eq!(lock(&kept.outage.kept).results.len(), 1, "what has expired makes room");
        let large = Outcome { payload: vec![0; MAX_BYTES].into(), ..outcome(0) };
        kept.outage.keep("large".into(), large, None, ErrorKind::Unavailable, &kept.clock);
        assert!(kept.has("late") && !kept.has("large"));
    }
}
