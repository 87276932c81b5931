use cache_runtime::cached;

struct Users;

impl Users {
    #[cached(key = (self, id))]
    fn user(&self, id: u64) -> u64 {
        id
    }
}

fn main() {
    Users.user(1);
}
