use cache_runtime::cached;

#[cached(key = "{a}:{b}")]
fn sum((&a, b): (&u64, u64)) -> u64 {
    a + b
}

fn main() {}
