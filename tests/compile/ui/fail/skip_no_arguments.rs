use cache_runtime::cached;

#[cached(skip(id))]
fn answer() -> u64 {
    42
}

fn main() {}
