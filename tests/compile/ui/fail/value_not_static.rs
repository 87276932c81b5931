use cache_runtime::cached;
use serde::Serialize;

#[cached]
fn same<T: Serialize + Clone + Send + Sync>(value: T) -> T {
    value
}

fn main() {
    same(1_u64);
}
