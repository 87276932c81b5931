use cache_runtime::cached;

#[cached(ttl = || std::time::Duration::from_secs(5))]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
