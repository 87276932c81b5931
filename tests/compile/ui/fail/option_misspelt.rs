use cache_runtime::cached;

#[cached(tll = 60)]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
