use cache_runtime::cached;

#[cached]
#[target_feature(enable = "avx2")]
fn sum(numbers: &[i32]) -> i32 {
    numbers.iter().sum()
}

fn main() {}
