//! Functions that have no warnings keep having none: what the macro writes around a body is not the user's to mend.

#![deny(warnings, unused)]

use cache_runtime::cached;

#[cached(companions = false)]
fn double(id: u64) -> u64 { id * 2 }

#[cached(companions = false)]
async fn half(id: u64) -> u64 { id / 2 }

#[cached(companions = false)]
fn sum((one, other): (u64, u64)) -> u64 { one + other }

#[cached(companions = false, key = (one, other + 1))]
fn by_expressions(one: u64, other: u64) -> u64 { one + other }

#[cached(companions = false)]
fn soon(id: u64) -> impl Future<Output = u64> { async move { id } }

#[cached(companions = false)]
fn boxed(id: u64) -> std::pin::Pin<Box<dyn Future<Output = u64> + Send>> { Box::pin(async move { id }) }

#[cached]
fn with_companions(id: u64) -> u64 { id }

struct Users;

impl Users {
    #[cached(key = "{id}")]
    fn user(&self, id: u64) -> u64 { id }

    #[cached(key = "{id}")]
    async fn later(&self, id: u64) -> u64 { id }
}

pub(crate) fn main() {
    double(1);
    sum((1, 2));
    by_expressions(1, 2);
    with_companions(1);
    Users.user(1);
    drop((half(1), soon(1), boxed(1), Users.later(1)));
}
