use cache_runtime::cached;

#[cached]
fn first(name: &str) -> &str {
    &name[..1]
}

fn main() {}
