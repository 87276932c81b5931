use cache_runtime::cached;

#[cached(key = "user:{idd}")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
