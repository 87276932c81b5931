use cache_runtime::cached;

#[cached()]
const fn user(id: u64) -> u64 {
    id
}

fn main() {}
