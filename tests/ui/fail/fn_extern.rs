use cache_runtime::cached;

#[cached()]
extern "C" fn user(id: u64) -> u64 {
    id
}

fn main() {}
