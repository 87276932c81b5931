//! Which of the function's attributes stand on which generated item.
//!
//! With companions the body is in `uncached`, so there an `#[expect]` comes true; elsewhere it becomes an `#[allow]`.
//! Only whether the function is called at all is a matter of the function itself.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token, parse_quote};

use crate::func::Func;

/// Those of the function as its callers know it.
pub(super) fn of_function(func: &Func, body_is_elsewhere: bool) -> Vec<Attribute> {
    let attrs = func.attrs.iter().flat_map(|attr| match body_is_elsewhere && is_expect(attr) {
        true => [expected(attr, is_dead_code), of_body(attr).map(allowed)],
        false => [Some(attr.clone()), None],
    });
    let mut attrs: Vec<Attribute> = attrs.flatten().collect();
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
    let own = func.attrs.iter().filter(|attr| is_cfg(attr) || is_lint(attr));
    attrs.extend(own.filter_map(|attr| if is_expect(attr) { of_body(attr) } else { Some(attr.clone()) }));
    attrs
}

/// Those of the other companions, whose signatures are made from the function's.
pub(super) fn of_companions(func: &Func) -> Vec<Attribute> {
    let mut attrs = vec![parse_quote!(#[allow(dead_code, clippy::all, clippy::pedantic)])];
    attrs.extend(func.attrs.iter().filter_map(|attr| match is_expect(attr) {
        true => of_body(attr).map(allowed),
        false => (is_cfg(attr) || attr.path().is_ident("allow")).then(|| attr.clone()),
    }));
    attrs
}

/// Those of the struct around the companions. It must not outlive the function.
pub(super) fn of_struct(func: &Func) -> Vec<&Attribute> {
    func.attrs.iter().filter(|attr| is_cfg(attr)).collect()
}

fn of_body(expect: &Attribute) -> Option<Attribute> {
    expected(expect, |lint| !is_dead_code(lint))
}

/// An `#[expect]` of some of its lints; `None` if there are none of them.
fn expected(expect: &Attribute, which: impl Fn(&Meta) -> bool) -> Option<Attribute> {
    let lints = expect.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let (reason, lints): (Vec<Meta>, Vec<Meta>) =
        lints.into_iter().partition(|lint| matches!(lint, Meta::NameValue(_)));
    let lints: Vec<Meta> = lints.into_iter().filter(which).collect();
    (!lints.is_empty()).then(|| parse_quote!(#[expect(#(#lints,)* #(#reason)*)]))
}

fn allowed(mut expect: Attribute) -> Attribute {
    if let Meta::List(list) = &mut expect.meta {
        list.path = parse_quote!(allow);
    }
    expect
}

fn is_dead_code(lint: &Meta) -> bool {
    lint.path().is_ident("dead_code")
}

fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg")
}

fn is_lint(attr: &Attribute) -> bool {
    is_expect(attr) || ["allow", "warn", "deny", "forbid"].iter().any(|lint| attr.path().is_ident(lint))
}

fn is_expect(attr: &Attribute) -> bool {
    attr.path().is_ident("expect")
}
