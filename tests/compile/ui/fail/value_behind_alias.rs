use cache_runtime::cached;

struct DbError;

type DbResult<T> = Result<T, DbError>;

struct Users;

impl Users {
    #[cached(skip(self))]
    fn user(&self, id: u64) -> DbResult<u64> {
        Ok(id)
    }
}

fn main() {
    let _ = Users.user(1);
}
