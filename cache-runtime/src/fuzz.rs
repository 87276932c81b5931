//! What must hold for any bytes from outside, as one check for each format that this crate reads.
//!
//! Compiled only for `tests/fuzz`, whose compiler flags set `cfg(fuzzing)`, and for unit tests. So each check stands beside the
//! private code that it feeds, as a unit test does, and no public API leads there. The unit test below repeats the checks with
//! the seeds of `tests/fuzz`. A finding becomes a seed.

/// Panics if something doesn't hold for these bytes.
pub type Check = fn(&[u8]);

/// The checks by name, which is also the name of the folder of their seeds.
pub const CHECKS: &[(&str, Check)] = &[
    #[cfg(feature = "redis")]
    ("redis_replies", crate::backend::redis::fuzz::replies),
    #[cfg(feature = "redis")]
    ("redis_topology", crate::backend::redis::fuzz::topology),
    #[cfg(feature = "memcached")]
    ("memcached_replies", crate::backend::memcached::fuzz::replies),
    ("urls", crate::backend::registry::fuzz::urls),
    ("envelopes", crate::remote::envelope::fuzz::envelopes),
    #[cfg(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json"))]
    ("values", crate::codec::fuzz::values),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::CHECKS;

    #[test]
    fn seeds_pass_their_checks() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds");
        for (name, check) in CHECKS {
            let seeds: Vec<_> = fs::read_dir(seeds.join(name)).expect(name).map(Result::unwrap).collect();
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in seeds {
                eprintln!("{}", seed.path().display());
                check(&fs::read(seed.path()).unwrap());
            }
        }
    }
}
