//! How deep tokens may nest: syn reads them recursively, and a stack that overflows takes the compiler with it.
//!
//! Knows no option and no rule. Brackets are levels, and so may be any token between them, as in `Vec<Vec<…>>`,
//! `&&&…`, `else if …`: all are counted, brackets more, because syn's way through them is longer. People don't
//! come near these bounds.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::{Error, Result};

/// What syn may be given: some MiB of stack in a compiler built without optimisation.
const ROOM: usize = 1_000;
const BRACKET: usize = 10;

/// Brackets in a body, which is not parsed, only looked through.
const BODY: usize = 500;

/// Refuses what can't be read safely.
pub(crate) fn check(args: &TokenStream, item: &TokenStream) -> Result<()> {
    within(args.clone(), ROOM)?;
    let mut tokens: Vec<TokenTree> = item.clone().into_iter().collect();
    if let Some(TokenTree::Group(last)) = tokens.last()
        && last.delimiter() == Delimiter::Brace
    {
        brackets(last.stream(), BODY)?;
        tokens.pop();
    }
    // Attributes are read one by one, and documentation may have any number of lines.
    let attributes = tokens.chunks(2).take_while(|pair| is_attribute(pair)).count() * 2;
    for attribute in &tokens[..attributes] {
        within(attribute.clone().into(), ROOM)?;
    }
    within(tokens.drain(attributes..).collect(), ROOM)
}

fn is_attribute(pair: &[TokenTree]) -> bool {
    matches!(pair, [TokenTree::Punct(hash), TokenTree::Group(_)] if hash.as_char() == '#' && hash.spacing() == Spacing::Alone)
}

/// Statements end at their `;`: what follows begins anew.
fn within(tokens: TokenStream, room: usize) -> Result<()> {
    let mut left = room;
    for token in tokens {
        left = match &token {
            TokenTree::Punct(punct) if punct.as_char() == ';' => room,
            TokenTree::Group(_) => left.saturating_sub(BRACKET),
            _ => left.saturating_sub(1),
        };
        if left == 0 {
            return Err(too_deep(&token));
        }
        if let TokenTree::Group(group) = token {
            within(group.stream(), left)?;
        }
    }
    Ok(())
}

fn brackets(tokens: TokenStream, room: usize) -> Result<()> {
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            let left = room.checked_sub(1).ok_or_else(|| too_deep(&token))?;
            brackets(group.stream(), left)?;
        }
    }
    Ok(())
}

fn too_deep(token: &TokenTree) -> Error {
    Error::new(
        token.span(),
        "this is nested too deeply: give the inner part a name of its own, and use that here",
    )
}
