use cache_runtime::cached;

struct Users;

impl Users {
    #[cached]
    fn user(id: u64) -> u64 {
        id
    }
}

fn main() {}
