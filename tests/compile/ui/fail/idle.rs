use cache_runtime::cached;

#[cached(idle = "10m", backend = "sessions")]
fn remote(id: u64) -> u64 {
    id
}

#[cached(idle = "10m", ttl = 3600, stale = 5, early = true, on_error = 7)]
fn with_windows(id: u64) -> u64 {
    id
}

#[cached(idle = 0)]
fn zero(id: u64) -> u64 {
    id
}

#[cached(capacity = "all")]
fn unknown(id: u64) -> u64 {
    id
}

#[cached(capacity = -3)]
fn negative(id: u64) -> u64 {
    id
}

fn main() {}
