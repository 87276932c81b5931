use cache_runtime::cached;

#[cached(backend = "sessions", capacity = 10, max_bytes = "1MiB")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
