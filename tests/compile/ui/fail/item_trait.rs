use cache_runtime::cached;

#[cached]
pub trait Users {
    fn user(&self) -> u64;
}

fn main() {}
