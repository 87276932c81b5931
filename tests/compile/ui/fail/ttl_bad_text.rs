use cache_runtime::cached;

#[cached(ttl = "5 minutes")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
