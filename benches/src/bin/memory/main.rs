//! Memory: hits, misses, threads and hit ratios of this and its peers, in one process.

mod copies;
mod hits;
mod misses;
mod ratios;

use cache_benches::{Part, machine};
use cache_runtime::Config;

fn main() {
    let mut part = Part::new("memory");
    Config::new().url("copies", "memory://").install().expect("the settings are right");
    machine::pin(&[0]);
    hits::numbers(&mut part);
    hits::values(&mut part);
    hits::asynchronous(&mut part);
    misses::with_room(&mut part);
    misses::at_capacity(&mut part);
    misses::recursion(&mut part);
    copies::compare(&mut part);
    ratios::traces(&mut part);
    machine::pin(&[0, 1]);
    hits::threads(&mut part);
    part.finish();
}
