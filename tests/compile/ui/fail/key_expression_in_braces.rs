use cache_runtime::cached;

#[cached(key = "user:{id + 1}")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
