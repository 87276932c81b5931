use cache_runtime::cached;

#[derive(Clone)]
struct User;

#[cached(max_bytes = "1MiB")]
fn user(id: u64) -> Option<User> {
    (id == 1).then_some(User)
}

fn main() {
    user(1);
}
