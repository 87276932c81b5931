//! Drawing what happens: curves that move in a terminal, lines elsewhere, and a table at the end.

use std::time::Duration;

use crate::load::{BODY, CALLERS, KEYS, Sample};

/// The last moments that fit on a line.
const COLUMNS: usize = 64;

pub(crate) struct Chart {
    is_plain: bool,
    acts: Vec<(&'static str, Sample)>,
    /// Every tick, and which act it is of.
    ticks: Vec<(usize, Sample)>,
    time: Duration,
}

impl Chart {
    pub(crate) fn new(is_plain: bool) -> Self {
        println!(
            "{CALLERS} callers of {KEYS} keys; a run of the body takes {BODY:?}, a call may spend 250ms on the cache\n"
        );
        if is_plain {
            println!(
                "{:>6}  {:<16}{:>8}{:>8}{:>8}{:>10}{:>12}",
                "", "the server", "calls", "hits", "here", "runs/s", "slowest"
            );
        }
        Self { is_plain, acts: Vec::new(), ticks: Vec::new(), time: Duration::ZERO }
    }

    pub(crate) fn begins(&mut self, act: &'static str) {
        self.acts.push((act, Sample::default()));
    }

    pub(crate) fn tick(&mut self, sample: Sample) {
        let seconds = self.time.as_secs();
        self.time += sample.time;
        let Some((_, total)) = self.acts.last_mut() else { return };
        total.add(&sample);
        self.ticks.push((self.acts.len() - 1, sample));
        if !self.is_plain {
            self.draw();
        } else if self.time.as_secs() > seconds {
            self.print_second();
        }
    }

    fn print_second(&self) {
        let (act, mut second) = (self.acts[self.acts.len() - 1].0, Sample::default());
        for (_, sample) in self.ticks.iter().rev().take_while(|(act, _)| *act == self.acts.len() - 1).take(4)
        {
            second.add(sample);
        }
        println!(
            "{:>5}s  {act:<16}{:>8}{:>8}{:>8}{:>10.0}{:>12}",
            self.time.as_secs(),
            second.latencies.len(),
            percent(second.hits, second.lookups),
            percent(second.outage, second.lookups),
            per_second(&second),
            millis(slowest(&second)),
        );
    }

    fn draw(&self) {
        let shown = &self.ticks[self.ticks.len().saturating_sub(COLUMNS)..];
        let Some((act, last)) = shown.last() else { return };
        if self.ticks.len() > 1 {
            // Back up over the lines of the last time.
            print!("\x1b[6A");
        }
        let curve = |height: &dyn Fn(&Sample) -> f64| -> String {
            shown.iter().map(|(_, sample)| bar(height(sample))).collect()
        };
        let most_runs = shown.iter().map(|(_, sample)| per_second(sample)).fold(1.0, f64::max);
        let line =
            |name: &str, curve: String, now: String| println!("\x1b[2K{name:<24}{curve:<COLUMNS$} {now}");
        line("answered by the cache", curve(&|s| ratio(s.hits, s.lookups)), percent(last.hits, last.lookups));
        line(
            "  from this process",
            curve(&|s| ratio(s.outage, s.lookups)),
            percent(last.outage, last.lookups),
        );
        // The scale ends where a call's time on the cache does.
        line("slowest call", curve(&|s| slowest(s).as_secs_f64() / 0.25), millis(slowest(last)));
        line(
            "runs of the body",
            curve(&|s| per_second(s) / most_runs),
            format!("{:.0} a second", per_second(last)),
        );
        line("", self.marks(shown), String::new());
        println!("\x1b[2K{:>5.1}s  the server: {}", self.time.as_secs_f64(), self.acts[*act].0);
    }

    /// The names of the acts, below where they begin.
    fn marks(&self, shown: &[(usize, Sample)]) -> String {
        let mut marks = String::new();
        for (column, pair) in shown.windows(2).enumerate() {
            if pair[0].0 != pair[1].0 && marks.chars().count() <= column {
                marks = format!("{marks:<0$}^{1}", column + 1, self.acts[pair[1].0].0);
            }
        }
        marks.chars().take(COLUMNS).collect()
    }

    pub(crate) fn summary(&self) {
        println!(
            "\n| {:<16}| {:>7} | {:>6} | {:>17} | {:>9} | {:>9} | {:>9} | {:>9} | {:>5} |",
            "the server",
            "calls",
            "hits",
            "from this process",
            "body runs",
            "median",
            "99 %",
            "slowest",
            "wrong"
        );
        println!(
            "|{:-<17}|{:->8}:|{:->7}:|{:->18}:|{3:->10}:|{3:->10}:|{3:->10}:|{3:->10}:|{:->6}:|",
            "", "", "", "", ""
        );
        for (act, sample) in &self.acts {
            let mut latencies = sample.latencies.clone();
            latencies.sort();
            let at = |hundredth: usize| {
                latencies.get(latencies.len() * hundredth / 100).copied().unwrap_or_default()
            };
            println!(
                "| {act:<16}| {:>7} | {:>6} | {:>17} | {:>9} | {:>9} | {:>9} | {:>9} | {:>5} |",
                latencies.len(),
                percent(sample.hits, sample.lookups),
                percent(sample.outage, sample.lookups),
                sample.runs,
                millis(at(50)),
                millis(at(99)),
                millis(slowest(sample)),
                sample.wrong,
            );
        }
    }
}

fn bar(height: f64) -> char {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 8")]
    BARS[(height.clamp(0.0, 1.0) * 8.0).ceil() as usize]
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1}%", ratio(part, whole) * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per_second(sample: &Sample) -> f64 {
    sample.runs as f64 / sample.time.as_secs_f64().max(0.001)
}

fn slowest(sample: &Sample) -> Duration {
    sample.latencies.iter().max().copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.2}ms", time.as_secs_f64() * 1000.0)
}
