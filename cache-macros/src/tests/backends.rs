//! The features that messages tell users to enable exist.

use std::fs;
use std::path::Path;

use crate::args::value::Codec;
use crate::validate::backend::BACKENDS;

#[test]
fn the_runtime_has_every_feature_that_is_named_here() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cache-runtime/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("the runtime is beside this crate");
    let (_, features) = manifest.split_once("[features]").expect("it has features");
    let (features, _) = features.split_once("\n[").expect("other tables follow");
    let backends = BACKENDS.iter().map(|(name, _)| *name).filter(|name| *name != "memory");
    let named: Vec<&str> = backends.chain(Codec::ALL.map(Codec::name)).chain(["tokio"]).collect();
    for name in named {
        let declared = features.lines().find(|line| line.starts_with(&format!("{name} = ")));
        let declared = declared.unwrap_or_else(|| panic!("cache-runtime has no feature `{name}`"));
        assert!(declared.contains(&format!("\"cache-macros/{name}\"")), "it tells the macro: {declared}");
    }
}
