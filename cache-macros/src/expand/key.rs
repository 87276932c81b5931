//! The key of a call: statements that declare and fill the variable `__key`.
//!
//! With companions, a hidden function fills it from borrowed arguments. The expressions of `key = (…)` may need the
//! arguments themselves, as `id % 2 == 0` does; these stand wherever the key is needed.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Pat, Type, TypeImplTrait};

use super::companions::{Names, function_path};
use super::{at, generic_names, rt, turbofish};
use crate::args::key::Segment;
use crate::func::{Func, Param, plain};
use crate::validate::{Companions, KeySource, Plan, Target};

/// Makes the key of the arguments at hand. It is filled in place, because copying it costs half as much as a hit.
pub(super) fn of_arguments(plan: &Plan) -> TokenStream {
    let rt = rt(plan);
    let filled = match Names::of(plan).filter(|_| is_shared(plan)) {
        None => {
            let parts = parts(plan, false);
            quote!({ let __key = &mut __key; #parts })
        }
        Some(names) => {
            let (scope, key, types) = (&names.scope, names.hidden("key"), turbofish(&plan.func));
            let this = this(plan).map(|this| quote!(&#this,));
            let idents = read(plan).map(|param| &param.ident);
            quote!(#scope::#key #types(#this &mut __key, #(&#idents),*);)
        }
    };
    quote!(let mut __key = #rt::Args::new(); #filled)
}

/// The key as calls that may miss take it: a future owns it.
pub(super) fn given(func: &Func) -> TokenStream {
    if func.is_async() { quote!(__key) } else { quote!(&__key) }
}

/// The hidden function that fills a key.
pub(super) fn function(plan: &Plan, names: &Names) -> Option<TokenStream> {
    let (rt, generics) = (rt(plan), &plan.func.sig.generics);
    let (key, parts, bounds) = (names.hidden("key"), parts(plan, true), &generics.where_clause);
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

/// `self`, if the key reads it.
pub(super) fn this(plan: &Plan) -> Option<&syn::Token![self]> {
    plan.func.receiver.as_ref().filter(|_| plan.key.reads_self).map(|receiver| &receiver.self_token)
}

/// Adds the parts of the key to a borrowed `__key`. The arguments are at hand, or borrowed too.
fn parts(plan: &Plan, is_borrowed: bool) -> TokenStream {
    let (rt, instance) = (rt(plan), instance(plan, is_borrowed));
    let views = read(plan).filter_map(|param| view(param, is_borrowed));
    let views = quote!(#(#views)*);
    match &plan.key.source {
        KeySource::Args => {
            let args = read(plan).map(|param| arg(plan, param, is_borrowed));
            quote!(#instance #views #(#args)*)
        }
        KeySource::Exprs(exprs) => {
            let is_generic = plan.func.params.iter().any(Param::has_impl_trait)
                || generic_names(&plan.func).next().is_some();
            let args = exprs.iter().map(|expr| {
                let arg = method("arg", is_generic, expr.span());
                quote_spanned!(at(expr.span())=> __key.#arg(&(#expr));)
            });
            quote!(#instance #views #(#args)*)
        }
        KeySource::Template(segments) => {
            let parts = segments.iter().map(|segment| match segment {
                Segment::Text(text) => quote!(__key.literal(#text);),
                Segment::Field(path) => {
                    let is_generic = read(plan)
                        .any(|param| param.bindings.contains(&path.root) && is_generic(plan, param));
                    let field = method("field", is_generic, path.root.span());
                    quote_spanned!(at(path.root.span())=> __key.#field(&#path);)
                }
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

/// Brings the names of a pattern into the scope of the key.
fn view(param: &Param, is_borrowed: bool) -> Option<TokenStream> {
    let ident = &param.ident;
    match &param.pat {
        // The argument is borrowed once more, and the pattern matches what is behind.
        pat @ Pat::Reference(_) if is_borrowed => {
            Some(quote!(#[allow(unused_variables, unused_mut)] let #pat = *#ident;))
        }
        _ => param.view(),
    }
}

fn read(plan: &Plan) -> impl Iterator<Item = &Param> {
    plan.key.reads.iter().filter_map(|index| plan.func.params.get(*index))
}

/// Adds a whole argument. Its type is spelled, so that the compiler underlines all of it.
fn arg(plan: &Plan, param: &Param, is_borrowed: bool) -> TokenStream {
    let Param { ident, ty, .. } = param;
    let arg = method("arg", is_generic(plan, param), ty.span());
    let target = match plain(ty) {
        Type::Reference(reference) => plain(&reference.elem),
        ty => ty,
    };
    let reborrow = is_borrowed.then(|| quote_spanned!(at(ty.span())=> *));
    match target {
        // As a slice, because serde knows arrays of up to 32 elements only.
        Type::Array(_) => quote_spanned!(at(ty.span())=> __key.#arg(&#ident[..]);),
        // This type can't be spelled, so the `&` takes its span.
        _ if param.has_impl_trait() => quote_spanned!(at(ty.span())=> __key.#arg(&#reborrow #ident);),
        _ => quote!(__key.#arg::<#ty>(&#reborrow #ident);),
    }
}

/// The method that adds a part. The generic variant leaves the message to the compiler, which says best which bound a
/// type parameter lacks.
fn method(name: &str, is_generic: bool, span: Span) -> Ident {
    let suffix = if is_generic { "_generic" } else { "" };
    format_ident!("{name}{suffix}", span = at(span))
}

fn is_generic(plan: &Plan, param: &Param) -> bool {
    param.has_impl_trait() || plan.func.has_type_parameter(&param.ty.to_token_stream())
}

/// Adds what tells the instantiations of a generic function apart, and the types that share a method.
///
/// A macro can't see the generics of the `impl` or trait around a function. The compiler can: they are part of the
/// type of each function in there, and of each closure.
fn instance(plan: &Plan, is_borrowed: bool) -> TokenStream {
    let Plan { func, target, .. } = plan;
    let in_memory = matches!(target, Target::Memory { .. });
    let callee = match (&plan.companions, Names::of(plan)) {
        (Companions::Struct(_), _) if generic_names(func).next().is_none() => None,
        (_, Some(names)) => Some(function_path(plan, &names)),
        (_, None) => Some(quote!(|| {})),
    };
    let callee = callee.map(|callee| quote!(__key.instance(&#callee, #in_memory);));
    let borrow = (!is_borrowed).then(|| quote!(&));
    let opaque = read(plan)
        .filter(|param| param.has_impl_trait())
        .map(|Param { ident, .. }| quote!(__key.type_of(#borrow #ident, #in_memory);));
    quote!(#callee #(#opaque)*)
}
