use std::sync::Arc;

use cache_runtime::cached;

struct Users;

impl Users {
    #[cached]
    fn user(&self, id: u64) -> u64 {
        id
    }

    #[cached(skip(id))]
    fn shared(self: Arc<Self>, id: u64) -> u64 {
        id
    }
}

fn main() {}
