//! The harness of the benchmarks: cases that do the same work, measured side by side.
//!
//! Machines have good and bad seconds, so figures of two runs can't be compared. Here each round takes one sample of
//! every case, in an order without a pattern, and what counts is the median over the rounds of the ratio within a round. A
//! sample that shared the processor with a foreign process is taken again; a round in which that never succeeds is
//! dropped, and the result says how many were.
//!
//! [`machine`] knows the operating system, [`report`] the files and tables; neither knows what is measured. `cases` lists
//! who is compared in memory, and calls [`functions`], `bare_stores` and `async_peers`. The benchmarks of servers use
//! `load` for many callers and `raw_protocol` for the least that a client can do.

#[cfg(feature = "peers")]
pub mod async_peers;
#[cfg(feature = "peers")]
pub mod bare_stores;
#[cfg(feature = "peers")]
pub mod cases;
pub mod functions;
#[cfg(feature = "peers")]
pub mod load;
pub mod machine;
#[cfg(feature = "peers")]
pub mod raw_protocol;
pub mod report;

use std::cell::Cell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use machine::Watch;
use report::{Figure, Group, Report};

/// Work to be timed: does as many operations as it is told.
pub struct Case<'a> {
    name: String,
    run: Box<dyn FnMut(u64) + 'a>,
}

impl<'a> Case<'a> {
    /// Work called `name`, as it shall stand in tables.
    pub fn new(name: impl Into<String>, run: impl FnMut(u64) + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }

    /// Work that is a single operation, over and over.
    pub fn each<T>(name: impl Into<String>, mut operation: impl FnMut(u64) -> T + 'a) -> Self {
        Self::new(name, move |operations| {
            for index in 0..operations {
                std::hint::black_box(operation(std::hint::black_box(index)));
            }
        })
    }

    /// As it stands in tables.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does so many operations, unmeasured.
    pub fn warm(&mut self, operations: u64) {
        (self.run)(operations);
    }
}

/// How a group is measured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many rounds count.
    pub rounds: usize,
    /// About how long one sample takes.
    pub sample: Duration,
    /// In how many pieces the samples of a round are taken, in turn: what differs by luck from piece to piece, as the
    /// processor on which a server's thread wakes, evens out.
    pub pieces: u32,
    /// How foreign load is noticed.
    pub watch: Watch,
}

impl Settings {
    /// For work that keeps `threads` processors busy and waits for nothing.
    pub fn busy(threads: u32) -> Self {
        Self { rounds: 31, sample: Duration::from_millis(5), pieces: 1, watch: Watch::Busy(threads) }
    }

    /// For work that some threads share: they wait for one another, at the end and for the lines they write.
    pub fn threads() -> Self {
        let watch = Watch::Machine { own: Vec::new() };
        Self { rounds: 21, sample: Duration::from_millis(20), pieces: 1, watch }
    }

    /// For work that waits for servers, the processes `servers`.
    pub fn waiting(servers: &[u32]) -> Self {
        let watch = Watch::Machine { own: servers.to_vec() };
        Self { rounds: 11, sample: Duration::from_millis(150), pieces: 1, watch }
    }

    /// The same in so many pieces.
    pub fn in_pieces(&self, pieces: u32) -> Self {
        Self { pieces, ..self.clone() }
    }
}

/// What is expected of the first case of a group.
#[derive(Debug, Clone)]
pub enum Goal {
    /// An operation takes at most so many times as long as in the case of this name.
    Time(String, f64),
    /// At least so many times as many operations a second as in the case of this name.
    Speed(String, f64),
    /// At most so much more, in the unit of the group, than in the case of this name.
    More(String, f64),
    /// At least so much, in the unit of the group.
    AtLeast(f64),
    /// At most so much, in the unit of the group.
    AtMost(f64),
}

impl Goal {
    /// See [`Goal::Time`].
    pub fn time(against: &str, ratio: f64) -> Self {
        Self::Time(against.into(), ratio)
    }

    /// See [`Goal::Speed`].
    pub fn speed(against: &str, ratio: f64) -> Self {
        Self::Speed(against.into(), ratio)
    }

    /// See [`Goal::More`].
    pub fn more(against: &str, amount: f64) -> Self {
        Self::More(against.into(), amount)
    }
}

/// One run of one part of the benchmarks.
pub struct Part {
    report: Report,
    only: Option<String>,
    quick: bool,
}

