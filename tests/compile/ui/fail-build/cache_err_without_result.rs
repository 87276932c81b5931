use cache_runtime::cached;

#[cached(cache_err = true)]
fn answer(id: u64) -> u64 {
    id
}

fn main() {
    answer(1);
}
