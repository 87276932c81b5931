//! Callers of one cached function, and what they notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cache_runtime::{Stats, cached};

pub(crate) const CALLERS: u64 = 4;
pub(crate) const KEYS: u64 = 200;
/// What a run of the body takes: a query, say.
pub(crate) const BODY: Duration = Duration::from_millis(5);
/// What a caller does between two calls.
const PAUSE: Duration = Duration::from_millis(2);

#[cached(backend = "redis", ttl = "1m")]
fn price(article: u64) -> u64 {
    thread::sleep(BODY);
    right_price(article)
}

fn right_price(article: u64) -> u64 {
    article * 100 + 99
}

/// What happened in some time.
#[derive(Default, Clone)]
pub(crate) struct Sample {
    /// Of each call.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) wrong: u64,
    pub(crate) hits: u64,
    /// Hits on results kept in this process.
    pub(crate) outage: u64,
    pub(crate) lookups: u64,
    pub(crate) runs: u64,
    pub(crate) time: Duration,
}

impl Sample {
    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.extend(&other.latencies);
        self.wrong += other.wrong;
        self.hits += other.hits;
        self.outage += other.outage;
        self.lookups += other.lookups;
        self.runs += other.runs;
        self.time += other.time;
    }
}

/// Callers at work until this is dropped.
pub(crate) struct Load {
    noted: Arc<Mutex<Sample>>,
    is_over: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
    /// When and at which numbers the last sample was taken.
    last: Mutex<(Instant, Stats)>,
}

impl Load {
    pub(crate) fn start() -> Self {
        let (noted, is_over) = (Arc::<Mutex<Sample>>::default(), Arc::<AtomicBool>::default());
        let callers = (0..CALLERS).map(|caller| {
            let (noted, is_over) = (noted.clone(), is_over.clone());
            thread::spawn(move || call(caller, &noted, &is_over))
        });
        let callers = callers.collect();
        Self { noted, is_over, callers, last: Mutex::new((Instant::now(), price::stats())) }
    }

    /// What happened since the last time.
    pub(crate) fn take(&self) -> Sample {
        let mut sample = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, now) = (std::mem::replace(&mut *last, (Instant::now(), price::stats())), &last.1);
        sample.time = before.0.elapsed();
        sample.hits = now.hits - before.1.hits;
        sample.outage = now.fallback_hits - before.1.fallback_hits;
        sample.lookups = sample.hits + now.misses - before.1.misses;
        sample.runs = now.runs - before.1.runs;
        sample
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for caller in self.callers.drain(..) {
            // An error means that it has panicked, which shows.
            let _ = caller.join();
        }
    }
}

fn call(caller: u64, noted: &Mutex<Sample>, is_over: &AtomicBool) {
    // A linear congruential generator: Knuth's MMIX.
    let mut random = caller;
    while !is_over.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let article = (random >> 33) % KEYS;
        let started = Instant::now();
        let is_wrong = price(article) != right_price(article);
        let latency = started.elapsed();
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.latencies.push(latency);
        noted.wrong += u64::from(is_wrong);
        drop(noted);
        thread::sleep(PAUSE);
    }
}
