use cache_runtime::cached;

#[cached(version = "v2")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
