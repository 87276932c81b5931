use cache_runtime::cached;

#[cached]
fn users(count: u64) -> impl Iterator<Item = u64> {
    0..count
}

fn main() {}
