use cache_runtime::cached;

#[cached(codec = "xml", backend = "sessions")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
