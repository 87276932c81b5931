//! Redis: this against `redis` and `cached`, blocking and async.

use cache_benches::Part;

fn main() {
    let part = Part::new("redis");
    part.finish();
}
