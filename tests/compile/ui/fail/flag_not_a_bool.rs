use cache_runtime::cached;

#[cached(cache_none = yes)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
