use cache_runtime::cached;

#[cached(single_flight(wait = "2s", wait = "3s"))]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
