//! Which of the function's attributes go on which generated item.
//!
//! An `#[expect]` goes on the one item where its lint fires, and becomes an `#[allow]` on all others. With companions
//! the body is in `uncached`; lints on the function as an item, such as how many arguments it has, fire on the function.
//!
//! Generated items have no `#[allow]` of their own, because a crate may forbid any lint. They need none: the compiler
//! drops a lint whose span is in a macro of another crate.

use quote::format_ident;
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, Meta, Token, parse_quote};

use crate::func::Func;

/// For the function as its callers know it.
pub(super) fn of_function(func: &Func) -> Vec<Attribute> {
    func.attrs.iter().flat_map(|attr| split(attr, is_of_function)).collect()
}

/// For `uncached`. Its documentation is the function's.
pub(super) fn of_uncached(func: &Func) -> Vec<Attribute> {
    let own = func.attrs.iter().filter(|attr| is_cfg(attr) || is_hidden(attr) || is_lint(attr));
    own.flat_map(|attr| split(attr, is_of_body)).collect()
}

/// For the other companions, whose signatures are made from the function's.
pub(super) fn of_companions(func: &Func) -> Vec<Attribute> {
    let is_own = |attr: &Attribute| {
        is_cfg(attr) || is_hidden(attr) || is_expect(attr) || attr.path().is_ident("allow")
    };
    let own = func.attrs.iter().filter(|attr| is_own(attr));
    own.flat_map(|attr| split(attr, |_| false)).collect()
}

/// For companions beside a method. The compiler reports the dead items of an `impl` together if they have one lint
/// level, and drops the whole report because of these. So they get another level, the only one that a crate may always
/// set.
pub(super) fn of_siblings(func: &Func) -> Vec<Attribute> {
    let mut attrs = of_companions(func);
    attrs.push(parse_quote!(#[forbid(dead_code)]));
    attrs
}

/// For an argument that is only passed on.
pub(super) fn of_argument(attrs: &[Attribute]) -> Vec<Attribute> {
    attrs.iter().flat_map(|attr| split(attr, |_| false)).collect()
}

/// For the struct of the companions and its impls, which exist only where the function does.
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

/// Lints on the function as an item.
fn is_of_function(lint: &Meta) -> bool {
    is_one_of(lint, OF_FUNCTION)
}

/// All other lints, except those that may be about the body or about the function's name or use.
fn is_of_body(lint: &Meta) -> bool {
    !is_of_function(lint) && !is_one_of(lint, OF_EITHER)
}

const OF_FUNCTION: &str = "dead_code missing_docs unreachable_pub double_must_use fn_params_excessive_bools \
                           inherent_to_string missing_errors_doc missing_safety_doc must_use_candidate must_use_unit \
                           result_unit_err too_many_arguments too_many_lines";

/// The last ones look at a body and report the item, so that they are lost.
const OF_EITHER: &str = "unused non_snake_case new_ret_no_self should_implement_trait wrong_self_convention \
                         cognitive_complexity missing_const_for_fn missing_panics_doc unnecessary_wraps unused_async";

fn is_one_of(lint: &Meta, names: &str) -> bool {
    lint.path().segments.last().is_some_and(|last| names.split(' ').any(|name| last.ident == name))
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
