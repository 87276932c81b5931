use cache_runtime::cached;

#[cached(single_flight(wait = 0))]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
