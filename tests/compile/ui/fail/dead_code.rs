//! Code that nobody uses is reported as it is without the attribute: the function itself, what only it calls, and its
//! neighbors. Nothing that the macro adds is reported.

#![deny(dead_code)]

use cache_runtime::cached;

fn helper() -> u64 {
    1
}

#[cached]
fn unused(id: u64) -> u64 {
    id + helper()
}

#[cached(companions = false)]
fn unused_bare(id: u64) -> u64 {
    id
}

#[cached]
async fn unused_async(id: u64) -> u64 {
    id
}

#[expect(dead_code)]
#[cached]
fn expected(id: u64) -> u64 {
    id
}

#[allow(dead_code)]
#[cached]
fn allowed(id: u64) -> u64 {
    id
}

#[cached]
fn _underscored(id: u64) -> u64 {
    id
}

#[cached]
fn used(id: u64) -> u64 {
    id
}

struct Users;

impl Users {
    #[cached(skip(self))]
    fn used(&self, id: u64) -> u64 {
        id
    }

    #[cached(skip(self))]
    fn unused(&self, id: u64) -> u64 {
        id
    }

    fn plain(&self) {}
}

struct OnlyUsed;

impl OnlyUsed {
    #[cached(skip(self))]
    fn used(&self, id: u64) -> u64 {
        #[allow(dead_code)]
        fn inside() {}
        id
    }

    fn plain(&self) {}
}

struct Allowing;

impl Allowing {
    #[allow(dead_code)]
    #[cached(skip(self))]
    fn allowed(&self, id: u64) -> u64 {
        id
    }

    #[expect(dead_code)]
    #[cached(skip(self))]
    async fn expected(&self, id: u64) -> u64 {
        id
    }
}

fn main() {
    used(1);
    Users.used(1);
    OnlyUsed.used(1);
    let _ = Allowing;
}
