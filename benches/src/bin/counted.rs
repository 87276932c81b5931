//! Hits and misses to be counted by the instruction: `counted CASE CALLS`. See `callgrind/run`, which subtracts one run from
//! another.

use std::hint::black_box;

use cache_benches::functions::{names, numbers, shared, strings, structs};
use cache_benches::ready;

/// So many that it matters little how the seed of a process's hashes places them.
const KEYS: u64 = 1_024;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, case, calls] = &arguments[..] else { panic!("usage: counted CASE CALLS") };
    let calls: u64 = calls.parse().expect("a number of calls");
    let names = names(KEYS);
    let name = |index: u64| names[(index % KEYS) as usize].as_str();
    let run: &dyn Fn(u64) = match case.as_str() {
        "numbers-ours" => &|index| _ = black_box(numbers::ours(index % KEYS)),
        "numbers-plain" => &|index| _ = black_box(numbers::plain(index % KEYS)),
        "numbers-bounded" => &|index| _ = black_box(numbers::bounded(index % KEYS)),
        "numbers-async-ours" => &|index| _ = black_box(ready(numbers::ours_async(index % KEYS))),
        "numbers-async-bounded" => &|index| _ = black_box(ready(numbers::concurrent_async(index % KEYS))),
        "strings-ours" => &|index| _ = black_box(strings::ours(name(index), 7)),
        "strings-bounded" => &|index| _ = black_box(strings::bounded(name(index), 7)),
        "shared-ours" => &|index| _ = black_box(shared::ours(name(index))),
        "shared-bounded" => &|index| _ = black_box(shared::bounded(name(index))),
        "structs-ours" => &|index| _ = black_box(structs::ours(index % KEYS)),
        "structs-bounded" => &|index| _ = black_box(structs::bounded(index % KEYS)),
        "misses-ours" => &|index| _ = black_box(numbers::ours(index)),
        "misses-bounded" => &|index| _ = black_box(numbers::bounded(index)),
        _ => panic!("no case {case}"),
    };
    // Misses first, and the hits that are different because an entry is new.
    (0..8 * KEYS).chain(8 * KEYS..8 * KEYS + calls).for_each(|index| run(black_box(index)));
}
