//! What is allocated: for an entry that stays, and by a hit. A program of its own, because counting takes time.

use std::alloc::System;

use cache_benches::functions::{Record, names, shared, strings, structs};
use cache_benches::{Case, Goal, Part, cases};
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Kept while their memory is counted.
const ENTRIES: u64 = 131_072;
/// Hit, and hit so often before it counts.
const KEYS: u64 = 1_024;
const WARM: u64 = 150;

fn count(of: impl Fn(Stats) -> usize) -> impl Fn() -> i64 {
    move || of(ALLOCATOR.stats()) as i64
}

/// The memory of stores in which nothing is yet, an entry; what they take once and for all is shared by the entries.
fn memory(part: &mut Part, what: &str, goals: &[Goal], cases: &mut [Case<'_>]) {
    let title = format!("memory of an entry, {what}, {ENTRIES} entries");
    let live = count(|stats| stats.bytes_allocated - stats.bytes_deallocated);
    part.count(&title, "B", goals, cases, ENTRIES, live);
}

/// What hits allocate, and what the value's own clone does.
fn hits<'a>(part: &mut Part, what: &str, mut cases: Vec<Case<'a>>, clone: Case<'a>) {
    (0..WARM).for_each(|_| cases.iter_mut().for_each(|case| case.warm(KEYS)));
    let goals = [Goal::more(clone.name(), 0.0)];
    cases.push(clone);
    let bytes = count(|stats| stats.bytes_allocated);
    part.count(&format!("bytes allocated by a hit, {what}"), "B", &goals, &mut cases, KEYS, bytes);
    let calls = count(|stats| stats.allocations + stats.reallocations);
    part.count(&format!("allocations of a hit, {what}"), "calls", &goals, &mut cases, KEYS, calls);
}

fn main() {
    const CLONE: &str = "the value's own clone";
    let mut part = Part::new("allocations");
    let (at, names) = (|index| index % ENTRIES, names(ENTRIES));
    let name = |index| names[at(index) as usize].as_str();
    let (text, slice) = (strings::body(name(0), 7), shared::body(name(0)));
    let records: Vec<Record> = (0..KEYS).map(structs::body).collect();

    let mut cases = cases::numbers(at);
    memory(&mut part, "u64 -> u64", &[Goal::AtMost(110.0)], &mut cases);
    hits(&mut part, "u64 -> u64", cases, Case::each(CLONE, at));

    let mut cases = cases::strings(name);
    let what = "(&str of 24 B, u32) -> String of 64 B";
    memory(&mut part, what, &[], &mut cases);
    hits(&mut part, what, cases, Case::each(CLONE, |_| text.clone()));

    let clone = Case::each(CLONE, |_| slice.clone());
    hits(&mut part, "&str -> Arc<Vec<u8>> of 4 KiB", cases::shared(name), clone);
    let clone = Case::each(CLONE, |index| records[index as usize].clone());
    hits(&mut part, "u64 -> struct of 20 fields", cases::structs(at), clone);
    hits(&mut part, "async, u64 -> u64", cases::numbers_async(at), Case::each(CLONE, at));
    part.finish();
}
