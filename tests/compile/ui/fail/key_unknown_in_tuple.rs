use cache_runtime::cached;

#[cached(key = (ids.len(), names.len()))]
fn user(ids: Vec<u64>, name: String) -> usize {
    ids.len() + name.len()
}

fn main() {}
