use cache_runtime::cached;

#[cached(backend = "sessions")]
async fn user(id: u64) -> u64 {
    id
}

#[cached(single_flight(detach = true))]
async fn report(id: u64) -> u64 {
    id
}

fn main() {}
