use cache_runtime::cached;

#[cached()]
fn user<T: Into<u64>>(id: T) -> u64 {
    id.into()
}

fn main() {}
