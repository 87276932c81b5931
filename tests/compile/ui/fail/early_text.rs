use cache_runtime::cached;

#[cached(ttl = 60, early = "5s")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
