//! The refusals that Redis is known for, and what to do about them.

use ::redis::RedisError;

use crate::error::{Effect, Refusal};

/// By the first word of the error. Errors that begin with `ERR` are known by their text, and so are those of transactions.
/// Those of scripts quote the error of the command that failed.
static KNOWN: [Refusal; 18] = [
    lasting(
        "OOM",
        Effect::Operation,
        "raise its `maxmemory`, or let it evict: `maxmemory-policy allkeys-lru`",
    ),
    lasting(
        "MISCONF",
        Effect::Operation,
        "it can't save to its disk: make room, or set `stop-writes-on-bgsave-error no`",
    ),
    lasting("NOREPLICAS", Effect::Operation, "fewer replicas are connected than its `min-replicas-to-write`"),
    lasting("READONLY", Effect::Connection, "it is a replica: name the primary in the URL"),
    lasting("NOPERM", Effect::Command, COMMANDS),
    lasting("unknown command", Effect::Command, COMMANDS),
    lasting("unsupported", Effect::Command, COMMANDS),
    lasting("syntax error", Effect::Command, COMMANDS),
    lasting("CROSSSLOT", Effect::Command, CLUSTER),
    lasting("MOVED", Effect::Operation, CLUSTER),
    lasting("ASK", Effect::Operation, CLUSTER),
    lasting("cluster support disabled", Effect::Operation, "it is no cluster: write `redis://` in the URL"),
    lasting(
        "max number of clients",
        Effect::NewConnection,
        "raise its `maxclients`, or lower `pool` in the URL",
    ),
    passing("LOADING", Effect::Connection, "it is reading its data from disk"),
    passing("MASTERDOWN", Effect::Connection, "it is a replica that has lost its primary"),
    passing("CLUSTERDOWN", Effect::Connection, "it is a node of a cluster that is incomplete"),
    passing("TRYAGAIN", Effect::Operation, "a cluster is moving the keys"),
    passing("BUSY", Effect::Operation, "a script keeps it busy"),
];

const COMMANDS: &str =
    "the README of cache-runtime lists the commands that are needed, on all keys of the prefix";

const CLUSTER: &str = "it is a node of a Redis Cluster: write `redis+cluster://` in the URL";

const fn lasting(code: &'static str, effect: Effect, advice: &'static str) -> Refusal {
    Refusal { code, advice, effect, passes: false }
}

const fn passing(code: &'static str, effect: Effect, advice: &'static str) -> Refusal {
    Refusal { code, advice, effect, passes: true }
}

/// What the server means by `error`, if that is a known refusal.
pub(super) fn refusal(error: &RedisError) -> Option<&'static Refusal> {
    match error.code()? {
        "ERR" | "EXECABORT" => {
            error.detail().and_then(|text| KNOWN.iter().find(|known| text.contains(known.code)))
        }
        code => KNOWN.iter().find(|known| known.code == code),
    }
}