impl Part {
    /// Begins a part. The command line may name a text that groups must contain in their title, and `--quick`: few
    /// rounds, whatever else the machine does meanwhile.
    pub fn new(name: &str) -> Self {
        let mut part = Self { report: Report::new(name), only: None, quick: false };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--quick" => part.quick = true,
                text => part.only = Some(text.to_lowercase()),
            }
        }
        part
    }

    /// Whether the group of this title is wanted: ask before anything costly is made ready for it.
    pub fn wants(&self, title: &str) -> bool {
        self.only.as_ref().is_none_or(|only| title.to_lowercase().contains(only))
    }

    /// Times the cases side by side; the first is the one that goals are for.
    pub fn compare(&mut self, title: &str, settings: &Settings, goals: &[Goal], mut cases: Vec<Case<'_>>) {
        if !self.wants(title) {
            return;
        }
        let rounds = if self.quick { settings.rounds.min(5) } else { settings.rounds };
        let watch = if self.quick { &Watch::Nothing } else { &settings.watch };
        let operations: Vec<u64> =
            cases.iter_mut().map(|case| calibrate(case, settings.sample / settings.pieces)).collect();
        let mut taken: Vec<Vec<f64>> = Vec::new();
        let (mut dropped, mut random) = (0, Random::new());
        while taken.len() < rounds && dropped < 3 * rounds {
            match round(&mut cases, &operations, &mut random, settings.pieces, watch) {
                Some(times) => taken.push(times),
                None => dropped += 1,
            }
        }
        if taken.is_empty() {
            eprintln!("warning: {title}: no round was free of foreign load, so there are no figures");
            return;
        }
        if taken.len() < rounds {
            eprintln!("warning: {title}: only {} of {rounds} rounds were free of foreign load", taken.len());
        }
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        self.report.add(Group::of_rounds(title, "ns", &names, &taken, dropped, goals));
    }

    /// Adds what was measured elsewhere, round by round a figure for each of `names`; less is better.
    pub fn measured(&mut self, title: &str, unit: &str, goals: &[Goal], names: &[&str], rounds: &[Vec<f64>]) {
        if self.wants(title) {
            self.report.add(Group::of_rounds(title, unit, names, rounds, 0, goals));
        }
    }

    /// Whether few rounds suffice.
    pub fn is_quick(&self) -> bool {
        self.quick
    }

    /// Notes by how much `counter` rises with an operation of each case, over so many of them.
    pub fn count(
        &mut self,
        title: &str,
        unit: &str,
        goals: &[Goal],
        cases: &mut [Case<'_>],
        operations: u64,
        counter: impl Fn() -> i64,
    ) {
        let figures = cases.iter_mut().map(|case| {
            let before = counter();
            (case.run)(operations);
            let counted = counter() - before;
            (case.name.clone(), counted as f64 / operations as f64)
        });
        let figures = figures.collect();
        self.note(title, unit, goals, figures);
    }

    /// Notes figures that aren't times; the first is the one that `goals` are for.
    pub fn note(&mut self, title: &str, unit: &str, goals: &[Goal], figures: Vec<(String, f64)>) {
        if self.wants(title) {
            let figures = figures.into_iter().map(|(name, value)| Figure::exact(name, value)).collect();
            self.report.add(Group::of_figures(title, unit, figures, goals));
        }
    }

    /// Prints what became of the goals and writes the results; those of a part of the groups are not kept.
    pub fn finish(self) {
        self.report.print_goals();
        if self.quick {
            println!("quick: few rounds, and nobody looked for foreign load");
        }
        if self.only.is_none() && !self.quick {
            self.report.write();
        }
    }
}

/// Another number for each call, for benchmarks of what nobody has asked for before.
pub fn counter() -> impl Fn() -> u64 {
    let next = Cell::new(0);
    move || {
        next.set(next.get() + 1);
        next.get()
    }
}

/// What a future gives that is ready when it is polled first, as hits in memory are. Inlined, so that the future is made
/// where it is polled, as `.await` makes it.
#[inline(always)]
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a hit waits for nothing"),
    }
}

/// Numbers below `keys`, the nth most frequent as often as 1 / n to the power of `skew`; always the same ones.
pub fn zipf(keys: usize, skew: f64) -> impl Iterator<Item = u64> {
    let mut sum = 0.0;
    let up_to: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        })
        .collect();
    let mut random = Random::new();
    std::iter::from_fn(move || {
        let uniform = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        Some(up_to.partition_point(|sum_here| *sum_here < uniform * sum) as u64)
    })
}

/// Numbers without a pattern, the same ones in each run: Marsaglia's xorshift64 (2003).
struct Random(u64);

impl Random {
    const fn new() -> Self {
        Self(88_172_645_463_325_252)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Another order (Fisher and Yates).
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}

/// How many operations take about as long as a sample should.
fn calibrate(case: &mut Case<'_>, sample: Duration) -> u64 {
    let mut operations = 1_u64;
    loop {
        // The shortest of some, because one may have waited for another process.
        let elapsed = (0..3).map(|_| {
            let started = Instant::now();
            (case.run)(operations);
            started.elapsed()
        });
        let elapsed = elapsed.min().unwrap_or_default();
        if elapsed * 4 >= sample {
            let scaled = operations as f64 * sample.as_secs_f64() / elapsed.as_secs_f64();
            return (scaled as u64).max(1);
        }
        operations *= 2;
    }
}

/// One sample of every case, in nanoseconds an operation; `None` if foreign load spoils one again and again.
fn round(
    cases: &mut [Case<'_>],
    operations: &[u64],
    random: &mut Random,
    pieces: u32,
    watch: &Watch,
) -> Option<Vec<f64>> {
    let mut samples = vec![Sample::default(); cases.len()];
    let mut order: Vec<usize> = (0..cases.len()).collect();
    for _ in 0..pieces {
        random.shuffle(&mut order);
        for &index in &order {
            let piece = piece(&mut cases[index], operations[index], watch)?;
            samples[index].elapsed += piece.elapsed;
            samples[index].counted += piece.counted;
        }
    }
    let nanos = |(sample, operations): (&Sample, &u64)| {
        sample.elapsed.as_nanos() as f64 / (operations * u64::from(pieces)) as f64
    };
    let is_undisturbed = samples.iter().all(|sample| watch.is_undisturbed(sample.elapsed, sample.counted));
    is_undisturbed.then(|| samples.iter().zip(operations).map(nanos).collect())
}

/// How long work took, and what its watch counted meanwhile.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    elapsed: Duration,
    counted: f64,
}

/// A piece of a sample.
fn piece(case: &mut Case<'_>, operations: u64, watch: &Watch) -> Option<Sample> {
    const TRIES: usize = 8;
    (0..TRIES).find_map(|_| {
        let (before, started) = (watch.seconds(), Instant::now());
        (case.run)(operations);
        let elapsed = started.elapsed();
        let counted = watch.seconds() - before;
        watch.is_undisturbed(elapsed, counted).then_some(Sample { elapsed, counted })
    })
}
