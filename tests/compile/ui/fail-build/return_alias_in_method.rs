use cache_runtime::cached;

type Answer = Result<u64, String>;

struct Users;

impl Users {
    #[cached(skip(self))]
    fn user(&self, id: u64) -> Answer {
        Ok(id)
    }
}

fn main() {
    let _ = Users.user(1);
}
