//! What a cached function has done: counters, snapshots, and a table people can read.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::common::clock::nanos;
use crate::common::stripe::{LANES, Lane};

/// What one cached function has done in this process.
///
/// ```
/// use cache_runtime::cached;
///
/// #[cached]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// square(4);
/// square(4);
/// let stats = square::stats();
/// assert_eq!((stats.hits, stats.misses, stats.runs), (1, 1, 1));
/// println!("{stats}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The function's namespace: crate, modules and name, unless the attribute says otherwise.
    pub function: String,
    /// The backend its attribute names.
    pub backend: &'static str,
    /// Calls answered from the cache.
    pub hits: u64,
    /// Calls that looked and found nothing that could be served.
    pub misses: u64,
    /// Hits whose value had outlived its lifetime: see `stale`.
    pub stale: u64,
    /// Hits on results that a server couldn't take, kept in this process for a moment.
    pub outage: u64,
    /// Misses answered by a run that another call had begun.
    pub waits: u64,
    /// Runs of the body.
    pub runs: u64,
    /// Results stored.
    pub stores: u64,
    /// Operations that failed: the backend's errors, arguments that can't be a key, values that can't be stored.
    pub errors: u64,
    /// Entries found whose bytes were not this function's, damaged or of another version: counted as misses too.
    pub decode_failures: u64,
    /// Results not stored because they are larger than the backend takes.
    pub oversize: u64,
    /// Time spent in bodies. A run inside another is counted in both.
    pub body_time: Duration,
    /// Time that hits saved: for each, what the run behind its entry took (on a server in whole microseconds,
    /// of a number in memory to five digits).
    pub saved_time: Duration,
}

impl Stats {
    /// The share of look-ups that were hits, from 0 to 1; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
            lookups => self.hits as f64 / lookups as f64,
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, std::slice::from_ref(self))
    }
}

/// The statistics of all functions, as [`stats`](crate::stats) returns them; `Display` prints one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllStats(pub Vec<Stats>);

impl fmt::Display for AllStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, &self.0)
    }
}

const COLUMNS: [&str; 15] = [
    "function",
    "backend",
    "hits",
    "misses",
    "hit %",
    "stale",
    "outage",
    "waits",
    "runs",
    "stores",
    "errors",
    "undecodable",
    "oversize",
    "in bodies",
    "saved",
];

/// Names to the left, numbers to the right, every column as wide as its widest cell.
fn write_table(f: &mut fmt::Formatter<'_>, all: &[Stats]) -> fmt::Result {
    let rows: Vec<[String; 15]> = all.iter().map(cells).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([COLUMNS[column].len()]).max().unwrap_or(0)
    };
    for (index, row) in std::iter::once(&COLUMNS.map(str::to_owned)).chain(&rows).enumerate() {
        if index > 0 {
            writeln!(f)?;
        }
        for (column, cell) in row.iter().enumerate() {
            match column {
                0 => write!(f, "{cell:<0$}", width(0))?,
                1 => write!(f, "  {cell:<0$}", width(1))?,
                _ => write!(f, "  {cell:>0$}", width(column))?,
            }
        }
    }
    Ok(())
}

fn cells(stats: &Stats) -> [String; 15] {
    [
        stats.function.clone(),
        stats.backend.to_owned(),
        stats.hits.to_string(),
        stats.misses.to_string(),
        format!("{:.1}", stats.hit_ratio() * 100.0),
        stats.stale.to_string(),
        stats.outage.to_string(),
        stats.waits.to_string(),
        stats.runs.to_string(),
        stats.stores.to_string(),
        stats.errors.to_string(),
        stats.decode_failures.to_string(),
        stats.oversize.to_string(),
        format!("{:.1?}", stats.body_time),
        format!("{:.1?}", stats.saved_time),
    ]
}

/// The live counters behind [`Stats`].
#[derive(Default)]
pub(crate) struct Counters {
    /// Hits, and the time they saved.
    pub(crate) hits: Hits,
    pub(crate) misses: Counter,
    pub(crate) stale: Counter,
    pub(crate) outage: Counter,
    pub(crate) waits: Counter,
    pub(crate) runs: Counter,
    pub(crate) stores: Counter,
    pub(crate) errors: Counter,
    pub(crate) decode_failures: Counter,
    pub(crate) oversize: Counter,
    pub(crate) body_nanos: Counter,
    /// The time that other answers saved.
    pub(crate) saved_nanos: Counter,
}

impl Counters {
    pub(crate) fn snapshot(&self, function: &str, backend: &'static str) -> Stats {
        let (hits, saved_by_hits) = self.hits.sum();
        Stats {
            function: function.to_owned(),
            backend,
            hits,
            misses: self.misses.get(),
            stale: self.stale.get(),
            outage: self.outage.get(),
            waits: self.waits.get(),
            runs: self.runs.get(),
            stores: self.stores.get(),
            errors: self.errors.get(),
            decode_failures: self.decode_failures.get(),
            oversize: self.oversize.get(),
            body_time: Duration::from_nanos(self.body_nanos.get()),
            saved_time: Duration::from_nanos(self.saved_nanos.get().wrapping_add(saved_by_hits)),
        }
    }
}

/// A number that only grows, until it wraps in some centuries.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn time(&self, duration: Duration) {
        self.0.fetch_add(nanos(duration), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Hits are counted by each thread for itself.
pub(crate) struct Hits(Box<[ByLane; LANES]>);

/// As wide as what processors pass between them, so that neighbours don't meet.
#[derive(Default)]
#[repr(align(64))]
struct ByLane {
    hits: AtomicU64,
    saved_nanos: AtomicU64,
}

impl Hits {
    /// Counts one that saved so many nanoseconds; `lane` is the thread's.
    #[inline]
    pub(crate) fn one(&self, saved: u64, lane: Lane) {
        let Some(counts) = self.0.get(lane.index()) else { return };
        for (number, by) in [(&counts.hits, 1), (&counts.saved_nanos, saved)] {
            if lane.is_own() {
                number.store(number.load(Relaxed).wrapping_add(by), Relaxed);
            } else {
                number.fetch_add(by, Relaxed);
            }
        }
    }

    fn sum(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(hits, saved), lane| {
            (hits.wrapping_add(lane.hits.load(Relaxed)), saved.wrapping_add(lane.saved_nanos.load(Relaxed)))
        })
    }
}

impl Default for Hits {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| ByLane::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up() {
        let counters = Counters::default();
        counters.hits.one(1_500_000_000, Lane::ANY);
        let all = AllStats(vec![
            counters.snapshot("app::user", "redis"),
            Counters::default().snapshot("app::a_much_longer_name", "memcached"),
        ]);
        let table = all.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{table}");
        assert!(lines[1].starts_with("app::user                redis "), "{table}");
        assert!(lines[1].ends_with("1.5s") && lines[1].contains("100.0"), "{table}");
    }
}
