use cache_runtime::cached;

#[cached(single_flight("off", wait = "2s"))]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
