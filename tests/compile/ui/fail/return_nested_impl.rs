use cache_runtime::cached;

#[cached]
fn users(count: u64) -> Option<impl Iterator<Item = u64>> {
    Some(0..count)
}

fn main() {}
