//! `#[cached]` on functions of every form: it compiles without a warning, the body runs once for equal keys and again
//! for different ones, and no two functions, receivers, instantiations or implementing types share an entry.

#![deny(warnings)]
#![allow(
    clippy::boxed_local,
    clippy::multiple_bound_locations,
    clippy::new_ret_no_self,
    clippy::too_many_arguments,
    clippy::toplevel_ref_arg,
    reason = "signatures as people write them; what is generated passes all other lints"
)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use cache_runtime::testing::Scope;
use cache_runtime::{Config, Stats};
use serde::{Deserialize, Serialize};

/// What bodies return: what they were called with, and a number that no other run has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Run {
    of: String,
    number: u64,
}

fn run(of: String) -> Run {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    Run { of, number: RUNS.fetch_add(1, Ordering::Relaxed) }
}

/// A [`Run`] of what is formatted.
macro_rules! run {
    ($($format:tt)*) => { $crate::run(format!($($format)*)) };
}

/// Makes each call twice: the second is answered with what the first's body gave, which is of the expected text and of
/// a run of its own.
macro_rules! distinct {
    ($($call:expr => $of:expr),+ $(,)?) => {{
        let first: Vec<$crate::Run> = vec![$($call),+];
        let again: Vec<$crate::Run> = vec![$($call),+];
        assert_eq!(first, again, "bodies ran again");
        let texts: Vec<&str> = first.iter().map(|run| &*run.of).collect();
        assert_eq!(texts, [$($of),+]);
        $crate::assert_own_runs(&first);
    }};
}

fn assert_own_runs(runs: &[Run]) {
    let numbers: BTreeSet<u64> = runs.iter().map(|run| run.number).collect();
    assert_eq!(numbers.len(), runs.len(), "calls share an entry: {runs:?}");
}

/// The calls of a function so far; nothing failed open.
#[track_caller]
fn assert_ran(stats: &Stats, runs: u64, hits: u64) {
    assert_eq!((stats.runs, stats.hits, stats.errors), (runs, hits, 0), "{}", stats.function);
}

/// The statistics of the function, without companions, whose path ends so.
#[track_caller]
fn stats_of(end: &str) -> Stats {
    let all = cache_runtime::stats();
    let mut found = all.iter().filter(|stats| stats.function.ends_with(end));
    match (found.next(), found.next()) {
        (Some(stats), None) => stats.clone(),
        _ => panic!("not one function `{end}` in\n{all}"),
    }
}

/// Runs `test` with the backend `memory`, or with each kind of store that `remote` may stand for.
fn on<F: Future<Output = ()>>(backend: &str, test: impl Fn(Scope) -> F) {
    if backend == "memory" {
        return run_with(Config::new(), &test);
    }
    let remote = |url: &str| {
        println!("`remote` is {url}");
        run_with(Config::new().url("remote", url), &test);
    };
    remote("memory://");
    #[cfg(feature = "servers")]
    {
        use cache_tests::servers::{MemcachedServer, RedisServer};
        remote(&RedisServer::start().url());
        remote(&MemcachedServer::start().url());
    }
}

fn run_with<F: Future<Output = ()>>(config: Config, test: impl Fn(Scope) -> F) {
    let scope = Scope::with_config(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scope.run(test(scope.clone())));
}

/// One suite for every backend. `$suite` is called with a module, a backend, and `async` and `.await`, or nothing.
///
/// What the macro generates is the same for all servers, so one alias stands for all of them: compiling these suites
/// takes longer than any other crate.
macro_rules! every_backend {
    ($suite:ident) => {
        $suite!(memory, "memory", [], []);
        $suite!(memory_async, "memory", [async], [.await]);
        $suite!(remote, "remote", [], []);
        #[cfg(feature = "servers")]
        $suite!(remote_async, "remote", [async], [.await]);
    };
}

/// The same for suites that are only blocking or only async.
macro_rules! each_kind {
    ($suite:ident) => {
        $suite!(memory, "memory");
        #[cfg(feature = "servers")]
        $suite!(remote, "remote");
    };
}

mod arguments;
mod attributes;
mod futures;
mod generics;
mod methods;
mod places;
mod recursion;
mod returns;
mod traits;
