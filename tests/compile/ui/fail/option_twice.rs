use cache_runtime::cached;

#[cached(ttl = 60, capacity = 10, ttl = 5)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
