//! What the attribute generates, as a reader of `cargo expand` sees it, compared to the files in `expansions/`.
//!
//! After a change `EXPANSIONS=overwrite cargo test -p cache-macros --all-features expansions` writes them anew. Read
//! them before you commit them: is it still as short as it can be?

use std::path::Path;
use std::{env, fs};

use proc_macro2::TokenStream;
use quote::quote;

use crate::plan;

/// `item` under `#[cached(attribute)]` gives what stands in `expansions/{name}.rs`.
fn pinned(name: &str, attribute: &str, item: &str) {
    let (is_method, tokens) = (item.contains("&self"), |text: &str| text.parse::<TokenStream>().expect(name));
    let plan = plan(tokens(attribute), tokens(item)).expect("this can be cached");
    let expansion = crate::expand::expand(&plan);
    let expansion = if is_method { quote!(impl Users { #expansion }) } else { expansion };
    let file = syn::parse2(expansion).expect("an expansion is Rust");
    let written: String = item.lines().map(|line| format!("//     {line}\n")).collect();
    let expansion = format!(
        "// What this becomes:\n//\n//     #[cached({attribute})]\n{written}\n{}",
        prettyplease::unparse(&file)
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/tests/expansions/{name}.rs"));
    if env::var_os("EXPANSIONS").is_some_and(|value| value == "overwrite") {
        fs::write(&path, &expansion).expect("the file can be written");
    }
    let pinned = fs::read_to_string(&path).unwrap_or_default();
    assert!(pinned == expansion, "{} has changed; this is what it is now:\n{expansion}", path.display());
}

#[test]
fn blocking_function_without_companions() {
    pinned(
        "blocking_function_without_companions",
        "ttl = 60, companions = false",
        "pub fn user(id: u64, name: &str) -> Option<User> {\n    find(id)?.called(name)\n}",
    );
}

#[test]
fn free_function() {
    pinned(
        "free_function",
        "cache_err = true, negative_ttl = 5",
        "/// Loads a user.\n#[tracing::instrument]\npub fn user(id: u64) -> io::Result<User> {\n    load(id)\n}",
    );
}

#[cfg(all(feature = "redis", feature = "tokio", feature = "bincode"))]
#[test]
fn async_method_on_redis() {
    pinned(
        "async_method_on_redis",
        r#"backend = "redis", ttl = "5m", key = "{self.tenant}:{id}""#,
        "async fn user(&self, id: u64) -> Result<User, Error> {\n    self.db.load(id).await\n}",
    );
}
