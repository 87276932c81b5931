use cache_runtime::cached;

#[cached(ttl = |user| std::time::Duration::from_secs(*user), cache_none = true)]
fn user(id: u64) -> Option<u64> {
    Some(id)
}

fn main() {}
