use cache_runtime::cached;

#[cached(backend = "my cache")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
