//! The exact text keys on a server. A change here is a change of format: it makes the entries of older builds
//! unreachable, and the changelog must say so.

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

#[cached(backend = "store", namespace = "golden")]
#[expect(dead_code, reason = "only its keys are looked at")]
fn many(id: u64, name: &str, flags: Option<[bool; 2]>) -> User {
    User { id, name: format!("{name}{flags:?}") }
}

#[cached(backend = "store", namespace = "golden", version = 2)]
#[expect(dead_code, reason = "only its keys are looked at")]
fn none() -> Vec<u64> {
    vec![]
}

#[cached(backend = "store", namespace = "golden", key = "user:{id}:{name}")]
#[expect(dead_code, reason = "only its keys are looked at")]
fn template(id: u64, name: &str) -> String {
    format!("{id}{name}")
}

#[cached(namespace = "golden")]
#[expect(dead_code, reason = "only its keys are looked at")]
fn in_memory(id: u64) -> u64 {
    id
}

#[test]
fn text_keys() {
    let scope = Scope::with_config(Config::new().prefix("app:").url("store", "memory://")).unwrap();
    let _entered = scope.enter();
    assert_eq!(
        many::key(7, "ann", Some([true, false])),
        "app:golden:0:afc30e8d3da00889:#iRPBz2z-052H_xznJ-wGcAAca5sXNq52yICL1tfADj8"
    );
    // BLAKE3 of the empty input, as in its specification.
    assert_eq!(none::key(), "app:golden:2:b67527ef48c52b5d:#rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI");
    assert_eq!(template::key(7, "a b"), "app:golden:0:69e8b4f1acc3f450:user:7:a%20b");
    // Keys in memory have neither prefix nor shape.
    assert_eq!(in_memory::key(7), "golden:0:#pACZ8LblAmj1ypvYNOrAOV9_X5pAtRa8jMyfNDPa3VI");
}
