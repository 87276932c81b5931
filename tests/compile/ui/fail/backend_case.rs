use cache_runtime::cached;

#[cached(backend = "Memcached")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
