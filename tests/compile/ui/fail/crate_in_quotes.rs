use cache_runtime::cached;

#[cached(crate = "my_app::cache")]
fn user(id: u64) -> u64 {
    id
}

fn main() {}
