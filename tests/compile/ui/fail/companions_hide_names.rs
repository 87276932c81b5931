use cache_runtime::cached;

mod prelude {
    pub mod log {
        pub fn level() -> u64 {
            1
        }
    }
    pub use std::time;
}

use prelude::*;

#[cached]
fn u64(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

#[cached(companions = str)]
fn text(n: u32) -> String {
    n.to_string()
}

#[cached]
fn time(seconds: u32) -> time::Duration {
    time::Duration::from_secs(seconds.into())
}

#[cached]
fn log(factor: u32) -> Vec<u64> {
    vec![log::level(); factor as usize]
}

mod captures {
    use super::*;

    #[cached]
    fn log(factor: u32) -> impl Future<Output = u64> + use<> {
        async move { log::level() * u64::from(factor) }
    }
}

fn main() {}
