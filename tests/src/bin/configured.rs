//! A program whose cache is configured by its environment, for `tests/configuration.rs` and `tests/outage/blame.rs`: tells
//! what it sees.

#![allow(clippy::print_stdout, reason = "its output is what the tests read")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache_runtime::{Config, cached};

#[cached(backend = "sessions")]
fn session(id: u64) -> u64 {
    id
}

// Without `tokio`, an async function has no client.
#[cfg_attr(feature = "servers", cached(backend = "sessions"))]
async fn session_async(id: u64) -> u64 {
    id
}

#[cached]
fn local(id: u64) -> u64 {
    id
}

/// Prints what the library logs.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        println!("{}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// Calls all the time, from threads and tasks, until the standard input ends.
fn stay_busy() {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    let threads: Vec<_> = (0..8)
        .map(|n| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("a runtime");
                while !IS_OVER.load(Ordering::Relaxed) {
                    let found = if n % 2 == 0 { session(n) } else { runtime.block_on(session_async(n)) };
                    assert_eq!(found, n);
                }
            })
        })
        .collect();
    println!("busy");
    std::io::stdin().lines().for_each(drop);
    IS_OVER.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "silent") {
        log::set_logger(&Log).expect("the only logger");
        log::set_max_level(log::LevelFilter::Warn);
    }
    for argument in &arguments {
        match argument.as_str() {
            "silent" => {}
            "install" => {
                let config = Config::from_env()
                    .url("sessions", "memory://")
                    .prefix("code:")
                    .default_ttl(Duration::MAX);
                println!("install: {:?}", config.install());
            }
            "check" => match cache_runtime::check() {
                Ok(()) => println!("check: ok"),
                Err(errors) => println!("check: {} wrong\n{errors}", errors.errors().len()),
            },
            "busy" => stay_busy(),
            "known" => drop(session::stats()),
            _ => {
                for _ in 0..3 {
                    assert_eq!((session(1), local(1)), (1, 1));
                }
                println!("runs: {} {}", session::stats().runs, local::stats().runs);
                println!("errors: {} {}", session::stats().errors, local::stats().errors);
                println!("key: {}", session::key(1));
            }
        }
    }
}
