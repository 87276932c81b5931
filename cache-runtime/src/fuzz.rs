//! What must hold for any bytes: one check for each format that this crate reads, which panics if it doesn't.
//!
//! Compiled for the fuzz targets in `tests/fuzz`, whose compiler flags set `cfg(fuzzing)`, and for unit tests. So each check
//! stands beside the private code that it is about, like a unit test, and no public API leads there. The unit test below
//! repeats the checks with the seeds of `tests/fuzz`, among them every input that has found a fault.

/// The checks by name. A name is that of the folder of its seeds, too.
pub const CHECKS: &[(&str, fn(&[u8]))] = &[
    #[cfg(feature = "redis")]
    ("redis_replies", crate::backend::redis::reply::fuzz::replies),
    #[cfg(feature = "memcached")]
    ("memcached_replies", crate::backend::memcached::reply::fuzz::replies),
    ("urls", crate::backend::registry::fuzz::urls),
    ("envelopes", crate::remote::envelope::fuzz::envelopes),
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
                println!("{}", seed.path().display());
                check(&fs::read(seed.path()).unwrap());
            }
        }
    }
}
