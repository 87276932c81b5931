//! A program whose cache is configured by its environment, for `tests/configuration.rs`: tells what it sees.

#![allow(clippy::print_stdout, reason = "its output is what the tests read")]

use std::time::Duration;

use cache_runtime::{Config, cached};

#[cached(backend = "sessions")]
fn session(id: u64) -> u64 {
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
