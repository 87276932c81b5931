//! Results that a server could not take, kept in this process for some seconds, so that an outage of the cache doesn't
//! become an outage of what it protects.
//!
//! The store is small and its results are short-lived, because other processes can't invalidate them. Knows no server and
//! no run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::envelope::Token;
use crate::common::clock::{Clock, nanos};
use crate::common::sync::lock;
use crate::error::{Error, ErrorKind};
use crate::freshness::{Found, Freshness, Source};
use crate::value::Packed;

/// How long a result stays while the server can't be reached.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// How long a result stays that the server refuses to store: others may invalidate it there meanwhile.
const REFUSED: Duration = Duration::from_secs(1);

const MAX_RESULTS: usize = 10_000;
const MAX_BYTES: usize = 32 << 20;

/// The results of one function for one server, by their keys there.
pub(crate) struct FallbackStore {
    clock: Clock,
    /// Whether there may be any. While all is well, no call takes the lock.
    has_any: AtomicBool,
    /// Counts the clears, so that the result of a run that began before one isn't kept after it.
    clears: AtomicU64,
    results: Mutex<Results>,
}

#[derive(Default)]
struct Results {
    by_key: HashMap<Vec<u8>, Entry, RandomState>,
    bytes: usize,
    /// How many are here because the server can't be reached.
    unreachable: usize,
    /// Nothing expires before this.
    next_expiry: u64,
}

/// The result of a run, and when the run began: after this many clears, in a generation if the server told it.
#[derive(Clone)]
pub(crate) struct FallbackResult {
    pub(crate) payload: Bytes,
    /// The time that the run took.
    pub(crate) cost: Duration,
    pub(crate) clears: u64,
    pub(crate) generation: Option<Token>,
}

struct Entry {
    result: FallbackResult,
    until: u64,
    is_refused: bool,
}

impl From<FallbackResult> for Found {
    fn from(FallbackResult { payload, cost, .. }: FallbackResult) -> Self {
        let packed = Packed::Encoded(payload);
        Self { packed, cost, freshness: Freshness::Fresh, source: Source::Fallback }
    }
}

impl FallbackStore {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, has_any: AtomicBool::new(false), clears: AtomicU64::new(0), results: Mutex::default() }
    }

    /// The number of clears so far, for a run that begins now.
    pub(crate) fn clears(&self) -> u64 {
        self.clears.load(Ordering::Relaxed)
    }

    /// Keeps a result that could not be stored for the reason `why`, for `life` at most.
    pub(crate) fn put(&self, key: Vec<u8>, result: FallbackResult, life: Option<Duration>, why: &Error) {
        let is_refused = why.kind() == ErrorKind::Server || why.refusal().is_some();
        let time = match why.kind() {
            _ if is_refused => REFUSED,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Denied | ErrorKind::Protocol => {
                UNREACHABLE
            }
            // The value itself is the reason.
            _ => return,
        };
        let now = self.clock.monotonic();
        let until = now.saturating_add(nanos(life.map_or(time, |life| life.min(time))));
        let mut results = lock(&self.results);
        if result.clears == self.clears() {
            results.insert(key, Entry { result, until, is_refused }, now);
            self.has_any.store(true, Ordering::Release);
        }
    }

    /// The result under `key`, for a call that the server doesn't answer.
    pub(crate) fn get_while_down(&self, key: &[u8]) -> Option<FallbackResult> {
        let results = self.results_if_any()?;
        results.get(key, self.clock.monotonic()).map(|entry| entry.result.clone())
    }

    /// The result under `key`, for a call that the server answers with a miss.
    pub(crate) fn get_after_miss(&self, key: &[u8], generation: Token) -> Option<FallbackResult> {
        let results = self.results_if_any()?;
        let entry = results.get(key, self.clock.monotonic())?;
        (entry.result.generation == Some(generation)).then(|| entry.result.clone())
    }

    /// Drops what is here because the server could not be reached.
    pub(crate) fn server_answered(&self) {
        let Some(mut results) = self.results_if_any() else { return };
        let now = self.clock.monotonic();
        if results.unreachable > 0 || results.next_expiry <= now {
            results.retain(|entry| entry.is_refused && now < entry.until);
        }
    }

    /// Drops the result under `key`.
    pub(crate) fn remove(&self, key: &[u8]) {
        if let Some(mut results) = self.results_if_any() {
            results.remove(key);
        }
    }

    /// Drops everything, including the results of runs that are under way.
    pub(crate) fn clear(&self) {
        let mut results = lock(&self.results);
        self.clears.fetch_add(1, Ordering::Relaxed);
        results.retain(|_| false);
    }

    fn results_if_any(&self) -> Option<MutexGuard<'_, Results>> {
        if !self.has_any.load(Ordering::Acquire) {
            return None;
        }
        let results = lock(&self.results);
        if results.by_key.is_empty() {
            self.has_any.store(false, Ordering::Release);
            return None;
        }
        Some(results)
    }
}

impl Results {
    fn get(&self, key: &[u8], now: u64) -> Option<&Entry> {
        self.by_key.get(key).filter(|entry| now < entry.until)
    }

