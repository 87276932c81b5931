use cache_runtime::cached;

#[cached(single_flight = "cluster")]
fn user(id: u64) -> u64 {
    id
}

#[cached(backend = "memory", single_flight = "cluster", ttl = 60)]
fn member(id: u64) -> u64 {
    id
}

#[cached(single_flight = "processes")]
fn team(id: u64) -> u64 {
    id
}

fn main() {}
