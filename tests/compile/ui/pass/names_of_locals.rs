//! Arguments may have any name, also one that generated code uses for its own variables.

use cache_runtime::cached;

#[cached(ttl = 60, stale = 5)]
fn free(__key: u64, __cached: u64, __hit: u64, __call: u64, __body: u64, value: u64) -> u64 {
    __key + __cached + __hit + __call + __body + value
}

#[cached(companions = false)]
fn bare(__key: u64, __cached: u64, __hit: u64, __call: u64, __body: u64, __output: u64, __arg0: u64) -> u64 {
    __key + __cached + __hit + __call + __body + __output + __arg0
}

#[cached(key = "{__key}/{__arg1}")]
fn template(__key: u64, (__arg1, _): (u64, u64)) -> u64 {
    __key + __arg1
}

#[cached(key = (__key, __cached), companions = false)]
async fn later(__key: u64, __cached: u64, __call: u64, __output: u64) -> u64 {
    __key + __cached + __call + __output
}

#[cached(key = (__key, __cached))]
fn detached(__key: &str, __cached: u64, __body: &str) -> impl Future<Output = u64> + use<> {
    let sum = (__key.len() + __body.len()) as u64 + __cached;
    async move { sum }
}

#[cached(ttl = 60, early = true)]
async fn renewed(args: u64, arg: &str, __args: u64) -> u64 {
    args + __args + arg.len() as u64
}

struct Users(u64);

impl Users {
    #[cached(key = (self.0, __key))]
    fn method(&self, __key: u64, __cached: u64, value: u64) -> u64 {
        self.0 + __key + __cached + value
    }

    #[cached(key = "{self.0}/{__key}")]
    async fn method_later(&self, __key: u64, __call: u64) -> u64 {
        self.0 + __key + __call
    }
}

pub(crate) fn main() {
    assert_eq!((free(1, 2, 3, 4, 5, 6), free(1, 2, 3, 4, 5, 6)), (21, 21));
    assert_eq!((free(2, 2, 3, 4, 5, 6), free(1, 2, 3, 4, 5, 7)), (22, 22));
    assert_eq!((bare(1, 2, 3, 4, 5, 6, 7), bare(2, 2, 3, 4, 5, 6, 7)), (28, 29));
    assert_eq!((template(1, (2, 3)), template(2, (2, 3))), (3, 4));
    assert_eq!((Users(1).method(1, 2, 3), Users(1).method(1, 9, 3), Users(1).method(2, 2, 3)), (7, 7, 8));
    Users::method_insert(&Users(7), 1, 70).unwrap();
    assert_eq!(Users(7).method(1, 1, 1), 70);
    drop((later(1, 2, 3, 4), detached("a", 1, "b"), renewed(1, "a", 2), Users(1).method_later(1, 2)));
}
