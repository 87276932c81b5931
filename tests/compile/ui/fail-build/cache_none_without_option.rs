use cache_runtime::cached;

struct Users;

impl Users {
    #[cached(skip(self), cache_none = true)]
    fn user(&self, id: u64) -> Result<u64, String> {
        Ok(id)
    }
}

fn main() {
    let _ = Users.user(1);
}
