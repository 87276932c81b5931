//! A process of a cluster, for `tests/stampede/cluster.rs`: it follows the orders it reads and reports what happens.
//!
//! `CACHE_SHARED_URL` is where its entries are; its argument says whether it is `blocking` or `async`.

#![allow(clippy::print_stdout, reason = "its output is what the tests read")]

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cache_runtime::{Error, cached};
use tokio::task::JoinSet;

/// What bodies come to, once the test has said so.
#[derive(Clone, Copy)]
enum Outcome {
    Value(u64),
    Fail,
    Panic,
}

static OUTCOME: Mutex<Option<Outcome>> = Mutex::new(None);

fn outcome() -> Option<Result<u64, String>> {
    match (*OUTCOME.lock().unwrap())? {
        Outcome::Value(value) => Some(Ok(value)),
        Outcome::Fail => Some(Err("on purpose".to_owned())),
        Outcome::Panic => panic!("on purpose"),
    }
}

const PAUSE: Duration = Duration::from_millis(1);

#[cached(backend = "shared", namespace = "cluster:blocking", single_flight = "cluster")]
fn blocking(key: u64) -> Result<u64, String> {
    println!("runs {key}");
    loop {
        match outcome() {
            Some(outcome) => return outcome,
            None => std::thread::sleep(PAUSE),
        }
    }
}

