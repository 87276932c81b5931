use cache_runtime::cached;

#[cached(key = 5)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
