//! The key of a call, as an expression of type `Result<Key, Error>`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned as _;

use super::{Home, at, cached_path, generic_names, rt};
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
/// A macro can't see the generics of the `impl` or trait around a function. So the compiler names them: they are part
/// of the type of each function in there, and of each closure.
fn instance(plan: &Plan) -> TokenStream {
    let Plan { func, target, .. } = plan;
    let in_memory = matches!(target, Target::Memory { .. });
    let callee = match (&plan.companions, Home::of(plan)) {
        (Companions::Struct(_), _) if generic_names(func).next().is_none() => None,
        (_, Some(home)) => Some(cached_path(plan, &home)),
        (_, None) => Some(quote!(|| {})),
    };
    let callee = callee.map(|callee| quote!(__key.instance(&#callee, #in_memory);));
    let opaque = read(plan)
        .filter(|param| param.is_generic())
        .map(|Param { ident, .. }| quote!(__key.type_of(&#ident, #in_memory);));
    quote!(#callee #(#opaque)*)
}
