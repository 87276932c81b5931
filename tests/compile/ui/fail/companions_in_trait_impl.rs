use cache_runtime::cached;

trait Load {
    fn load(&self, id: u64) -> u64;
}

struct Users;

impl Load for Users {
    #[cached(skip(self))]
    fn load(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
