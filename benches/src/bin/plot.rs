//! Draws the plots of the README from the kept results: bars by hand, because a drawing library would be the largest
//! dependency of all.

use std::fmt::Write as _;
use std::path::Path;

use cache_benches::report::{Group, Report};

const WIDTH: f64 = 760.0;
const LABEL: f64 = 290.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;

/// What is drawn: the part, the file's name, the titles of the groups.
const PLOTS: [(&str, &str, &[&str]); 2] = [
    (
        "memory",
        "memory-hits",
        &[
            "hit, u64 -> u64, 1024 keys",
            "hit, (&str of 24 B, u32) -> String of 64 B",
            "hit, async, u64 -> u64, 1024 keys",
        ],
    ),
    ("redis", "redis-hits", &[]),
];

fn main() {
    for (part, name, titles) in PLOTS {
        let Ok(text) = std::fs::read_to_string(Report::path(part)) else {
            println!("no results of {part} yet: run ./benches/run {part}");
            continue;
        };
        let report: Report = serde_json::from_str(&text).expect("results that this program wrote");
        let wanted = |group: &&Group| {
            group.unit == "ns" && (titles.is_empty() || titles.contains(&group.title.as_str()))
        };
        let groups: Vec<&Group> = report.groups.iter().filter(wanted).take(3).collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plots").join(format!("{name}.svg"));
        std::fs::create_dir_all(path.parent().expect("a file in a folder")).expect("plots/ can be made");
        std::fs::write(&path, draw(&report, &groups)).expect("plots/ is writable");
        println!("drawn: {}", path.display());
    }
}

/// Horizontal bars, a group below another, ours in colour.
fn draw(report: &Report, groups: &[&Group]) -> String {
    let bars: usize = groups.iter().map(|group| group.figures.len()).sum();
    let height = 30.0 + groups.len() as f64 * 44.0 + bars as f64 * STEP + 20.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
"##
    );
    let mut y = 14.0;
    for group in groups {
        y += 26.0;
        text(
            &mut svg,
            12.0,
            y,
            "start",
            &format!("{}: nanoseconds a call, less is better", group.title),
            true,
        );
        y += 18.0;
        let longest = group.figures.iter().map(|figure| figure.value).fold(0.0, f64::max);
        for (index, figure) in group.figures.iter().enumerate() {
            let (length, middle) = (figure.value / longest * (WIDTH - LABEL - 80.0), y + BAR - 4.0);
            let colour = if index == 0 { "#c2410c" } else { "#94a3b8" };
            text(&mut svg, LABEL - 8.0, middle, "end", &figure.name, false);
            let _ = writeln!(
                svg,
                r##"<rect x="{LABEL}" y="{y}" width="{length:.1}" height="{BAR}" fill="{colour}"/>"##
            );
            text(&mut svg, LABEL + length + 6.0, middle, "start", &amount(figure.value), false);
            y += STEP;
        }
    }
    text(
        &mut svg,
        12.0,
        y + 22.0,
        "start",
        &format!("{}, {}. {}", report.date, report.machine, report.command),
        false,
    );
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

fn amount(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 100.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}
