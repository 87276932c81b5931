//! Functions with the name of a module or a type, whose companions have another name or take nothing away.

use cache_runtime::cached;

mod log {
    pub(super) fn level() -> u64 {
        1
    }
}

#[cached(companions = log_cache)]
fn log(factor: u64) -> u64 {
    log::level() * factor
}

#[cached(companions = u64_cache)]
fn u64(text: &str) -> u64 {
    text.parse().unwrap_or(u64::MAX)
}

mod unaffected {
    use super::cached;

    #[cached]
    pub(super) fn time(seconds: u64) -> std::time::Duration {
        use std::time;
        time::Duration::from_secs(seconds)
    }

    #[cached]
    pub(super) fn peeked(n: u64) -> u64 {
        let peeked: Vec<u64> = vec![n];
        peeked.iter().copied().chain(peeked::peek(0).unwrap()).sum()
    }

    #[cached]
    pub(super) fn generic<T: Default + Into<u64>>(n: u64) -> u64 {
        if n == 0 { T::default().into() } else { generic::<T>(n - 1) + 1 }
    }
}

pub(crate) fn main() {
    assert_eq!((log(2), log_cache::stats().runs), (2, 1));
    assert_eq!((u64("7"), u64_cache::peek("7").unwrap()), (7, Some(7)));
    assert_eq!(unaffected::time(3).as_secs(), 3);
    assert_eq!((unaffected::peeked(0), unaffected::peeked(1), unaffected::generic::<u8>(4)), (0, 1, 4));
}
