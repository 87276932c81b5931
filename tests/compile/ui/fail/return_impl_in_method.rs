use cache_runtime::cached;

struct Users;

impl Users {
    #[cached(skip(self))]
    async fn users(&self, count: u64) -> impl Iterator<Item = u64> {
        0..count
    }
}

fn main() {}
