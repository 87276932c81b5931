use cache_runtime::cached;

struct User;

#[cached]
fn user(id: u64) -> Result<User, String> {
    let _ = id;
    Ok(User)
}

fn main() {
    let _ = user(1);
}
