use cache_runtime::cached;

#[cached()]
unsafe fn user(id: u64) -> u64 {
    id
}

fn main() {}
