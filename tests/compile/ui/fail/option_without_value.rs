use cache_runtime::cached;

#[cached(ttl, cache_none)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
