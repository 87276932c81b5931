use cache_runtime::cached;

#[cached(backend = "sessions", codec = "msgpack")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
