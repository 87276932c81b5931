use cache_runtime::cached;

#[cached]
fn name(id: u64) -> dyn std::fmt::Display {
    id
}

fn main() {}
