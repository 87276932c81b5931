use cache_runtime::cached;

#[cached(max_bytes = "64 megabytes")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
