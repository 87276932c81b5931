use cache_runtime::cached;

#[cached(backend = "store")]
fn load<T: Default>(id: u64) -> Vec<T> {
    let _ = id;
    Vec::new()
}

fn main() {
    load::<u64>(1);
}
