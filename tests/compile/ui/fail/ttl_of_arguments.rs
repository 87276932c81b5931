use cache_runtime::cached;
use std::time::Duration;

#[cached(ttl = Duration::from_secs(id))]
fn answer(id: u64) -> u64 {
    id
}

fn main() {
    answer(1);
}
