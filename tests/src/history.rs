//! Checks recorded histories: no call gets an older value than was known when it began.
//!
//! Writers stamp the truth under a key with rising numbers, invalidate, and record when that was known. Readers record when
//! each call began, and what it returned. Times are those of the machine's monotonic clock, which all processes share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How many keys the processes of a history use, counted from 0.
pub const KEYS: usize = 16;

/// What a process has seen or done.
#[expect(missing_docs, reason = "the variants say what their fields are")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The truth under `key` has had at least this `stamp`, and the cache has known, since `at`.
    Known { key: usize, stamp: u64, at: u64 },
    /// A call that began at `at` returned `stamp`.
    Read { key: usize, stamp: u64, at: u64 },
}

/// A call that returned an older stamp than was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The key that was asked for.
    pub key: usize,
    /// What the call returned.
    pub returned: u64,
    /// What had been known.
    pub known: u64,
    /// How long before the call began.
    pub for_nanos: u64,
}

/// Nanoseconds on the machine's monotonic clock.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// The calls that returned something older than was known for longer than `bound` when they began. Takes O(n log n).
pub fn violations(events: &[Event], bound: Duration) -> Vec<Violation> {
    let bound = u64::try_from(bound.as_nanos()).unwrap();
    let mut known: BTreeMap<usize, Vec<(u64, u64)>> = BTreeMap::new();
    for event in events {
        if let Event::Known { key, stamp, at } = *event {
            known.entry(key).or_default().push((at, stamp));
        }
    }
    for stamps in known.values_mut() {
        stamps.sort_unstable();
        // From here on the stamps rise with the time.
        let mut highest = 0;
        for (_, stamp) in stamps {
            highest = highest.max(*stamp);
            *stamp = highest;
        }
    }
    let mut found = Vec::new();
    for event in events {
        let Event::Read { key, stamp, at } = *event else { continue };
        let Some(stamps) = known.get(&key) else { continue };
        let count = stamps.partition_point(|(since, _)| since.saturating_add(bound) < at);
        if let Some((_, highest)) = count.checked_sub(1).map(|last| stamps[last])
            && highest > stamp
        {
            let first = stamps.partition_point(|(_, known)| *known <= stamp);
            found.push(Violation { key, returned: stamp, known: highest, for_nanos: at - stamps[first].0 });
        }
    }
    found
}

impl Event {
    /// A line of text.
    pub fn line(&self) -> String {
        let (kind, (key, stamp, at)) = match *self {
            Self::Known { key, stamp, at } => ('k', (key, stamp, at)),
            Self::Read { key, stamp, at } => ('r', (key, stamp, at)),
        };
        let mut line = String::new();
        writeln!(line, "{kind} {key} {stamp} {at}").unwrap();
        line
    }

    /// The event in a line. `None` if a killed process has left only a part of it.
    pub fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.strip_suffix('\n')?.split(' ').collect();
        let [kind, key, stamp, at] = words[..] else { return None };
        let (key, stamp, at) = (key.parse().ok()?, stamp.parse().ok()?, at.parse().ok()?);
        match kind {
            "k" => Some(Self::Known { key, stamp, at }),
            "r" => Some(Self::Read { key, stamp, at }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_nanos(10);

    fn known(stamp: u64, at: u64) -> Event {
        Event::Known { key: 1, stamp, at }
    }

    fn read(stamp: u64, at: u64) -> Event {
        Event::Read { key: 1, stamp, at }
    }

    #[test]
    fn an_older_value_than_was_known_is_found() {
        let events = [known(1, 100), known(3, 300), known(2, 200), read(1, 250), read(3, 250), read(2, 500)];
        let older = |returned, known, for_nanos| Violation { key: 1, returned, known, for_nanos };
        assert_eq!(violations(&events, Duration::ZERO), [older(1, 2, 50), older(2, 3, 200)]);
        assert_eq!(violations(&events, Duration::from_nanos(100)), [older(2, 3, 200)]);
        assert_eq!(violations(&events, Duration::from_nanos(200)), []);
    }

    #[test]
    fn what_overlaps_is_no_violation() {
        assert_eq!(violations(&[known(1, 100), known(2, 200), read(1, 200), read(1, 210)], BOUND), []);
        assert_eq!(violations(&[known(1, 100), known(2, 200), read(1, 211)], BOUND).len(), 1);
        let elsewhere = Event::Read { key: 2, stamp: 0, at: 900 };
        assert_eq!(violations(&[known(1, 100), elsewhere], BOUND), []);
    }

    #[test]
    fn events_are_read_as_they_were_written() {
        for event in [known(7, 8), read(9, 10)] {
            assert_eq!(Event::parse(&event.line()), Some(event));
            assert_eq!(Event::parse(event.line().trim_end()), None, "the rest is missing");
        }
    }
}
