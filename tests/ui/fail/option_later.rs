use cache_runtime::cached;

#[cached(stale = "30s", jitter = 0.1)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
