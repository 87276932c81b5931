use cache_runtime::cached;

#[cached(skip(self))]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
