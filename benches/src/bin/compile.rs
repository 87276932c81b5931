//! Compile time: a crate of many cached functions, with this and with its peers.

use cache_benches::Part;

fn main() {
    let part = Part::new("compile");
    part.finish();
}
