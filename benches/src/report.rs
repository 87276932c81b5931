//! Results as people and programs read them: tables on the terminal, JSON in `results/`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Goal, machine};

/// All that one run of a part found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// `memory`, `redis`, …
    pub part: String,
    /// The day, in UTC.
    pub date: String,
    /// See [`machine::description`].
    pub machine: String,
    /// The compiler.
    pub rustc: String,
    /// What was typed.
    pub command: String,
    /// What was measured.
    pub groups: Vec<Group>,
}

/// Figures that may be compared with one another.
#[derive(Debug, Serialize, Deserialize)]
pub struct Group {
    /// What was done.
    pub title: String,
    /// The unit of the figures.
    pub unit: String,
    /// Rounds that count; none for figures that aren't times.
    pub rounds: usize,
    /// Rounds dropped because of foreign load.
    pub dropped: usize,
    /// The first is this project's.
    pub figures: Vec<Figure>,
    /// What became of the goals.
    pub goals: Vec<Outcome>,
}

/// One case.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Who.
    pub name: String,
    /// The median, or the only value.
    pub value: f64,
    /// The fastest tenth of the rounds.
    pub p10: f64,
    /// The slowest tenth.
    pub p90: f64,
    /// The first case's value in relation to this one's: the median of the rounds' ratios.
    pub first_to_this: f64,
}

/// A goal and what was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// In words.
    pub goal: String,
    /// The ratio, or the amount.
    pub measured: f64,
    /// Whether it suffices.
    pub is_met: bool,
}

impl Report {
    pub(crate) fn new(part: &str) -> Self {
        Self {
            part: part.into(),
            date: machine::first_line_of("date", &["-u", "+%F"]),
            machine: machine::description(),
            rustc: machine::first_line_of("rustc", &["--version"]),
            command: format!("./benches/run {part}"),
            groups: Vec::new(),
        }
    }

    /// Where the results of `part` are kept.
    pub fn path(part: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "results", &format!("{part}.json")].iter().collect()
    }

    /// Adds a group and prints it.
    pub(crate) fn add(&mut self, group: Group) {
        group.print();
        self.groups.push(group);
    }

    pub(crate) fn print_goals(&self) {
        println!("\ngoals");
        for group in &self.groups {
            for outcome in &group.goals {
                let verdict = if outcome.is_met { "met   " } else { "MISSED" };
                println!("  {verdict} {:<68} {:>8.2}  {}", group.title, outcome.measured, outcome.goal);
            }
        }
    }

    pub(crate) fn write(&self) {
        let path = Self::path(&self.part);
        let json = serde_json::to_string_pretty(self).expect("a report has nothing that JSON lacks");
        let folder = path.parent().expect("a file in a folder");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, json + "\n"))
            .expect("results/ is writable");
        println!("\nwritten to {}", path.display());
    }
}

impl Group {
    /// From rounds, a column for each of `names`.
    pub(crate) fn of_rounds(
        title: &str,
        unit: &str,
        names: &[&str],
        rounds: &[Vec<f64>],
        dropped: usize,
        goals: &[Goal],
    ) -> Self {
        let column = |index: usize| rounds.iter().map(|round| round[index]).collect::<Vec<_>>();
        let ratios = |index: usize| rounds.iter().map(|round| round[0] / round[index]).collect::<Vec<_>>();
        let figures: Vec<Figure> = names
            .iter()
            .enumerate()
            .map(|(index, name)| Figure {
                name: (*name).to_owned(),
                value: quantile(column(index), 0.5),
                p10: quantile(column(index), 0.1),
                p90: quantile(column(index), 0.9),
                first_to_this: quantile(ratios(index), 0.5),
            })
            .collect();
        let goals = goals.iter().map(|goal| goal.judge(&figures, unit)).collect();
        Self { title: title.into(), unit: unit.into(), rounds: rounds.len(), dropped, figures, goals }
    }

    pub(crate) fn of_figures(title: &str, unit: &str, mut figures: Vec<Figure>, goals: &[Goal]) -> Self {
        let first = figures.first().map_or(f64::NAN, |figure| figure.value);
        for figure in &mut figures {
            // JSON knows no infinity, which is the ratio to nothing.
            let ratio = (first / figure.value).min(f64::MAX);
            figure.first_to_this = if figure.value == first { 1.0 } else { ratio };
        }
        let goals = goals.iter().map(|goal| goal.judge(&figures, unit)).collect();
        Self { title: title.into(), unit: unit.into(), rounds: 0, dropped: 0, figures, goals }
    }

    fn print(&self) {
        println!("\n{}", self.title);
        for figure in &self.figures {
            let Figure { name, value, p10, p90, first_to_this } = figure;
            match self.rounds {
                0 => println!("  {name:<44} {value:>11.2} {}", self.unit),
                _ => println!(
                    "  {name:<44} {value:>11.2} {}  ({p10:.2} .. {p90:.2})  ratio {first_to_this:.3}",
                    self.unit
                ),
            }
        }
        if self.rounds > 0 {
            println!("  {} rounds, {} more dropped because of foreign load", self.rounds, self.dropped);
        }
    }
}

impl Figure {
    pub(crate) fn exact(name: String, value: f64) -> Self {
        Self { name, value, p10: value, p90: value, first_to_this: 1.0 }
    }
}

impl Goal {
    fn judge(&self, figures: &[Figure], unit: &str) -> Outcome {
        let figure = |name: &str| figures.iter().find(|figure| figure.name == *name);
        let time = |against: &str| figure(against).map_or(f64::NAN, |peer| peer.first_to_this);
        let first = figures.first().map_or(f64::NAN, |figure| figure.value);
        let (goal, measured, is_met) = match self {
            Self::Time(against, ratio) => {
                let measured = time(against);
                (format!("<= {ratio} x the time of {against}"), measured, measured <= *ratio)
            }
            Self::Speed(against, ratio) => {
                let measured = 1.0 / time(against);
                (format!(">= {ratio} x the operations of {against}"), measured, measured >= *ratio)
            }
            Self::More(against, amount) => {
                let measured = first - figure(against).map_or(f64::NAN, |peer| peer.value);
                (format!("<= {amount} {unit} more than {against}"), measured, measured <= *amount)
            }
            Self::AtLeast(amount) => (format!(">= {amount} {unit}"), first, first >= *amount),
            Self::AtMost(amount) => (format!("<= {amount} {unit}"), first, first <= *amount),
        };
        Outcome { goal, measured, is_met }
    }
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}
