use cache_runtime::cached;

#[cached(codec = "bincod", backend = "sessions")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
