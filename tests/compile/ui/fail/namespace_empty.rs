use cache_runtime::cached;

#[cached(namespace = "")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
