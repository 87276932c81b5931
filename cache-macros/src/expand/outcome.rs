//! Which part of the return value is stored, as types.
//!
//! The kinds of the return type (`Result`, `Option` or plain) are types. In a plain free function the compiler finds
//! them, through any alias, by constants that only a `Result` or an `Option` has; the struct of the companions holds
//! them. In a generic function or a method, constants may not speak of type parameters: there the kinds are read off
//! the spelling, and the compiler checks that no alias hid one.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Type;
use syn::spanned::Spanned as _;

use super::{generic_names, rt, spanned};
use crate::func::argument_of;
use crate::validate::{Companions, Plan};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Result,
    Option,
}

/// The struct of the companions, if it holds the kinds.
fn holder(plan: &Plan) -> Option<&syn::Ident> {
    match &plan.companions {
        Companions::Struct(name) if generic_names(&plan.func).next().is_none() => Some(name),
        _ => None,
    }
}

/// What the struct of the companions says of the return type, if it is the one that does.
pub(super) fn kinds(plan: &Plan) -> Option<TokenStream> {
    let (rt, output, holder) = (rt(plan), &plan.func.output, holder(plan)?);
    let outer = probe(plan, output);
    let inner =
        probe(plan, &quote!(<#output as #rt::Wraps<<#holder as #rt::Returns<#output>>::Outer>>::Inner));
    let (none, err) = flags(plan);
    Some(quote! {
        impl #rt::Returns<#output> for #holder {
            type Outer = #rt::Kind<#outer>;
            type Inner = #rt::Kind<#inner>;
            type None = #none;
            type Err = #err;
        }
    })
}

/// The type that decides what is stored.
pub(super) fn outcome(plan: &Plan) -> TokenStream {
    let (rt, output) = (rt(plan), &plan.func.output);
    if let Some(holder) = holder(plan) {
        return quote!(#rt::AsOf<#holder, #output>);
    }
    let name = |kind| match kind {
        Kind::Plain => quote!(#rt::IsPlain),
        Kind::Result => quote!(#rt::IsResult),
        Kind::Option => quote!(#rt::IsOption),
    };
    let (((outer, _), (inner, _)), (none, err)) = (spelled(output), flags(plan));
    let (outer, inner) = (name(outer), name(inner));
    quote!(#rt::As<#outer, #inner, #none, #err>)
}

/// `cache_none` and `cache_err`.
fn flags(plan: &Plan) -> (TokenStream, TokenStream) {
    let rt = rt(plan);
    let flag = |is_on| if is_on { quote!(#rt::On) } else { quote!(#rt::Off) };
    (flag(plan.negative.none.is_some()), flag(plan.negative.err.is_some()))
}

/// The type that an entry holds, spelled out where the return type says what it is.
pub(super) fn stored(plan: &Plan) -> TokenStream {
    let output = &plan.func.output;
    let ((outer, _), (inner, within)) = spelled(output);
    if let (Kind::Plain, Some(holder)) = (outer, holder(plan)) {
        let rt = rt(plan);
        return quote!(#rt::Stored<#holder, #output>);
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
    let (rt, output, outcome) = (rt(plan), &plan.func.output, outcome(plan));
    let check = |span, assert: TokenStream| {
        let assert = spanned(span, quote!(#rt::#assert));
        quote!(const { #assert };)
    };
    let none = plan.negative.none.map(|span| check(span, quote!(assert_none::<#outcome>())));
    let err = plan.negative.err.map(|span| check(span, quote!(assert_err::<#outcome>())));
    let written = holder(plan).is_none().then(|| {
        let outer = probe(plan, output);
        let inner = probe(plan, &quote!(<#output as #rt::Wraps<<#outcome as #rt::Kinds>::Outer>>::Inner));
        check(output.span(), quote!(assert_written_out::<#outcome>(#outer, #inner)))
    });
    quote!(#none #err #written)
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
