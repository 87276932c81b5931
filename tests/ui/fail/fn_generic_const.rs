use cache_runtime::cached;

#[cached()]
fn user<const N: usize>(id: [u64; N]) -> usize {
    id.len()
}

fn main() {}
