//! Memcached: this against `memcache::exp` and the raw meta protocol.

use cache_benches::Part;

fn main() {
    let part = Part::new("memcached");
    part.finish();
}