    /// Keeps a result if there is room. Room comes soon, because results are short-lived.
    fn insert(&mut self, key: Vec<u8>, entry: Entry, now: u64) {
        self.remove(&key);
        let size = size(&key, &entry);
        let is_full =
            |results: &Self| results.by_key.len() >= MAX_RESULTS || results.bytes + size > MAX_BYTES;
        if is_full(self) && self.next_expiry <= now {
            self.retain(|entry| now < entry.until);
        }
        if is_full(self) {
            return;
        }
        if self.by_key.is_empty() || entry.until < self.next_expiry {
            self.next_expiry = entry.until;
        }
        self.bytes += size;
        self.unreachable += usize::from(!entry.is_refused);
        self.by_key.insert(key, entry);
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, entry)) = self.by_key.remove_entry(key) {
            self.bytes -= size(&key, &entry);
            self.unreachable -= usize::from(!entry.is_refused);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.by_key.retain(|_, entry| keep(entry));
        self.bytes = self.by_key.iter().map(|(key, entry)| size(key, entry)).sum();
        self.unreachable = self.by_key.values().filter(|entry| !entry.is_refused).count();
        self.next_expiry = self.by_key.values().map(|entry| entry.until).min().unwrap_or(u64::MAX);
        if self.by_key.is_empty() {
            self.by_key = HashMap::default();
        }
    }
}

fn size(key: &[u8], entry: &Entry) -> usize {
    key.len() + entry.result.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Token = [1; 16];

    struct Store {
        store: FallbackStore,
        clock: Clock,
    }

    impl Store {
        fn new() -> Self {
            let clock = Clock::manual();
            Self { store: FallbackStore::new(clock.clone()), clock }
        }

        fn put(&self, key: &str, why: ErrorKind, life: Option<Duration>) {
            self.store.put(key.into(), result(0), life, &Error::new(why, ""));
        }

        fn has(&self, key: &str) -> bool {
            self.store.get_while_down(key.as_bytes()).is_some()
        }
    }

    fn result(clears: u64) -> FallbackResult {
        let payload = Bytes::from_static(b"value");
        FallbackResult { payload, cost: Duration::ZERO, clears, generation: Some(HERE) }
    }

    #[test]
    fn results_stay_as_long_as_their_reason_and_their_lifetime_allow() {
        let here = Store::new();
        here.put("down", ErrorKind::Unavailable, None);
        here.put("full", ErrorKind::Server, None);
        here.put("short", ErrorKind::Timeout, Some(Duration::from_millis(500)));
        here.put("large", ErrorKind::TooLarge, None);
        let there = || ["down", "full", "short", "large"].map(|key| here.has(key));
        assert_eq!(there(), [true, true, true, false]);
        here.clock.advance(Duration::from_millis(500));
        assert_eq!(there(), [true, true, false, false]);
        here.clock.advance(Duration::from_millis(500));
        assert_eq!(there(), [true, false, false, false]);
        here.clock.advance(Duration::from_secs(9));
        assert_eq!(there(), [false; 4]);
    }

    #[test]
    fn an_answer_drops_what_is_here_for_the_servers_silence() {
        let here = Store::new();
        here.put("down", ErrorKind::Unavailable, None);
        here.put("full", ErrorKind::Server, None);
        here.store.server_answered();
        assert!(!here.has("down"));
        assert!(here.store.get_after_miss(b"full", HERE).is_some());
        assert!(here.store.get_after_miss(b"full", [2; 16]).is_none(), "cleared by another process");
        here.clock.advance(REFUSED);
        here.store.server_answered();
        assert!(here.store.results_if_any().is_none(), "nothing is left behind");
    }

    #[test]
    fn a_run_from_before_a_clear_is_not_kept_after_it() {
        let here = Store::new();
        here.put("before", ErrorKind::Unavailable, None);
        here.store.clear();
        here.put("during", ErrorKind::Unavailable, None);
        assert!(!here.has("before") && !here.has("during"));
        let after = result(here.store.clears());
        here.store.put("after".into(), after, None, &Error::new(ErrorKind::Unavailable, ""));
        assert!(here.has("after"));
        here.store.remove(b"after");
        assert!(!here.has("after"));
    }

    #[test]
    fn results_and_bytes_are_bounded_and_room_comes_with_time() {
        let here = Store::new();
        for n in 0..=MAX_RESULTS {
            here.put(&n.to_string(), ErrorKind::Unavailable, None);
        }
        assert!(here.has("0") && !here.has(&MAX_RESULTS.to_string()));
        here.clock.advance(UNREACHABLE);
        here.put("late", ErrorKind::Unavailable, None);
        assert_eq!(lock(&here.store.results).by_key.len(), 1, "what has expired makes room");
        let large = FallbackResult { payload: vec![0; MAX_BYTES].into(), ..result(0) };
        here.store.put("large".into(), large, None, &Error::new(ErrorKind::Unavailable, ""));
        assert!(here.has("late") && !here.has("large"));
    }
}
