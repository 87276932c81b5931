use cache_runtime::cached;

trait Users {
    #[cached]
    fn user(id: u64) -> u64;
}

fn main() {}
