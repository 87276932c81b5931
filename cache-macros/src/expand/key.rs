//! The key of a call: statements that declare and fill a variable.
//!
//! With companions, a hidden function fills it from borrowed arguments. The expressions of `key = (…)` may need the
//! arguments themselves, as `id % 2 == 0` does; these stand wherever the key is needed.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Type, TypeImplTrait};

use super::companions::{Names, function_path};
use super::{at, generic_names, local, of_companion, rt, turbofish};
use crate::args::key::{FieldPath, Segment};
use crate::func::{Func, Param, plain};
use crate::validate::{Companions, KeySource, Plan, Target};

/// The variable that holds the key.
pub(super) fn variable() -> Ident {
    local("__key")
}

/// Makes the key of the arguments at hand. It is filled in place, because copying it costs half as much as a hit.
pub(super) fn of_arguments(plan: &Plan) -> TokenStream {
    let (rt, variable) = (rt(plan), variable());
    let filled = match Names::of(plan).filter(|_| is_shared(plan)) {
        None => {
            let parts = parts(plan, false);
            quote!({ let #variable = &mut #variable; #parts })
        }
        Some(names) => {
            let (scope, key, types) = (&names.scope, names.hidden("key"), turbofish(&plan.func));
            let this = this(plan).map(|this| quote!(&#this,));
            let idents = read(plan).map(|param| &param.ident);
            quote!(#scope::#key #types(#this &mut #variable, (#(&#idents,)*));)
        }
    };
    quote!(let mut #variable = #rt::Args::new(); #filled)
}

/// The key as calls that may miss take it: a future owns it.
pub(super) fn given(func: &Func) -> TokenStream {
    let key = variable();
    if func.is_async() { quote!(#key) } else { quote!(&#key) }
}

/// The hidden function that fills a key.
pub(super) fn function(plan: &Plan, names: &Names) -> Option<TokenStream> {
    let (rt, generics) = (rt(plan), &plan.func.sig.generics);
    let (key, parts, bounds) = (names.hidden("key"), parts(plan, true), of_companion(&generics.where_clause));
    let generics = of_companion(generics);
    let (this, variable) = (this(plan).map(|this| quote!(&#this,)), variable());
    let params = borrowed(read(plan));
    is_shared(plan).then(|| {
        quote! {
            fn #key #generics(#this #variable: &mut #rt::Args, #params) #bounds {
                #parts
            }
        }
    })
}

/// `(ident, …): (&Type, …)`. In a tuple, because lints look at each argument that is a reference.
pub(super) fn borrowed<'a>(params: impl Iterator<Item = &'a Param> + Clone) -> TokenStream {
    let idents = params.clone().map(|param| &param.ident);
    let types = params.map(|Param { ty, .. }| {
        let is_sum = matches!(plain(ty), Type::ImplTrait(TypeImplTrait { bounds, .. }) if bounds.len() > 1);
        let ty = of_companion(ty);
        if is_sum { quote!(&(#ty)) } else { quote!(&#ty) }
    });
    quote!((#(#idents,)*): (#(#types,)*))
}

fn is_shared(plan: &Plan) -> bool {
    !matches!(plan.key.source, KeySource::Exprs(_))
}

/// `self`, if the key reads it.
pub(super) fn this(plan: &Plan) -> Option<&syn::Token![self]> {
    plan.func.receiver.as_ref().filter(|_| plan.key.reads_self).map(|receiver| &receiver.self_token)
}

/// Adds the parts of the key to the borrowed variable. The arguments are at hand, or borrowed too.
fn parts(plan: &Plan, is_borrowed: bool) -> TokenStream {
    let (rt, key, instance) = (rt(plan), variable(), instance(plan, is_borrowed));
    let views = read(plan).filter_map(|param| param.view(is_borrowed));
    let views = quote!(#(#views)*);
    match &plan.key.source {
        KeySource::Args => {
            let args = read(plan).map(|param| arg(plan, param, is_borrowed));
            quote!(#instance #(#args)*)
        }
        KeySource::Exprs(exprs) => {
            let is_generic = plan.func.params.iter().any(Param::has_impl_trait)
                || generic_names(&plan.func).next().is_some();
            let args = exprs.iter().map(|expr| {
                let part = method(if is_generic { "arg" } else { "part" }, is_generic, expr.span());
                quote_spanned!(at(expr.span())=> #key.#part(&(#expr));)
            });
            quote!(#instance #views #(#args)*)
        }
        KeySource::Template(segments) => {
            let parts = segments.iter().map(|segment| match segment {
                Segment::Text(text) => quote!(#key.literal(#text);),
                Segment::Field(path) => field(plan, path),
            });
            quote! {
                let mut #key = #rt::Template::new(#key);
                #instance
                #views
                #(#parts)*
                #key.end();
            }
        }
    }
}

/// Adds an argument, or a field of it. The name is in the template; it means the argument, whatever macro wrote either.
fn field(plan: &Plan, path: &FieldPath) -> TokenStream {
    let (key, span) = (variable(), path.root.span());
    let param = read(plan).find(|param| param.bindings.contains(&path.root));
    let field = method("field", param.is_some_and(|param| is_generic(plan, param)), span);
    let root = param.and_then(|param| match param.view(false) {
        None => Some(&param.ident),
        Some(_) => param.bindings.iter().find(|name| **name == path.root),
    });
    let mut path = path.clone();
    if let Some(root) = root {
        path.root = root.clone();
        path.root.set_span(root.span().located_at(span));
    }
    quote_spanned!(at(span)=> #key.#field(&#path);)
}

fn read(plan: &Plan) -> impl Iterator<Item = &Param> + Clone {
    plan.key.reads.iter().filter_map(|index| plan.func.params.get(*index))
}

/// Adds a whole argument. Its type is spelled, so that the compiler underlines all of it.
fn arg(plan: &Plan, param: &Param, is_borrowed: bool) -> TokenStream {
    let (Param { ident, ty, .. }, key) = (param, variable());
    let arg = method("arg", is_generic(plan, param), ty.span());
    let target = match plain(ty) {
        Type::Reference(reference) => plain(&reference.elem),
        ty => ty,
    };
    let reborrow = is_borrowed.then(|| quote_spanned!(at(ty.span())=> *));
    match target {
        // As a slice, because serde knows arrays of up to 32 elements only.
        Type::Array(_) => quote_spanned!(at(ty.span())=> #key.#arg(&#ident[..]);),
        // This type can't be spelled, so the expression takes its span.
        _ if param.has_impl_trait() => {
            let mut ident = ident.clone();
            ident.set_span(ident.span().located_at(ty.span()));
            quote_spanned!(at(ty.span())=> #key.#arg(&#reborrow #ident);)
        }
        _ => quote!(#key.#arg::<#ty>(&#reborrow #ident);),
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
    let (key, in_memory) = (variable(), matches!(target, Target::Memory { .. }));
    let callee = match (&plan.companions, Names::of(plan)) {
        (Companions::Struct(_), _) if generic_names(func).next().is_none() => None,
        (_, Some(names)) => Some(function_path(plan, &names)),
        (_, None) => Some(quote!(|| {})),
    };
    let callee = callee.map(|callee| quote!(#key.instance(&#callee, #in_memory);));
    let borrow = (!is_borrowed).then(|| quote!(&));
    let opaque = read(plan)
        .filter(|param| param.has_impl_trait())
        .map(|Param { ident, .. }| quote!(#key.type_of(#borrow #ident, #in_memory);));
    quote!(#callee #(#opaque)*)
}
