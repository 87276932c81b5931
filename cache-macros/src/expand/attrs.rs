//! Which of the function's attributes stand on which generated item.
//!
//! An `#[expect]` stands where it comes true, once: with companions the body is in `uncached`; whether the function is
//! called or documented at all is a matter of the function itself. Anywhere else it becomes an `#[allow]`.

use quote::format_ident;
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, Meta, Token, parse_quote};

use crate::func::Func;

/// Those of the function as its callers know it.
pub(super) fn of_function(func: &Func, body_is_elsewhere: bool) -> Vec<Attribute> {
    let mut attrs: Vec<Attribute> = func.attrs.iter().flat_map(|attr| split(attr, is_of_function)).collect();
    if body_is_elsewhere && func.params.iter().any(|param| param.ident.to_string().starts_with('_')) {
        // They are passed on.
        attrs.push(parse_quote!(#[allow(clippy::used_underscore_binding)]));
    }
    attrs
}

/// Those of `uncached`, whose documentation is the function's.
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

/// Those of the other companions, whose signatures are made from the function's.
pub(super) fn of_companions(func: &Func) -> Vec<Attribute> {
    let mut attrs = vec![parse_quote!(#[allow(dead_code, clippy::all, clippy::pedantic)])];
    let is_own = |attr: &Attribute| {
        is_cfg(attr) || is_hidden(attr) || is_expect(attr) || attr.path().is_ident("allow")
    };
    let own = func.attrs.iter().filter(|attr| is_own(attr));
    attrs.extend(own.flat_map(|attr| split(attr, |_| false)));
    attrs
}

/// Those of an argument that is only passed on.
pub(super) fn of_argument(attrs: &[Attribute]) -> Vec<Attribute> {
    attrs.iter().flat_map(|attr| split(attr, |_| false)).collect()
}

/// Those of the struct around the companions. It must not outlive the function, nor be shown where that is not.
pub(super) fn of_struct(func: &Func) -> Vec<&Attribute> {
    func.attrs.iter().filter(|attr| is_cfg(attr) || is_hidden(attr)).collect()
}

/// Those of what else is of the struct.
pub(super) fn of_impls(func: &Func) -> Vec<&Attribute> {
    func.attrs.iter().filter(|attr| is_cfg(attr)).collect()
}

/// An `#[expect]` as one of those lints that come true here, and an `#[allow]` of the others; any other attribute as it
/// is.
fn split(attr: &Attribute, comes_true: fn(&Meta) -> bool) -> impl Iterator<Item = Attribute> {
    let parts = lints_expected(attr).map(|lints| {
        let (reason, lints): (Vec<Meta>, Vec<Meta>) =
            lints.into_iter().partition(|lint| matches!(lint, Meta::NameValue(_)));
        let (expected, allowed): (Vec<Meta>, Vec<Meta>) = lints.into_iter().partition(comes_true);
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

/// All others, save those that may be of the body or of the function's name or use.
fn is_of_body(lint: &Meta) -> bool {
    let of_either =
        ["unused", "non_snake_case", "new_ret_no_self", "should_implement_trait", "wrong_self_convention"];
    !is_of_function(lint) && !is_one_of(lint, &of_either)
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
