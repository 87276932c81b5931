use cache_runtime::cached;

#[cached(key = tenant)]
fn user(id: u64, name: String) -> u64 {
    id + name.len() as u64
}

fn main() {}
