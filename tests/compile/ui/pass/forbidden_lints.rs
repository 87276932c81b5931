//! Crates that forbid lints: the macro lowers none of them, so no E0453, and its own code passes.

#![forbid(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_imports,
    unused_mut,
    unused_qualifications,
    unused_variables,
    unreachable_pub,
    unused_lifetimes,
    elided_lifetimes_in_paths,
    clippy::all,
    clippy::pedantic
)]

use cache_runtime::cached;
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

struct Path<T>(T);

#[cached(ttl = 60, stale = 5, key = "{a}/{b}")]
fn patterns(Path(mut a): Path<u64>, (b, _): (u64, u64)) -> u64 {
    a += b;
    a
}

#[cached(key = "{a}/{d}")]
fn template((a, b): (u64, u64), &(mut c, ref d): &(u64, String)) -> u64 {
    c += a + b;
    c + d.len() as u64
}

#[cached(key = (a, d.len()))]
fn expressions((a, b): (u64, u64), &(mut c, ref d): &(u64, String)) -> u64 {
    c += a + b;
    c + d.len() as u64
}

#[cached(key = (a, d.len()), companions = false)]
fn bare((a, b): (u64, u64), &(mut c, ref d): &(u64, String)) -> u64 {
    c += a + b;
    c + d.len() as u64
}

#[cached(ttl = 60, early = true)]
async fn later(a: u64, _ignored: &str) -> Option<u64> {
    Some(a)
}

#[cached(cache_none = true)]
fn future<T: AsRef<str> + serde::Serialize>(text: T) -> impl Future<Output = Option<u64>> {
    async move { text.as_ref().parse().ok() }
}

#[cached]
fn boxed(a: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move { a })
}

/// Its companions need no more than a slice.
#[cached(key = (id, log.len()))]
fn logged(id: u64, log: &mut Vec<u64>) -> u64 {
    log.push(id);
    id
}

#[cached(ttl = 60, stale = 60)]
fn borrowed(text: Cow<'static, str>, list: Option<String>) -> usize {
    text.len() + list.map_or(0, |list| list.len())
}

struct Users;

impl Users {
    #[cached(key = "{a}")]
    fn method<'a: 'b, 'b>(&'a self, (a, b): (u64, u64), _ignored: &'b Self) -> Result<u64, String> {
        #[allow(unused_results)]
        fn inside() {}
        inside();
        a.checked_add(b).ok_or_else(String::new)
    }

    #[cached(skip(self))]
    async fn method_later(&self, a: u64) -> u64 {
        a
    }
}

pub(crate) fn main() {
    patterns(Path(1), (1, 2));
    template((1, 2), &(3, String::new()));
    expressions((1, 2), &(3, String::new()));
    bare((1, 2), &(3, String::new()));
    drop((later(1, ""), future("1"), boxed(1), Users.method_later(1)));
    logged(1, &mut Vec::new());
    borrowed(Cow::Borrowed(""), None);
    let _ = Users.method((1, 2), &Users);
}
