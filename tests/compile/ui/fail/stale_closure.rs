use cache_runtime::cached;

#[cached(ttl = 60, stale = |value| Duration::from_secs(*value))]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
