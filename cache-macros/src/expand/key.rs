//! The key of a call, an expression of type `Result<Key, Error>`.
//!
//! Where there are companions, a hidden function beside them makes it, of borrowed arguments. The expressions of
//! `key = (…)` may need the arguments themselves, as `id % 2 == 0` does: these stand wherever the key is needed.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Pat, Type, TypeImplTrait};

use super::{Home, at, cached_path, generic_names, rt, turbofish};
use crate::func::{Param, plain};
use crate::key::Segment;
use crate::validate::{Companions, KeySource, Plan, Target};

/// The key of the arguments at hand.
pub(super) fn expr(plan: &Plan) -> TokenStream {
    let Some(home) = Home::of(plan).filter(|_| is_shared(plan)) else { return made(plan, false) };
    let (scope, key, types) = (&home.scope, home.hidden("key"), turbofish(&plan.func));
    let this = this(plan).map(|this| quote!(&#this,));
    let idents = read(plan).map(|param| &param.ident);
    quote!(#scope::#key #types(#this #(&#idents),*))
}

/// The hidden function.
pub(super) fn function(plan: &Plan, home: &Home) -> Option<TokenStream> {
    let (rt, krate, generics) = (rt(plan), &plan.krate, &plan.func.sig.generics);
    let (key, made, bounds) = (home.hidden("key"), made(plan, true), &generics.where_clause);
    let this = this(plan).map(|this| quote!(&#this,));
    let params = read(plan).map(|Param { ident, ty, .. }| match plain(ty) {
        Type::ImplTrait(TypeImplTrait { bounds, .. }) if bounds.len() > 1 => quote!(#ident: &(#ty)),
        _ => quote!(#ident: &#ty),
    });
    is_shared(plan).then(|| {
        quote! {
            fn #key #generics(#this #(#params),*) -> #rt::Result<#rt::Key, #krate::Error> #bounds {
                #made
            }
        }
    })
}

fn is_shared(plan: &Plan) -> bool {
    !matches!(plan.key.source, KeySource::Exprs(_))
}

/// `self`, where the key reads it.
fn this(plan: &Plan) -> Option<&syn::Token![self]> {
    plan.func.receiver.as_ref().filter(|_| plan.key.reads_self).map(|receiver| &receiver.self_token)
}

/// Collects the parts of the key; the arguments are at hand, or borrowed.
fn made(plan: &Plan, is_borrowed: bool) -> TokenStream {
    let (rt, instance) = (rt(plan), instance(plan, is_borrowed));
    let views = read(plan).filter_map(|param| view(param, is_borrowed));
    let (collector, parts): (_, Vec<TokenStream>) = match &plan.key.source {
        KeySource::Args => (quote!(Args), read(plan).map(|param| arg(param, is_borrowed)).collect()),
        KeySource::Exprs(exprs) => {
            let arg = |expr: &syn::Expr| quote_spanned!(at(expr.span())=> __key.arg(&#expr););
            (quote!(Args), exprs.iter().map(arg).collect())
        }
        KeySource::Template(segments) => {
            let part = |segment: &Segment| match segment {
                Segment::Text(text) => quote!(__key.literal(#text);),
                Segment::Field(place) => quote_spanned!(at(place.root.span())=> __key.field(&#place);),
            };
            (quote!(Template), segments.iter().map(part).collect())
        }
    };
    let views = quote!(#(#views)*);
    let collected = quote! {
        let mut __key = #rt::#collector::new();
        #instance
        #views
        #(#parts)*
        __key.key()
    };
    if is_borrowed { collected } else { quote!({ #collected }) }
}

/// What brings the names of a pattern into sight of the key.
fn view(param: &Param, is_borrowed: bool) -> Option<TokenStream> {
    let ident = &param.ident;
    match &param.pat {
        // A borrowed `&`: the pattern is for what is behind.
        pat @ Pat::Reference(_) if is_borrowed => {
            Some(quote!(#[allow(unused_variables, unused_mut)] let #pat = *#ident;))
        }
        _ => param.view(),
    }
}

fn read(plan: &Plan) -> impl Iterator<Item = &Param> {
    plan.key.reads.iter().filter_map(|index| plan.func.params.get(*index))
}

/// An argument as a whole. Arrays go as slices, because serde knows arrays up to 32 elements only.
fn arg(param: &Param, is_borrowed: bool) -> TokenStream {
    let Param { ident, ty, .. } = param;
    let target = match plain(ty) {
        Type::Reference(reference) => plain(&reference.elem),
        ty => ty,
    };
    // Both begin with a `&` at the type, where errors are reported.
    match (target, is_borrowed) {
        (Type::Array(_), _) => quote_spanned!(at(ty.span())=> __key.arg(&#ident[..]);),
        (_, false) => quote_spanned!(at(ty.span())=> __key.arg(&#ident);),
        (_, true) => quote_spanned!(at(ty.span())=> __key.arg(&*#ident);),
    }
}

/// What tells the instantiations of a generic function apart, and the types that share a method.
///
/// A macro can't see the generics of the `impl` or trait around a function. So the compiler names them: they are part
/// of the type of each function in there, and of each closure.
fn instance(plan: &Plan, is_borrowed: bool) -> TokenStream {
    let Plan { func, target, .. } = plan;
    let in_memory = matches!(target, Target::Memory { .. });
    let callee = match (&plan.companions, Home::of(plan)) {
        (Companions::Struct(_), _) if generic_names(func).next().is_none() => None,
        (_, Some(home)) => Some(cached_path(plan, &home)),
        (_, None) => Some(quote!(|| {})),
    };
    let callee = callee.map(|callee| quote!(__key.instance(&#callee, #in_memory);));
    let borrow = (!is_borrowed).then(|| quote!(&));
    let opaque = read(plan)
        .filter(|param| param.is_generic())
        .map(|Param { ident, .. }| quote!(__key.type_of(#borrow #ident, #in_memory);));
    quote!(#callee #(#opaque)*)
}
