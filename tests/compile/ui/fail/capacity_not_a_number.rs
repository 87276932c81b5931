use cache_runtime::cached;

#[cached(capacity = "many")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
