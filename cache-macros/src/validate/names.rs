//! Names that the struct of companions would take away from the code around it.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Ident, LitStr, Meta};

use super::Companions;
use crate::diagnostic::Errors;
use crate::func::Func;

const PRIMITIVES: &str = "bool char f32 f64 i8 i16 i32 i64 i128 isize str u8 u16 u32 u64 u128 usize";
const ROUTES: &str = "connect delete get head options patch post put route trace";
const COMPANIONS: &str = "clear insert invalidate key lookup peek refresh stats uncached";

pub(super) fn taken(companions: &Companions, func: &Func, errors: &mut Errors) {
    let Companions::Struct(name) = companions else { return };
    let way_out = format!("rename the struct with `companions = {}_cache`", func.sig.ident);
    if is_one_of(name, PRIMITIVES) {
        errors.on(name, format!("the struct of companions would hide the type `{name}`: {way_out}"));
        return;
    }
    let sources = func.attrs.iter().map(|attr| attr.meta.to_token_stream());
    let sources = sources.chain([func.sig.to_token_stream(), func.body.stream()]);
    let sources: Vec<TokenTree> = sources.flat_map(flat).collect();
    if let Some(path) = module(&sources, name) {
        let message =
            format!("the struct of companions has this name, and hides what `{name}` is here: {way_out}");
        errors.on(path, message);
    }
    if let Some(route) = func.attrs.iter().find(|attr| *name == func.sig.ident && is_route(attr)) {
        errors.on(route, format!("a route is a struct `{name}`, as the companions are: {way_out}"));
    }
}

/// All tokens without the groups around them.
fn flat(tokens: TokenStream) -> Vec<TokenTree> {
    let inside = |token| match token {
        TokenTree::Group(group) => flat(group.stream()),
        token => vec![token],
    };
    tokens.into_iter().flat_map(inside).collect()
}

/// The first `name` that a path such as `name::Item` starts with, unless `Item` is a companion. Nothing if the function
/// gives the name another meaning itself.
fn module<'t>(tokens: &'t [TokenTree], name: &Ident) -> Option<&'t TokenTree> {
    let is = |index: Option<usize>, text: &str| {
        index.and_then(|index| tokens.get(index)).is_some_and(|token| token.to_string() == text)
    };
    let mut in_use = false;
    let mut found = None;
    for (index, token) in tokens.iter().enumerate() {
        let (last, next) = (index.checked_sub(1), Some(index + 1));
        match token {
            // `use<'a>` is a bound.
            TokenTree::Ident(ident) if ident == "use" => in_use = !is(next, "<"),
            TokenTree::Punct(punct) if punct.as_char() == ';' => in_use = false,
            TokenTree::Ident(ident) if ident == name => {
                let declares = ["as", "enum", "mod", "struct", "trait", "type", "union"];
                let is_in_path = is(last, ":") && is(index.checked_sub(2), ":");
                if declares.iter().any(|keyword| is(last, keyword)) || in_use && !is(last, "use") {
                    return None;
                }
                let item = tokens.get(index + 3).filter(|_| is(next, ":") && is(Some(index + 2), ":"));
                let is_module = match item {
                    Some(TokenTree::Ident(item)) => !is_one_of(item, COMPANIONS),
                    // `name::<T>()` is a call.
                    Some(TokenTree::Punct(punct)) => punct.as_char() == '*',
                    Some(_) | None => false,
                };
                found = found.or_else(|| (is_module && !is_in_path).then_some(token));
            }
            _ => {}
        }
    }
    found
}

/// `#[get("/")]` and the like, of actix-web and Rocket.
fn is_route(attr: &Attribute) -> bool {
    let Meta::List(list) = &attr.meta else { return false };
    let name = list.path.segments.last().is_some_and(|last| is_one_of(&last.ident, ROUTES));
    let first = list.tokens.clone().into_iter().next();
    name && first.is_some_and(|first| syn::parse2::<LitStr>(first.into()).is_ok())
}

fn is_one_of(name: &Ident, names: &str) -> bool {
    names.split(' ').any(|one| name == one)
}
