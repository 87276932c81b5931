//! Which of the function's attributes go on which generated item.
//!
//! An `#[expect]` goes on the one item where its lint fires, and becomes an `#[allow]` on all others. With companions
//! the body is in `uncached`; lints on whether the function is called or documented are about the function itself.

use quote::format_ident;
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, Meta, Token, parse_quote};

use crate::func::Func;

/// For the function as its callers know it.
pub(super) fn of_function(func: &Func, body_is_elsewhere: bool) -> Vec<Attribute> {
    let mut attrs: Vec<Attribute> = func.attrs.iter().flat_map(|attr| split(attr, is_of_function)).collect();
    if body_is_elsewhere && func.params.iter().any(|param| param.ident.to_string().starts_with('_')) {
        // These arguments are passed on, which counts as a use.
        attrs.push(parse_quote!(#[allow(clippy::used_underscore_binding)]));
    }
    attrs
}

/// For `uncached`. Its documentation is the function's.
pub(super) fn of_uncached(func: &Func) -> Vec<Attribute> {
    let mut attrs = vec![parse_quote!(#[allow(
        dead_code,
        clippy::missing_errors_doc,
        clippy::missing_panics_doc,
        clippy::missing_safety_doc,
        clippy::must_use_candidate
    )])];
    let own = func.attrs.iter().filter(|attr| is_cfg(attr) || is_hidden(attr) || is_lint(attr));
    attrs.extend(own.flat_map(|attr| split(attr, is_of_body)));
    attrs
}

/// For the other companions, whose signatures are made from the function's.
pub(super) fn of_companions(func: &Func) -> Vec<Attribute> {
    let mut attrs = vec![parse_quote!(#[allow(dead_code, clippy::all, clippy::pedantic)])];
    let is_own = |attr: &Attribute| {
        is_cfg(attr) || is_hidden(attr) || is_expect(attr) || attr.path().is_ident("allow")
    };
    let own = func.attrs.iter().filter(|attr| is_own(attr));
    attrs.extend(own.flat_map(|attr| split(attr, |_| false)));
    attrs
}

/// For an argument that is only passed on.
pub(super) fn of_argument(attrs: &[Attribute]) -> Vec<Attribute> {
    attrs.iter().flat_map(|attr| split(attr, |_| false)).collect()
}

/// For the struct of the companions, which exists and is documented only where the function is.
pub(super) fn of_struct(func: &Func) -> Vec<&Attribute> {
    func.attrs.iter().filter(|attr| is_cfg(attr) || is_hidden(attr)).collect()
}

/// For the impls of that struct.
pub(super) fn of_impls(func: &Func) -> Vec<&Attribute> {
    func.attrs.iter().filter(|attr| is_cfg(attr)).collect()
}

/// Splits an `#[expect]` into one for the lints that fire here and an `#[allow]` for the others. Any other attribute
/// stays as it is.
fn split(attr: &Attribute, fires: fn(&Meta) -> bool) -> impl Iterator<Item = Attribute> {
    let parts = lints_expected(attr).map(|lints| {
        let (reason, lints): (Vec<Meta>, Vec<Meta>) =
            lints.into_iter().partition(|lint| matches!(lint, Meta::NameValue(_)));
        let (expected, allowed): (Vec<Meta>, Vec<Meta>) = lints.into_iter().partition(fires);
        [level("expect", &expected, &reason), level("allow", &allowed, &reason)]
    });
    parts.unwrap_or_else(|| [Some(attr.clone()), None]).into_iter().flatten()
}

fn level(name: &str, lints: &[Meta], reason: &[Meta]) -> Option<Attribute> {
    let (name, list) = (format_ident!("{name}"), lints.iter().chain(reason));
    (!lints.is_empty()).then(|| parse_quote!(#[#name(#(#list),*)]))
}

fn lints_expected(attr: &Attribute) -> Option<Punctuated<Meta, Token![,]>> {
    is_expect(attr).then(|| attr.parse_args_with(Punctuated::parse_terminated).ok()).flatten()
}

/// Lints on what callers see.
fn is_of_function(lint: &Meta) -> bool {
    is_one_of(lint, &["dead_code", "missing_docs"])
}

/// All other lints, except those that may be about the body or about the function's name or use.
fn is_of_body(lint: &Meta) -> bool {
    let about_either =
        ["unused", "non_snake_case", "new_ret_no_self", "should_implement_trait", "wrong_self_convention"];
    !is_of_function(lint) && !is_one_of(lint, &about_either)
}

fn is_one_of(lint: &Meta, names: &[&str]) -> bool {
    lint.path().segments.last().is_some_and(|last| names.iter().any(|name| last.ident == name))
}

fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg")
}

fn is_hidden(attr: &Attribute) -> bool {
    attr.path().is_ident("doc") && attr.parse_args::<Ident>().is_ok_and(|word| word == "hidden")
}

fn is_lint(attr: &Attribute) -> bool {
    is_expect(attr) || ["allow", "warn", "deny", "forbid"].iter().any(|lint| attr.path().is_ident(lint))
}

fn is_expect(attr: &Attribute) -> bool {
    attr.path().is_ident("expect")
}
