use cache_runtime::cached;

#[cached(cache_err = true, negative_ttl = |error| 5)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
