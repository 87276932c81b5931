//! The key of a call, as an expression of type `Result<Key, Error>`.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned as _;

use super::{at, generic_names, rt};
use crate::func::{Param, plain};
use crate::key::Segment;
use crate::validate::{Companions, KeySource, Plan, Target};

pub(super) fn expr(plan: &Plan) -> TokenStream {
    let (rt, instance) = (rt(plan), instance(plan));
    let views: Vec<TokenStream> = read(plan).filter_map(Param::view).collect();
    match &plan.key.source {
        KeySource::Args => {
            let args = read(plan).map(arg);
            quote!(#rt::Key::of_args(|__key| { #instance #(#args)* #rt::Ok(()) }))
        }
        KeySource::Exprs(exprs) => {
            let args = exprs.iter().map(|expr| quote_spanned!(at(expr.span())=> __key.arg(&#expr)?;));
            quote!(#rt::Key::of_args(|__key| { #instance #(#views)* #(#args)* #rt::Ok(()) }))
        }
        KeySource::Template(segments) => {
            let parts = segments.iter().map(|segment| match segment {
                Segment::Text(text) => quote!(__key.literal(#text);),
                Segment::Field(place) => quote_spanned!(at(place.root.span())=> __key.field(&#place)?;),
            });
            quote!(#rt::Key::of_template(|__key| { #instance #(#views)* #(#parts)* #rt::Ok(()) }))
        }
    }
}

fn read(plan: &Plan) -> impl Iterator<Item = &Param> {
    plan.key.reads.iter().filter_map(|index| plan.func.params.get(*index))
}

/// An argument as a whole. Arrays go as slices, because serde knows arrays up to 32 elements only.
fn arg(Param { ident, ty, .. }: &Param) -> TokenStream {
    let target = match plain(ty) {
        Type::Reference(reference) => plain(&reference.elem),
        ty => ty,
    };
    match target {
        Type::Array(_) => quote_spanned!(at(ty.span())=> __key.arg(&#ident[..])?;),
        _ => quote_spanned!(at(ty.span())=> __key.arg(&#ident)?;),
    }
}

/// What tells the instantiations of a generic function apart, and the types that share a method.
///
/// A macro can't see whether the `impl` is generic or a trait, so a method's `Self` always counts.
fn instance(plan: &Plan) -> TokenStream {
    let Plan { func, .. } = plan;
    let in_memory = matches!(plan.target, Target::Memory { .. });
    let (of_type, of_value) = if in_memory {
        (quote!(type_id), quote!(type_id_of))
    } else {
        (quote!(type_name), quote!(type_name_of))
    };
    let is_method = func.receiver.is_some() || matches!(plan.companions, Companions::Siblings(_));
    let this = is_method.then(|| quote!(__key.#of_type::<Self>();));
    // A closure's type differs by the type that a trait's function is called on, even where it has no `self`.
    let unseen = (in_memory && !is_method && matches!(plan.companions, Companions::Off))
        .then(|| quote!(__key.#of_value(&|| {});));
    let is_template = matches!(plan.key.source, KeySource::Template(_));
    let generics = generic_names(func).map(|(ident, is_const)| match (is_const, is_template) {
        (false, _) => quote!(__key.#of_type::<#ident>();),
        (true, false) => quote!(__key.arg(&#ident)?;),
        (true, true) => quote!(__key.field(&#ident)?; __key.literal(":");),
    });
    let opaque = read(plan)
        .filter(|param| matches!(plain(&param.ty), Type::ImplTrait(_)))
        .map(|param| param.ident.to_token_stream())
        .map(|ident| quote!(__key.#of_value(&#ident);));
    quote!(#this #unseen #(#generics)* #(#opaque)*)
}
