use cache_runtime::cached;

#[cached(stale = "30s", single_flight = "cluster")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