#[cached(backend = "shared", namespace = "cluster:async", single_flight = "cluster")]
async fn asynchronous(key: u64) -> Result<u64, String> {
    println!("runs {key}");
    loop {
        match outcome() {
            Some(outcome) => return outcome,
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Its values are served for a minute after their end, while one is made.
#[cached(backend = "shared", namespace = "cluster:stale", single_flight = "cluster", ttl = 0.5, stale = "1m")]
fn stale(key: u64) -> Result<u64, String> {
    println!("runs {key}");
    loop {
        match outcome() {
            Some(outcome) => return outcome,
            None => std::thread::sleep(PAUSE),
        }
    }
}

/// Its values are too large for a server that takes 2 KiB.
#[cached(backend = "shared", namespace = "cluster:large", single_flight = "cluster")]
fn large(key: u64) -> Vec<u8> {
    println!("runs {key}");
    while OUTCOME.lock().unwrap().is_none() {
        std::thread::sleep(PAUSE);
    }
    vec![0; 4096]
}

/// It never has a value.
#[cached(backend = "shared", namespace = "cluster:absent", single_flight = "cluster")]
fn absent(key: u64) -> Option<Vec<u8>> {
    println!("runs {key}");
    while OUTCOME.lock().unwrap().is_none() {
        std::thread::sleep(PAUSE);
    }
    None
}

/// Reads the truth, and takes its time.
#[cached(backend = "shared", namespace = "cluster:churn", single_flight = "cluster", skip(dir))]
fn truth(dir: &Path) -> u64 {
    let truth = read(&dir.join("truth"));
    std::thread::sleep(delay(truth));
    truth
}

#[cached(backend = "shared", namespace = "cluster:churn-async", single_flight = "cluster", skip(dir))]
async fn truth_async(dir: &Path) -> u64 {
    let truth = read(&dir.join("truth"));
    tokio::time::sleep(delay(truth)).await;
    truth
}

fn delay(truth: u64) -> Duration {
    Duration::from_micros(500 * (truth % 5))
}

fn read(path: &Path) -> u64 {
    std::fs::read_to_string(path).expect("a file").parse().expect("a number")
}

fn write(path: &Path, number: u64) {
    let new = path.with_extension("new");
    std::fs::write(&new, number.to_string()).expect("a file");
    std::fs::rename(new, path).expect("a file");
}

/// Changes the truth, or checks that no call returns an older one than was known when it began; how often.
async fn churn(is_async: bool, is_writer: bool, time: Duration, dir: PathBuf) -> u64 {
    let (known, start) = (dir.join("known"), Instant::now());
    let mut rounds = 0;
    while start.elapsed() < time {
        rounds += 1;
        if is_writer {
            let next = read(&known) + 1;
            write(&dir.join("truth"), next);
            let invalidated = if is_async { truth_async::invalidate().await } else { truth::invalidate() };
            invalidated.expect("an answer");
            write(&known, next);
            // Long enough for a run to begin, not to end.
            tokio::time::sleep(Duration::from_micros(next % 7 * 300)).await;
            continue;
        }
        let known = read(&known);
        let found = match is_async {
            true => truth_async(&dir).await,
            false => {
                let dir = dir.clone();
                tokio::task::spawn_blocking(move || truth(&dir)).await.expect("no panic")
            }
        };
        assert!(found >= known, "{found} after {known} was known");
        // Else all calls would be waiting for the run already when the truth changes.
        tokio::time::sleep(Duration::from_micros(rounds % 5 * 200)).await;
    }
    rounds
}

/// The same entries to a function that knows no leases.
#[cached(backend = "shared", namespace = "cluster:blocking")]
fn loner(key: u64) -> Result<u64, String> {
    println!("loner {key}");
    Ok(key)
}

/// Waits, in its run, for the run of another key.
#[cached(backend = "shared", namespace = "cluster:nested", single_flight = "cluster", key = (key))]
fn nested(key: u64, other: u64) -> Result<u64, String> {
    println!("runs {key}");
    while OUTCOME.lock().unwrap().is_none() {
        std::thread::sleep(PAUSE);
    }
    if other == 0 { Ok(key) } else { nested(other, 0) }
}

fn told(call: &str, result: Result<u64, String>) {
    println!("{call} = {}", result.map_or_else(|error| error, |value| value.to_string()));
}

fn done(what: &str, result: Result<(), Error>) {
    println!("{what}: {}", result.map_or_else(|error| error.to_string(), |()| "ok".to_owned()));
}

fn number<T: FromStr>(words: &[&str], index: usize) -> T {
    words.get(index).and_then(|word| word.parse().ok()).expect("a number")
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let is_async = std::env::args().nth(1).as_deref() == Some("async");
    let mut calls = Vec::new();
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split(' ').collect();
        let key = || number(&words, 1);
        match words[0] {
            "call" => {
                for _ in 0..number(&words, 2) {
                    let key = key();
                    match is_async {
                        true => calls.push(tokio::spawn(async move {
                            told("call", asynchronous(key).await);
                        })),
                        false => drop(std::thread::spawn(move || told("call", blocking(key)))),
                    }
                }
            }
            "refresh" => {
                let key = key();
                match is_async {
                    true => drop(tokio::spawn(async move {
                        told("refresh", asynchronous::refresh(key).await);
                    })),
                    false => drop(std::thread::spawn(move || told("refresh", blocking::refresh(key)))),
                }
            }
            "large" => {
                let key = key();
                std::thread::spawn(move || println!("large = {}", large(key).len()));
            }
            "absent" => {
                let key = key();
                std::thread::spawn(move || {
                    println!("absent = {}", absent(key).map_or(0, |value| value.len()))
                });
            }
            "stale" => told("stale", stale(key())),
            "insert-stale" => done("insert", stale::insert(key(), number(&words, 2))),
            "churn" => {
                let (is_writer, time) = (words[1] == "writer", Duration::from_secs(number(&words, 2)));
                let tasks: JoinSet<u64> = (0..if is_writer { 1 } else { 6 })
                    .map(|_| churn(is_async, is_writer, time, words[3].into()))
                    .collect();
                // Panics if one of them did: the test sees the end of this process.
                println!("churned {}", tasks.join_all().await.iter().sum::<u64>());
            }
            "loner" => told("loner", loner(key())),
            "nested" => {
                let (key, other) = (key(), number(&words, 2));
                std::thread::spawn(move || told("nested", nested(key, other)));
            }
            "give" => *OUTCOME.lock().unwrap() = Some(Outcome::Value(number(&words, 1))),
            "fail" => *OUTCOME.lock().unwrap() = Some(Outcome::Fail),
            "panic" => *OUTCOME.lock().unwrap() = Some(Outcome::Panic),
            "wait" => *OUTCOME.lock().unwrap() = None,
            "cancel" => calls.drain(..).for_each(|call| call.abort()),
            "invalidate" => done(
                "invalidate",
                match is_async {
                    true => asynchronous::invalidate(key()).await,
                    false => blocking::invalidate(key()),
                },
            ),
            "insert" => {
                let value = number(&words, 2);
                done(
                    "insert",
                    match is_async {
                        true => asynchronous::insert(key(), value).await,
                        false => blocking::insert(key(), value),
                    },
                );
            }
            "clear" => done(
                "clear",
                match is_async {
                    true => asynchronous::clear().await,
                    false => blocking::clear(),
                },
            ),
            "peek" => {
                let found = match is_async {
                    true => asynchronous::peek(key()).await,
                    false => blocking::peek(key()),
                };
                println!("peek: {}", found.unwrap().map_or("none".to_owned(), |value| value.to_string()));
            }
            "key" => match is_async {
                true => println!("key: {}", asynchronous::key(key())),
                false => println!("key: {}", blocking::key(key())),
            },
            "stats" => {
                let stats = if is_async { asynchronous::stats() } else { blocking::stats() };
                println!("stats: {} {} {} {}", stats.misses, stats.runs, stats.waits, stats.stores);
            }
            "background" => println!("background: {}", has_background()),
            unknown => panic!("no command {unknown}"),
        }
    }
}

/// Whether the library has a thread in this process.
fn has_background() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").expect("a system with /proc");
    let mut names =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.any(|name| name.starts_with("cache-"))
}
