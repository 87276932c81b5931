//! What callers notice when the cache goes away: a Redis is started, killed, frozen and started again under load,
//! while hit rate, latency and runs of the body are drawn as they happen.
//!
//! ```text
//! cargo run --release -p cache-examples --example outage [-- --plain] [-- --seconds 4]
//! ```
//!
//! `--plain`, which is what a pipe or a dumb terminal gets by itself, prints a line a second instead. It needs
//! `redis-server`, starts it on a free port of the loopback interface, and stops it.

mod chart;
mod load;
mod server;

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_runtime::Config;

use crate::chart::Chart;
use crate::load::Load;
use crate::server::Server;

/// How often what happened is looked at.
const TICK: Duration = Duration::from_millis(250);

/// A step of the play: its name, and what is done to the server when it begins.
type Act = (&'static str, fn(&mut Server) -> std::io::Result<()>);

const PLAY: [Act; 6] = [
    ("running", |_| Ok(())),
    ("killed", Server::kill),
    ("restarted", Server::start_again),
    ("frozen", |server| server.signal("STOP")),
    ("thawed", |server| server.signal("CONT")),
    ("killed for good", Server::kill),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outage: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (is_plain, seconds) = arguments()?;
    let mut server = Server::start()?;
    Config::new().url("redis", &server.url()).install()?;
    let interrupted = interruption();
    let load = Load::start();
    let mut chart = Chart::new(is_plain);
    let ticks = (seconds * 1000).div_ceil(TICK.as_millis().try_into()?);
    'play: for (act, begin) in PLAY {
        begin(&mut server)?;
        chart.begins(act);
        for _ in 0..ticks {
            std::thread::sleep(TICK);
            chart.tick(load.take());
            if interrupted.load(Ordering::Relaxed) {
                break 'play;
            }
        }
    }
    drop(load);
    chart.summary();
    Ok(())
}

fn arguments() -> Result<(bool, u64), String> {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let (mut is_plain, mut seconds) = (is_dumb || !std::io::stdout().is_terminal(), 4);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--plain" => is_plain = true,
            "--seconds" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                seconds = number.filter(|number| *number > 0).ok_or("--seconds takes a number above zero")?;
            }
            other => return Err(format!("unknown argument `{other}`; known are --plain and --seconds N")),
        }
    }
    Ok((is_plain, seconds))
}

/// Set by Ctrl-C, so that the server doesn't outlive this program.
fn interruption() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = interrupted.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok()) {
            seen.store(true, Ordering::Relaxed);
        }
    });
    interrupted
}
