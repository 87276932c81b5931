use cache_runtime::cached;

#[cached(key = "user:{id:?}")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
