use cache_runtime::cached;

struct Users {
    id: u64,
}

impl Users {
    #[cached(key = "{tenant}:{name}")]
    fn user(&self, name: &str) -> usize {
        name.len()
    }

    #[cached(key = (slf.id, name))]
    fn misspelt(&self, name: &str) -> usize {
        name.len()
    }
}

fn main() {}
