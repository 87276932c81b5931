//! libFuzzer's target for each check of `cache_runtime::fuzz`, whose name the variable `CHECK` holds. See `run`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod target {
    use std::alloc::System;
    use std::env;
    use std::sync::LazyLock;

    use cache_runtime::fuzz::{CHECKS, Check};
    use cap::Cap;

    /// Room for what the checks do with an input of 1 KiB. A length in the input that somebody trusts takes more, and ends
    /// the process. libFuzzer's own memory doesn't count.
    #[global_allocator]
    static HEAP: Cap<System> = Cap::new(System, 16 << 20);

    static CHECK: LazyLock<Check> = LazyLock::new(|| {
        let wanted = env::var("CHECK").expect("CHECK is the name of a check");
        let known = CHECKS.iter().find(|(name, _)| *name == wanted);
        known.unwrap_or_else(|| panic!("no check `{wanted}`")).1
    });

    libfuzzer_sys::fuzz_target!(|bytes: &[u8]| CHECK(bytes));
}

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("this is for libFuzzer: use tests/fuzz/run");
    std::process::exit(2);
}
