use cache_runtime::cached;

struct User;

impl User {
    #[cached]
    fn load(id: u64) -> Option<Self> {
        (id == 1).then_some(User)
    }
}

fn main() {}
