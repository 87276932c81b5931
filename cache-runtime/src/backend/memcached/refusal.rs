//! The refusals that Memcached is known for, and what to do about them.

use crate::error::{Effect, Refusal};

/// By what the line contains.
static KNOWN: [Refusal; 2] = [
    Refusal {
        code: "out of memory",
        advice: "give it more memory (`-m`), or let it evict (no `-M`)",
        effect: Effect::Operation,
        passes: false,
    },
    Refusal {
        code: "Too many open connections",
        advice: "give it more connections (`-c`), or lower `pool` in the URL",
        effect: Effect::NewConnection,
        passes: false,
    },
];

/// What the server means by `line`, if that is a known refusal.
pub(super) fn refusal(line: &str) -> Option<&'static Refusal> {
    KNOWN.iter().find(|known| line.contains(known.code))
}
