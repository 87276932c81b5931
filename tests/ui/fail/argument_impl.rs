use cache_runtime::cached;

#[cached]
fn user(name: impl Into<String>) -> String {
    name.into()
}

fn main() {}
