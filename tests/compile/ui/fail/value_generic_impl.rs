use cache_runtime::cached;

struct Repository<T>(T);

impl<T: Default + 'static> Repository<T> {
    #[cached(skip(self))]
    fn first(&self) -> Option<T> {
        Some(T::default())
    }
}

fn main() {
    Repository(1_u64).first();
}
