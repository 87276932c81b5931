//! Arguments of every kind that is supported, and what a key may read of them.

use cache_runtime::cached;

struct Path<T>(T);

struct User {
    id: u64,
    name: (String, u32),
}

#[cached]
fn sum(mut a: u64, (b, c): (u64, u64), _: u64) -> u64 {
    a += b;
    a + c
}

#[cached(key = "{a}/{b}")]
fn taken_apart(Path(a): Path<u64>, (mut b, _): (u64, String)) -> u64 {
    b += a;
    b
}

#[cached(key = "{a}/{b}")]
fn behind(&(a, ref b): &(u64, u64), ref mut c: u64) -> u64 {
    *c += a;
    *c + b
}

#[cached(key = "user:{user.id}/{user.name.0}:{{}}")]
fn fields(user: &User) -> u64 {
    user.id
}

#[cached(key = (user.id, user.name.0.len(), r#type))]
fn expressions<'a>(user: &'a User, r#type: &'a str) -> Option<&'static str> {
    (user.id > 1 && r#type == "a").then_some("yes")
}

#[cached(key = format!("{name}-{}", user.id))]
fn formatted(user: User, name: &str) -> String {
    format!("{name}{}", user.id)
}

#[cached(skip(log, load, source))]
fn skipped(id: u64, log: &mut Vec<u64>, load: impl Fn(u64) -> u64, source: &dyn Fn() -> u64) -> u64 {
    log.push(id);
    load(id) + source()
}

fn user() -> User {
    User { id: 1, name: ("Ada".to_owned(), 1) }
}

pub(crate) fn main() {
    assert_eq!(sum(1, (2, 3), 4), 6);
    assert_eq!(taken_apart(Path(1), (2, "two".to_owned())), 3);
    assert_eq!(behind(&(1, 2), 3), 6);
    assert_eq!(fields(&user()), 1);
    assert_eq!(expressions(&user(), "a"), None);
    assert_eq!(formatted(user(), "Ada"), "Ada1");
    let mut log = Vec::new();
    assert_eq!(skipped(1, &mut log, |id| id, &|| 2), 3);
    assert_eq!(log, [1]);
}
