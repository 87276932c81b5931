//! Options of other crates, above all of `cached`, and what to write instead. MIGRATING.md has the same rows.

/// Names, and the advice that completes "there is no option `…`: ".
const FOREIGN: [(&[&str], &str); 21] = [
    (&["size", "max_size", "max_capacity"], "write `capacity = 100`"),
    (&["unbound"], "write `capacity = \"unbounded\"`"),
    (&["time", "ttl_secs", "time_to_live"], "write `ttl = 60`"),
    (&["ttl_millis"], "write `ttl = \"250ms\"`"),
    (&["expires"], "write `ttl = |value| …`, which returns how long a value lives"),
    (
        &["refresh", "time_refresh", "time_to_idle"],
        "write `idle = 60` for lives that reads lengthen in memory, or `early = true` for renewals of what is in use",
    ),
    (&["force_refresh"], "call the companion `refresh` instead of the function"),
    (
        &["convert"],
        "write `key = (…)` with expressions of the arguments, or `skip(…)` those that don't count",
    ),
    (
        &["sync_writes", "sync_writes_buckets"],
        "delete it, because one run per key at a time is the default; `single_flight` changes that",
    ),
    (&["sync_lock", "unsync_reads", "shards"], "delete it, because hits take no lock"),
    (&["result"], "delete it, because this is the default; `cache_err = true` stores `Err` too"),
    (&["option"], "delete it, because this is the default; `cache_none = true` stores `None` too"),
    (
        &["with_cached_flag"],
        "delete it and return the plain value; the companion `lookup` tells where a value comes from",
    ),
    (
        &["result_fallback"],
        "write `on_error = \"1h\"`, for how long an old value is returned when the body fails",
    ),
    (&["ty", "create"], "write `capacity` and `ttl` for entries in memory, or `backend = \"…\"`"),
    (
        &["name"],
        "write `companions = …` for the struct beside the function, or `namespace = \"…\"` for a server",
    ),
    (&["in_impl"], "delete it, and write `skip(self)` or `key = (self.id, …)`"),
    (&["redis"], "write `backend = \"redis\"`"),
    (&["map_error"], "delete it, because a server that fails costs a run of the body and no error"),
    (&["cache_prefix_block"], "write `namespace = \"…\"`"),
    (
        &["disk", "disk_dir", "durable", "connection_config", "sync_to_disk_on_cache_change"],
        "no backend keeps entries on disk; write `backend = \"…\"` for a server or for one of your own",
    ),
];

/// Names the option to write instead of `name`, which another crate has.
pub(super) fn advice(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(names, _)| names.contains(&name)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::FOREIGN;
    use crate::args::OPTIONS;

    #[test]
    fn no_name_is_an_option_or_listed_twice() {
        let mut names: Vec<&str> =
            FOREIGN.iter().flat_map(|(names, _)| *names).copied().chain(OPTIONS).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn the_document_has_every_name() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../MIGRATING.md");
        let document = std::fs::read_to_string(path).expect("this is a checkout of the repository");
        for name in FOREIGN.iter().flat_map(|(names, _)| *names) {
            assert!(document.contains(&format!("`{name}")), "MIGRATING.md has no row for `{name}`");
        }
    }
}
