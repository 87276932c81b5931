//! The key of a call: statements that make the variable `__key`.
//!
//! Where there are companions, a hidden function beside them fills it, from borrowed arguments. The expressions of
//! `key = (…)` may need the arguments themselves, as `id % 2 == 0` does: these stand wherever the key is needed.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Pat, Type, TypeImplTrait};

use super::{Home, at, cached_path, generic_names, rt, turbofish};
use crate::func::{Func, Param, plain};
use crate::key::Segment;
use crate::validate::{Companions, KeySource, Plan, Target};

/// The key of the arguments at hand. Filled where it stands, because a copy costs as much as half a hit.
pub(super) fn of_arguments(plan: &Plan) -> TokenStream {
    let rt = rt(plan);
    let filled = match Home::of(plan).filter(|_| is_shared(plan)) {
        None => {
            let parts = parts(plan, false);
            quote!({ let __key = &mut __key; #parts })
        }
        Some(home) => {
            let (scope, key, types) = (&home.scope, home.hidden("key"), turbofish(&plan.func));
            let this = this(plan).map(|this| quote!(&#this,));
            let idents = read(plan).map(|param| &param.ident);
            quote!(#scope::#key #types(#this &mut __key, #(&#idents),*);)
        }
    };
    quote!(let mut __key = #rt::Args::new(); #filled)
}

/// The key as calls that miss take it: a future holds its own.
pub(super) fn given(func: &Func) -> TokenStream {
    if func.is_async() { quote!(__key) } else { quote!(&__key) }
}

/// The hidden function.
pub(super) fn function(plan: &Plan, home: &Home) -> Option<TokenStream> {
    let (rt, generics) = (rt(plan), &plan.func.sig.generics);
    let (key, parts, bounds) = (home.hidden("key"), parts(plan, true), &generics.where_clause);
    let this = this(plan).map(|this| quote!(&#this,));
    let params = read(plan).map(|Param { ident, ty, .. }| match plain(ty) {
        Type::ImplTrait(TypeImplTrait { bounds, .. }) if bounds.len() > 1 => quote!(#ident: &(#ty)),
        _ => quote!(#ident: &#ty),
    });
    is_shared(plan).then(|| {
        quote! {
            fn #key #generics(#this __key: &mut #rt::Args, #(#params),*) #bounds {
                #parts
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

/// Adds the parts of the key to a `__key` that is borrowed; the arguments are at hand, or borrowed too.
fn parts(plan: &Plan, is_borrowed: bool) -> TokenStream {
    let (rt, instance) = (rt(plan), instance(plan, is_borrowed));
    let views = read(plan).filter_map(|param| view(param, is_borrowed));
    let views = quote!(#(#views)*);
    match &plan.key.source {
        KeySource::Args => {
            let args = read(plan).map(|param| arg(param, is_borrowed));
            quote!(#instance #views #(#args)*)
        }
        KeySource::Exprs(exprs) => {
            let args = exprs.iter().map(|expr| quote_spanned!(at(expr.span())=> __key.arg(&(#expr));));
            quote!(#instance #views #(#args)*)
        }
        KeySource::Template(segments) => {
            let parts = segments.iter().map(|segment| match segment {
                Segment::Text(text) => quote!(__key.literal(#text);),
                Segment::Field(place) => quote_spanned!(at(place.root.span())=> __key.field(&#place);),
            });
            quote! {
                let mut __key = #rt::Template::new(__key);
                #instance
                #views
                #(#parts)*
                __key.end();
            }
        }
    }
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
