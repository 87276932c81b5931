use cache_runtime::cached;

type Answer = Option<u64>;

#[cached]
fn user<const N: usize>(ids: [u64; N]) -> Result<Answer, String> {
    Ok(ids.first().copied())
}

fn main() {
    let _ = user([1]);
}
