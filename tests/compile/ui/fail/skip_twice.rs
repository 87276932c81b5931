use cache_runtime::cached;

#[cached(skip(id, id))]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
