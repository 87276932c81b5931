use cache_runtime::cached;

#[cached(key = "user:{id}{tenant}")]
fn user(id: u64, tenant: u64) -> u64 {
    id + tenant
}

fn main() {}
