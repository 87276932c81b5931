use cache_runtime::cached;

struct User;

#[cached(ttl = 60)]
impl User {
    fn id(&self) -> u64 {
        1
    }
}

fn main() {}
