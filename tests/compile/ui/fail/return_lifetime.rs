use cache_runtime::cached;

use std::borrow::Cow;

#[cached]
fn trimmed<'a>(name: &'a str) -> Cow<'a, str> {
    Cow::Borrowed(name.trim())
}

fn main() {}
