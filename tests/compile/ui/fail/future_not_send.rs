use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use cache_runtime::cached;

#[cached]
fn user(id: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        let local = Rc::new(id);
        std::future::ready(()).await;
        *local
    })
}

fn main() {
    drop(user(1));
}
