//! Which part of the return value is stored, as types.
//!
//! The kinds of the return type (`Result`, `Option` or plain) are constants. In a plain free function the compiler
//! finds them by type, through any alias. In a generic function or a method, constants may not speak of type parameters:
//! there the kinds are read off the spelling, and the compiler checks that no alias hid one.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::Type;
use syn::spanned::Spanned as _;

use super::{generic_names, rt, spanned};
use crate::func::argument_of;
use crate::validate::{Companions, Plan};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain = 0,
    Result = 1,
    Option = 2,
}

/// The const arguments of `As` and `Stored`.
pub(super) fn kinds(plan: &Plan) -> TokenStream {
    let ((outer, inner), negative) = (kind_exprs(plan), &plan.negative);
    let (none, err) = (negative.none.is_some(), negative.err.is_some());
    quote!(#outer, #inner, #none, #err)
}

/// The type that an entry holds, spelled out where the return type says what it is.
pub(super) fn stored(plan: &Plan) -> TokenStream {
    let output = &plan.func.output;
    let ((outer, _), (inner, within)) = spelled(output);
    if outer == Kind::Plain && !by_spelling(plan) {
        let (rt, kinds) = (rt(plan), kinds(plan));
        return quote!(#rt::Stored<#output, #kinds>);
    }
    let (none, err) = (plan.negative.none.is_some(), plan.negative.err.is_some());
    let whole = output;
    let inside = argument_of("Result", output).or_else(|| argument_of("Option", output)).unwrap_or(output);
    let stored = match (outer, inner) {
        (Kind::Plain, _) => whole,
        (Kind::Result, _) if err => whole,
        (Kind::Result, Kind::Option) if none => inside,
        (Kind::Option, Kind::Result) if err && !none => inside,
        (Kind::Option, _) if none => whole,
        _ => within,
    };
    stored.to_token_stream()
}

/// What stops the compilation if an option has no use, or if an alias hid what the macro had to know.
pub(super) fn checks(plan: &Plan) -> TokenStream {
    let (rt, output, (outer, inner)) = (rt(plan), &plan.func.output, kind_exprs(plan));
    let check = |span: Option<Span>, assert: TokenStream| {
        let assert = quote!(#rt::#assert(#outer, #inner));
        span.map(|span| spanned(span, assert)).map(|assert| quote!(const { #assert };))
    };
    let none = check(plan.negative.none, quote!(assert_none));
    let err = check(plan.negative.err, quote!(assert_err));
    let written = by_spelling(plan).then(|| {
        let (actual, wrapped) = (probe(plan, output), quote!(<#output as #rt::Wraps<#outer>>::Inner));
        let actual_inner = probe(plan, &wrapped);
        let outer = spanned(output.span(), quote!(#rt::assert_written_out(#actual, #outer)));
        let inner = spanned(output.span(), quote!(#rt::assert_written_out(#actual_inner, #inner)));
        quote!(const { #outer }; const { #inner };)
    });
    quote!(#none #err #written)
}

fn by_spelling(plan: &Plan) -> bool {
    let func = &plan.func;
    func.receiver.is_some()
        || matches!(plan.companions, Companions::Siblings(_))
        || generic_names(func).next().is_some()
        || matches!(plan.companions, Companions::Off)
}

/// The kinds of the return type and of what it wraps.
fn kind_exprs(plan: &Plan) -> (TokenStream, TokenStream) {
    let (rt, output) = (rt(plan), &plan.func.output);
    if by_spelling(plan) {
        let ((outer, _), (inner, _)) = spelled(output);
        let (outer, inner) = (outer as u8, inner as u8);
        return (quote!(#outer), quote!(#inner));
    }
    let outer = probe(plan, output);
    let inner = probe(plan, &quote!(<#output as #rt::Wraps<#outer>>::Inner));
    (outer, inner)
}

/// A constant expression for the kind of a type.
fn probe(plan: &Plan, ty: &impl ToTokens) -> TokenStream {
    let rt = rt(plan);
    quote!({
        #[allow(unused_imports)]
        use #rt::Plain as _;
        #rt::Probe::<#ty>::KIND
    })
}

/// The kinds as they are written, each with the type inside.
fn spelled(ty: &Type) -> ((Kind, &Type), (Kind, &Type)) {
    let one = |ty| match (argument_of("Result", ty), argument_of("Option", ty)) {
        (Some(inner), _) => (Kind::Result, inner),
        (_, Some(inner)) => (Kind::Option, inner),
        _ => (Kind::Plain, ty),
    };
    let outer = one(ty);
    (outer, if outer.0 == Kind::Plain { outer } else { one(outer.1) })
}
