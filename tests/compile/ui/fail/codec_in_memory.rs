use cache_runtime::cached;

#[cached(codec = "bincode")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
