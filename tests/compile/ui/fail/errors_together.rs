use cache_runtime::cached;

#[cached(tll = 60, capacity = 0, cache_none = "yes", version = 1)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
