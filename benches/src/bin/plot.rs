//! Draws the plots of the README from the kept results: bars by hand, because a drawing library would be the largest
//! dependency of all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use cache_benches::report::{Group, Report};

const WIDTH: f64 = 760.0;
const LABEL: f64 = 290.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;

/// What is drawn.
struct Plot {
    /// The file's.
    name: &'static str,
    /// What the length of a bar means.
    axis: &'static str,
    /// It, of nanoseconds.
    length: fn(f64) -> f64,
    /// Parts, and the titles of groups in them.
    groups: &'static [(&'static str, &'static str)],
}

const PLOTS: [Plot; 3] = [
    Plot {
        name: "memory-hits",
        axis: "nanoseconds a call, less is better",
        length: |nanoseconds| nanoseconds,
        groups: &[
            ("memory", "hit, u64 -> u64, 1024 keys"),
            ("memory", "hit, (&str of 24 B, u32) -> String of 64 B"),
            ("memory", "hit, async, u64 -> u64, 1024 keys"),
        ],
    },
    Plot {
        name: "memory-misses",
        axis: "nanoseconds a call, less is better",
        length: |nanoseconds| nanoseconds,
        groups: &[
            ("memory", "miss with room, u64 -> u64"),
            ("memory", "miss with room, &str -> String"),
            ("memory", "miss and insert at capacity, u64 -> u64"),
        ],
    },
    Plot {
        name: "remote-hits",
        axis: "thousand calls a second, more is better",
        length: |nanoseconds| 1e6 / nanoseconds,
        groups: &[
            ("redis", "Redis, one blocking caller, 100 bytes, one CPU"),
            ("redis", "Redis, 64 tasks, 100 bytes, one CPU"),
            ("memcached", "Memcached, one blocking caller, 100 bytes, one CPU"),
            ("memcached", "Memcached, 64 tasks, 100 bytes, one CPU"),
        ],
    },
];

fn main() {
    let mut reports = BTreeMap::new();
    for part in PLOTS.iter().flat_map(|plot| plot.groups).map(|(part, _)| *part) {
        if let Ok(text) = std::fs::read_to_string(Report::path(part)) {
            let report: Report = serde_json::from_str(&text).expect("results that this project wrote");
            reports.insert(part, report);
        }
    }
    for plot in &PLOTS {
        let found = plot
            .groups
            .iter()
            .map(|(part, title)| reports.get(part)?.groups.iter().find(|group| group.title == *title));
        let Some(groups) = found.collect::<Option<Vec<&Group>>>() else {
            println!("no results yet of all that is in {}: run ./benches/run", plot.name);
            continue;
        };
        let mut parts: Vec<&str> = plot.groups.iter().map(|(part, _)| *part).collect();
        parts.dedup();
        let sources: Vec<&Report> = parts.iter().filter_map(|part| reports.get(part)).collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plots").join(format!("{}.svg", plot.name));
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("plots/ can be made");
        std::fs::write(&path, draw(plot, &groups, &sources)).expect("plots/ is writable");
        println!("drawn: {}", path.display());
    }
}

/// Horizontal bars, a group below another, ours in colour.
fn draw(plot: &Plot, groups: &[&Group], sources: &[&Report]) -> String {
    let bars: usize = groups.iter().map(|group| group.figures.len()).sum();
    let height = 30.0 + groups.len() as f64 * 44.0 + (bars + sources.len()) as f64 * STEP;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
"##
    );
    let mut y = 14.0;
    for group in groups {
        y += 26.0;
        text(&mut svg, 12.0, y, "start", &format!("{}: {}", group.title, plot.axis), true);
        y += 18.0;
        let amounts: Vec<f64> = group.figures.iter().map(|figure| (plot.length)(figure.value)).collect();
        let longest = amounts.iter().copied().fold(0.0, f64::max);
        for (index, (figure, value)) in group.figures.iter().zip(amounts).enumerate() {
            let (length, middle) = (value / longest * (WIDTH - LABEL - 80.0), y + BAR - 4.0);
            let colour = if index == 0 { "#c2410c" } else { "#94a3b8" };
            text(&mut svg, LABEL - 8.0, middle, "end", &figure.name, false);
            let _ = writeln!(
                svg,
                r##"<rect x="{LABEL}" y="{y}" width="{length:.1}" height="{BAR}" fill="{colour}"/>"##
            );
            text(&mut svg, LABEL + length + 6.0, middle, "start", &amount(value), false);
            y += STEP;
        }
    }
    for report in sources {
        y += 22.0;
        let source = format!("{}, {}. {}", report.date, report.machine, report.command);
        text(&mut svg, 12.0, y, "start", &source, false);
    }
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str, is_bold: bool) {
    let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}"{weight} fill="#1e293b">{text}</text>"##
    );
}

fn amount(value: f64) -> String {
    match value {
        n if n < 100.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}
