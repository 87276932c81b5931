use cache_runtime::cached;

#[cached(companions = "users")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
