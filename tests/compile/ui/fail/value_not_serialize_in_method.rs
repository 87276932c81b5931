use cache_runtime::cached;

#[derive(Clone)]
struct User;

struct Users;

impl Users {
    #[cached(backend = "store", skip(self))]
    fn user(&self, id: u64) -> Option<User> {
        (id == 1).then_some(User)
    }
}

fn main() {
    Users.user(1);
}
