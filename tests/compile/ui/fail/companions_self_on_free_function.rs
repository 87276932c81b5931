use cache_runtime::cached;

#[cached(companions = Self)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
