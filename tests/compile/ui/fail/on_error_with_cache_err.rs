use cache_runtime::cached;

#[cached(ttl = 60, on_error = "1h", cache_err = true)]
fn number(id: u64) -> Result<u64, String> {
    Ok(id)
}

#[cached(ttl = 60, on_error = 0)]
fn zero(id: u64) -> Result<u64, String> {
    Ok(id)
}

fn main() {}
