use cache_runtime::cached;

#[cached(backend = "reddis")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
