use cache_runtime::cached;

struct Db;

#[cached]
fn user(db: &Db, id: u64) -> u64 {
    let _ = db;
    id
}

struct Users;

impl Users {
    #[cached(skip(self))]
    fn user(&self, (db, id): (Db, u64)) -> u64 {
        let _ = db;
        id
    }
}

fn main() {
    user(&Db, 1);
    Users.user((Db, 1));
}
