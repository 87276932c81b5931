use cache_runtime::cached;

#[cached]
fn user(id: u64, #[cfg(unix)] tenant: u64) -> u64 {
    id + tenant
}

fn main() {}
