use cache_runtime::cached;

#[cached(namespace = "my users")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
