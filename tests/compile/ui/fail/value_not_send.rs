use std::rc::Rc;

use cache_runtime::cached;

#[cached]
fn user(id: u64) -> Rc<String> {
    Rc::new(id.to_string())
}

fn main() {
    user(1);
}
