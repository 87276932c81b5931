use cache_runtime::cached;

#[cached(skip(a))]
fn sum((a, b): (u64, u64)) -> u64 {
    a + b
}

fn main() {}
