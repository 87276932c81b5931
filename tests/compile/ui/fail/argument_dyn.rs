use cache_runtime::cached;

#[cached]
fn user(id: u64, source: &dyn std::fmt::Display) -> String {
    format!("{id} {source}")
}

fn main() {}
