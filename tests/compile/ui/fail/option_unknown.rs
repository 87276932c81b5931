use cache_runtime::cached;

#[cached(lifetime_in_seconds = 60)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
