//! The call of a function with `stale`, `early` or `detach`, whose body may run in the background with arguments that it
//! owns. The compiler finds out whether they can be copied and sent (`Arg` and `BodyFuture` of the runtime).

use proc_macro2::TokenStream;
use quote::quote;
use syn::Type;

use super::companions::{Names, unsafety};
use super::{key, of_companion, rt};
use crate::func::{Param, plain};
use crate::validate::Plan;
use crate::validate::background::is_static;

/// The call, if the arguments can be kept.
pub(super) fn call(plan: &Plan, names: &Names) -> Option<TokenStream> {
    let func = &plan.func;
    let (scope, keep, uncached) = (&names.scope, names.hidden("keep"), names.uncached());
    let (given, unsafety) = (key::given(func), unsafety(func));
    let driver = match (func.is_async(), &plan.detach) {
        (_, Some(_)) => quote!(call_detached_async),
        (true, None) => quote!(call_or_renew_behind_async),
        (false, None) => quote!(call_or_renew_behind),
    };
    let idents = func.params.iter().map(|param| &param.ident);
    let idents = quote!(#(#idents),*);
    let arguments = if func.params.is_empty() { quote!(()) } else { quote!((#idents,)) };
    let body = quote!(#uncached(#idents));
    let body = if unsafety.is_some() { quote!(unsafe { #body }) } else { body };
    plan.keeps_arguments.then(
        || quote!(#driver(#given, #arguments, |#arguments| #scope::#keep(#arguments), |#arguments| #body)),
    )
}

/// The hidden function that keeps the arguments for the background. It is apart from the function, because it asks
/// whether the body's future is `Send`: in an async function that calls itself, also through others, the answer would
/// depend on itself.
pub(super) fn function(plan: &Plan, names: &Names) -> Option<TokenStream> {
    let func = &plan.func;
    let (rt, output, keep, uncached) = (rt(plan), &func.output, names.hidden("keep"), names.uncached());
    let (generics, bounds) =
        (of_companion(&func.sig.generics), of_companion(&func.sig.generics.where_clause));
    let (kind, flow) = if func.is_async() {
        (quote!(BackgroundFuture), quote!(async))
    } else {
        (quote!(BackgroundBody), quote!(blocking))
    };
    let (params, unsafety) = (key::borrowed(func.params.iter()), unsafety(func));
    let kept = func.params.iter().map(|Param { ident, ty, .. }| match plain(ty) {
        Type::Reference(reference) if !is_static(reference) => quote!(#ident: reference),
        _ => quote!(#ident: value),
    });
    plan.keeps_arguments.then(|| {
        quote! {
            fn #keep #generics(#params) -> ::core::option::Option<#rt::#kind<#output>> #bounds {
                #rt::keep!(#flow, unsafety: [#unsafety], uncached: #uncached, args: [#(#kept),*])
            }
        }
    })
}
