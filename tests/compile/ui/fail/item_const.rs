use cache_runtime::cached;

#[cached]
pub const USER: u64 = 1;

fn main() {}
