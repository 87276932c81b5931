//! Where mutations start: every use of the attribute in the project's tests, accepted or not.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::Case;

/// All cases, always in the same order.
///
/// # Panics
/// The directories aren't there, or hold next to nothing.
#[must_use]
pub fn all() -> Vec<Case> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut programs, mut cases) = (Vec::new(), Vec::new());
    for directory in ["ui", "tests", "editions"] {
        programs_in(&tests.join(directory), &mut programs);
    }
    programs.sort();
    for program in programs {
        let text = fs::read_to_string(program).unwrap_or_default();
        uses(text.parse().unwrap_or_default(), &mut cases);
    }
    assert!(cases.len() > 100, "only {} uses of `#[cached]` in {}", cases.len(), tests.display());
    cases
}

fn programs_in(directory: &Path, programs: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            programs_in(&path, programs);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            programs.push(path);
        }
    }
}

/// Every `#[cached]` in these tokens, with the item up to its braces or semicolon.
fn uses(tokens: TokenStream, cases: &mut Vec<Case>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        match attribute(group.stream()) {
            Some(attribute) if group.delimiter() == Delimiter::Bracket => {
                let rest = &tokens[index + 1..];
                let end = rest.iter().position(is_end).map_or(rest.len(), |end| end + 1);
                cases.push(Case { attribute, item: rest[..end].iter().cloned().collect() });
            }
            _ => uses(group.stream(), cases),
        }
    }
}

/// The tokens inside of `cached(…)`, or none.
fn attribute(tokens: TokenStream) -> Option<TokenStream> {
    let mut tokens = tokens.into_iter();
    match tokens.next()? {
        TokenTree::Ident(name) if name == "cached" => {}
        _ => return None,
    }
    match tokens.next() {
        Some(TokenTree::Group(arguments)) => Some(arguments.stream()),
        _ => Some(TokenStream::new()),
    }
}

fn is_end(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    }
}
