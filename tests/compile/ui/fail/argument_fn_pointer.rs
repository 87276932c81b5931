use cache_runtime::cached;

#[cached]
fn user(id: u64, load: fn(u64) -> u64) -> u64 {
    load(id)
}

fn main() {}
