//! What cached functions have done: counters, snapshots, and a table for people.

mod counters;

use std::fmt;
use std::time::Duration;

pub(crate) use self::counters::Counters;

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
    /// The function's namespace: crate, modules and name, unless the attribute gives another.
    pub function: String,
    /// The backend its attribute names.
    pub backend: &'static str,
    /// Calls answered from the cache.
    pub hits: u64,
    /// Calls that found nothing that could be served.
    pub misses: u64,
    /// Hits on values that had expired, within the `stale` window.
    pub stale: u64,
    /// Hits on results that a server could not take, and that this process keeps for a moment.
    pub fallback_hits: u64,
    /// Misses answered by the run of another call.
    pub waits: u64,
    /// Runs of the body.
    pub runs: u64,
    /// Results stored.
    pub stores: u64,
    /// Operations that failed: errors of the backend, arguments that can't be a key, values that can't be stored.
    pub errors: u64,
    /// Entries whose bytes were damaged, of another version, or not this function's. They are misses too.
    pub decode_failures: u64,
    /// Results that were not stored because the backend takes no values of that size.
    pub too_large: u64,
    /// Entries in memory now, those that have expired and are not removed yet included; 0 for functions on servers.
    pub entries: u64,
    /// Entries that a bound of the memory store has evicted.
    pub evictions: u64,
    /// Time spent in bodies. A run inside another one counts in both.
    pub body_time: Duration,
    /// Time that hits saved: for each, the time of the run behind its entry (in whole microseconds on a server; to five
    /// digits for a number in memory).
    pub saved_time: Duration,
}

impl Stats {
    /// The fraction of look-ups that were hits, from 0 to 1; 0 before the first look-up.
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

/// The statistics of all functions, as [`stats`](crate::stats) returns them. `Display` prints one table.
///
/// ```
/// for function in &cache_runtime::stats() {
///     println!("{}: {:.0} % hits", function.function, function.hit_ratio() * 100.0);
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllStats(Vec<Stats>);

impl AllStats {
    pub(crate) fn new(all: Vec<Stats>) -> Self {
        Self(all)
    }

    /// The statistics of each function, by name.
    pub fn iter(&self) -> std::slice::Iter<'_, Stats> {
        self.0.iter()
    }
}

impl IntoIterator for AllStats {
    type Item = Stats;
    type IntoIter = std::vec::IntoIter<Stats>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a AllStats {
    type Item = &'a Stats;
    type IntoIter = std::slice::Iter<'a, Stats>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for AllStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, &self.0)
    }
}

const COLUMNS: [&str; 17] = [
    "function",
    "backend",
    "hits",
    "misses",
    "hit %",
    "stale",
    "fallback",
    "waits",
    "runs",
    "stores",
    "errors",
    "undecodable",
    "too large",
    "entries",
    "evictions",
    "in bodies",
    "saved",
];

/// Names are aligned to the left and numbers to the right. Every column is as wide as its widest cell.
fn write_table(f: &mut fmt::Formatter<'_>, all: &[Stats]) -> fmt::Result {
    let rows: Vec<[String; 17]> = all.iter().map(cells).collect();
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

fn cells(stats: &Stats) -> [String; 17] {
    [
        stats.function.clone(),
        stats.backend.to_owned(),
        stats.hits.to_string(),
        stats.misses.to_string(),
        format!("{:.1}", stats.hit_ratio() * 100.0),
        stats.stale.to_string(),
        stats.fallback_hits.to_string(),
        stats.waits.to_string(),
        stats.runs.to_string(),
        stats.stores.to_string(),
        stats.errors.to_string(),
        stats.decode_failures.to_string(),
        stats.too_large.to_string(),
        stats.entries.to_string(),
        stats.evictions.to_string(),
        format!("{:.1?}", stats.body_time),
        format!("{:.1?}", stats.saved_time),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::stripe::Stripe;

    #[test]
    fn the_table_lines_up() {
        let counters = Counters::default();
        counters.hits.one(1_500_000_000, Stripe::ANY);
        let all = AllStats::new(vec![
            counters.snapshot("app::user", "redis", (0, 0)),
            Counters::default().snapshot("app::a_much_longer_name", "memcached", (0, 0)),
        ]);
        let table = all.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{table}");
        assert!(lines[1].starts_with("app::user                redis "), "{table}");
        assert!(lines[1].ends_with("1.5s") && lines[1].contains("100.0"), "{table}");
    }
}
