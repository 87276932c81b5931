use cache_runtime::cached;

#[cached(cache_if = true)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
