//! Which part of the return value is stored, as a type.
//!
//! It depends on the kind of the return type (`Result`, `Option` or plain) and of the success type within it. In a
//! free function without type parameters the compiler finds the kinds, through any alias, and the companions' struct,
//! if there is one, holds the result. In a generic function or a method it can't, because constants may not mention type
//! parameters. There the kinds are read off the spelling, and the compiler checks that no alias hides one.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Ident, Type};

use super::{generic_names, rt, spanned};
use crate::func::{argument_of, arguments_of};
use crate::validate::background::borrows;
use crate::validate::signature::mentions_self;
use crate::validate::{Companions, Plan};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Result,
    Option,
}

impl Kind {
    /// As the runtime's `StoredPart` takes it.
    fn letter(self) -> char {
        match self {
            Self::Plain => '-',
            Self::Result => 'R',
            Self::Option => 'O',
        }
    }
}

/// The companions' struct, if the compiler finds the kinds.
fn holder(plan: &Plan) -> Option<&Ident> {
    match &plan.companions {
        Companions::Struct(name) if generic_names(&plan.func).next().is_none() => Some(name),
        _ => None,
    }
}

/// Whether the compiler finds the kinds without a struct: in a free function without companions. Constants there may not
/// mention type parameters of an `impl` around it, which a macro can't see: single letters are taken for those.
fn is_found_in_place(plan: &Plan) -> bool {
    fn has_letter(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => ident.to_string().len() == 1,
            TokenTree::Group(group) => has_letter(group.stream()),
            _ => false,
        })
    }
    matches!(plan.companions, Companions::Off)
        && !plan.is_method
        && generic_names(&plan.func).next().is_none()
        && !has_letter(plan.func.output.to_token_stream())
}

/// An impl through which the companions' struct names the part.
pub(super) fn returns(plan: &Plan) -> Option<TokenStream> {
    let (rt, output, holder) = (rt(plan), &plan.func.output, holder(plan)?);
    let (none, err) = (plan.negative.none.is_some(), plan.negative.err.is_some());
    Some(quote! {
        impl #rt::Returns<#output> for #holder {
            type Part = #rt::stored_part!(#output, cache_none: #none, cache_err: #err);
        }
    })
}

/// The type that decides what is stored.
pub(super) fn part(plan: &Plan) -> TokenStream {
    let (rt, output) = (rt(plan), &plan.func.output);
    if let Some(holder) = holder(plan) {
        return quote!(<#holder as #rt::Returns<#output>>::Part);
    }
    let (none, err) = (plan.negative.none.is_some(), plan.negative.err.is_some());
    if is_found_in_place(plan) {
        return quote!(#rt::stored_part!(#output, cache_none: #none, cache_err: #err));
    }
    let ((outer, _), (inner, _)) = spelled(output);
    let (outer, inner) = (outer.letter(), inner.letter());
    quote!(#rt::StoredPart<#outer, #inner, #none, #err>)
}

/// The type that an entry holds. The compiler finds it, with the span of what looks like it. In a method or a generic
/// function, where the kinds are spelled anyway, it is written out if no alias can hide it.
pub(super) fn stored(plan: &Plan) -> TokenStream {
    let (rt, output) = (rt(plan), &plan.func.output);
    let looks = looks_stored(plan);
    match holder(plan) {
        Some(holder) => spanned(looks, quote!(#rt::StoredBy<#holder, #output>)),
        None if is_abbreviated(output) || is_found_in_place(plan) => {
            let part = part(plan);
            spanned(looks, quote!(<#part as #rt::Outcome<#output>>::Stored))
        }
        None => looks.to_token_stream(),
    }
}

fn looks_stored(plan: &Plan) -> &Type {
    let output = &plan.func.output;
    let ((outer, _), (inner, within)) = spelled(output);
    let (none, err) = (plan.negative.none.is_some(), plan.negative.err.is_some());
    let whole = output;
    let inside = argument_of("Result", output).or_else(|| argument_of("Option", output)).unwrap_or(output);
    match (outer, inner) {
        (Kind::Plain, _) => whole,
        (Kind::Result, _) if err => whole,
        (Kind::Result, Kind::Option) if none => inside,
        (Kind::Option, Kind::Result) if err && !none => inside,
        (Kind::Option, _) if none => whole,
        _ => within,
    }
}

/// Whether there is a `Result<T>`, an alias whose `T` need not be what is in the `Ok`.
fn is_abbreviated(output: &Type) -> bool {
    let is_short = |ty| arguments_of("Result", ty).count() == 1;
    is_short(output) || argument_of("Option", output).is_some_and(is_short)
}

/// Lets the compiler find out whether errors that aren't stored can be shared with those who wait. It can't if an error
/// may borrow from the call, or has a type parameter.
pub(super) fn share_err(plan: &Plan) -> Option<TokenStream> {
    let (rt, func, output) = (rt(plan), &plan.func, &plan.func.output);
    let result = argument_of("Option", output).unwrap_or(output);
    let error = arguments_of("Result", result).nth(1).unwrap_or(output);
    let tokens = error.to_token_stream();
    let is_plain = NEVER_RESULTS.iter().any(|name| tokens.to_string() == *name);
    let may_borrow = borrows(error) || mentions_self(tokens.clone());
    let is_shared =
        plan.negative.err.is_none() && !is_plain && !may_borrow && !func.has_type_parameter(&tokens);
    is_shared.then(|| quote!(.share_err(#rt::share_err!(#output))))
}

/// Common types for which generated code should be short.
const NEVER_RESULTS: [&str; 11] =
    ["bool", "f32", "f64", "i32", "i64", "u8", "u32", "u64", "usize", "String", "()"];

/// Statements that stop the compilation if an option has no use, or if an alias hides a kind.
pub(super) fn checks(plan: &Plan) -> TokenStream {
    let (rt, output, part) = (rt(plan), &plan.func.output, part(plan));
    let check = |option: &Ident, call: TokenStream| {
        let call = spanned(option, call);
        quote!(const { #call };)
    };
    let none = plan.negative.none.as_ref();
    let none = none.map(|option| check(option, quote!(<#part>::assert_returns_option())));
    let err = plan.negative.err.as_ref();
    let err = err.map(|option| check(option, quote!(<#part>::assert_returns_result())));
    let kinds = (holder(plan).is_none() && !is_found_in_place(plan))
        .then(|| spanned(output, quote!(#rt::assert_kinds! { #part, #output })));
    quote!(#none #err #kinds)
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
