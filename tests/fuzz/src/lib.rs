//! No token stream makes `#[cached]` panic, and what it generates is Rust.
//!
//! The sources of `cache-macros` are compiled in here as a library, because a proc-macro crate runs nowhere but in the
//! compiler. A case is the attribute's tokens and the item's; [`check`] says what must hold for each.
//!
//! A fixed sequence of mutations of every use of the attribute in the project's tests, on stable, about a minute;
//! `tests/run` does this:
//!
//! ```text
//! cargo run --release --manifest-path tests/fuzz/Cargo.toml
//! cargo run --release --manifest-path tests/fuzz/Cargo.toml -- 10000000 7    # more rounds, another sequence
//! ```
//!
//! libFuzzer, which looks for new paths through the code, for as long as you like, from the same seeds. It needs
//! nightly, a C++ compiler and `cargo install cargo-fuzz`; `-max_len` and `-only_ascii` keep it at what people write:
//!
//! ```text
//! cd tests
//! cargo run --release --manifest-path fuzz/Cargo.toml -- seeds fuzz/corpus/tokens
//! cargo +nightly fuzz run tokens -- -max_total_time=600 -max_len=2048 -only_ascii=1
//! ```

use proc_macro2::{TokenStream, TokenTree};

/// What `cache-macros/src/lib.rs` declares.
#[path = "../../../cache-macros/src"]
#[allow(dead_code, unreachable_pub)]
mod sources {
    pub(crate) mod args;
    pub(crate) mod diagnostic;
    pub(crate) mod expand;
    pub(crate) mod func;
    pub(crate) mod validate;
}
pub mod mutate;
pub mod seeds;
mod template;

// The sources know each other by these names.
#[allow(unused_imports)]
use sources::{args, diagnostic, expand, func, validate};

/// How deep brackets nest in a case. syn reads them recursively, so that some thousand would overflow the stack of
/// any macro, and of the compiler's other stages too. That's no panic, and no macro guards against it.
pub(crate) const DEEPEST: usize = 200;

/// Brackets inside of brackets that syn may read here, to judge what the macro made: it goes through bodies too, which
/// the macro leaves alone.
const DEPTH: usize = 50;

/// One use of the attribute.
#[derive(Debug, Clone)]
pub struct Case {
    /// What stands between the parentheses of `#[cached(…)]`.
    pub attribute: TokenStream,
    /// What stands behind it.
    pub item: TokenStream,
}

impl Case {
    /// Reads the attribute from the first line and the item from the others. `None` if those aren't tokens, which the
    /// compiler would not pass on, or if brackets nest deeper than [`DEEPEST`].
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let (attribute, item) = text.split_once('\n')?;
        let tokens = |text: &str| text.parse().ok().filter(|tokens| is_shallow(tokens, DEEPEST));
        Some(Self { attribute: tokens(attribute)?, item: tokens(item)? })
    }

    /// What [`of_text`](Self::of_text) reads.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n", self.attribute.to_string().replace('\n', " "), self.item)
    }
}

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was something to say.
    Refused,
    /// The function was generated.
    Expanded,
}

/// Does what the attribute does.
///
/// # Panics
/// The macro panics, it refuses without a message, or it makes something that isn't Rust out of a function that is.
pub fn check(case: &Case) -> Outcome {
    let Case { attribute, item } = case;
    let parsed = diagnostic::both(syn::parse2(attribute.clone()), syn::parse2(item.clone()));
    match parsed.and_then(|(args, func)| validate::validate(args, func)) {
        Err(errors) => {
            assert!(
                errors.clone().into_iter().all(|error| !error.to_string().is_empty()),
                "an empty message"
            );
            let output = errors.into_compile_error();
            assert!(syn::parse2::<syn::File>(output.clone()).is_ok(), "no Rust: {output}");
            Outcome::Refused
        }
        Ok(plan) => {
            let output = expand::expand(&plan);
            // The body is never parsed, so that a function may come in that isn't Rust itself.
            if is_shallow(&output, DEPTH)
                && syn::parse2::<syn::ItemFn>(item.clone()).is_ok()
                && let Err(error) = template::read(output.clone())
            {
                panic!("{error}: {output}");
            }
            Outcome::Expanded
        }
    }
}

fn is_shallow(tokens: &TokenStream, depth: usize) -> bool {
    tokens.clone().into_iter().all(|token| match token {
        TokenTree::Group(group) => depth > 0 && is_shallow(&group.stream(), depth - 1),
        _ => true,
    })
}
