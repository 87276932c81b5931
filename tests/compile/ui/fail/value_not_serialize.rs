use cache_runtime::cached;

#[derive(Clone)]
struct User;

#[cached(backend = "store")]
fn user(id: u64) -> User {
    let _ = id;
    User
}

fn main() {
    user(1);
}
