//! The call of a function with `stale` or `early`, whose body may run in the background with arguments that it owns.
//!
//! Receivers, generics and borrows other than a plain `&T` can't be kept: then the elected caller runs the body. For
//! other arguments the compiler finds out whether they can be copied and sent (`Arg` and `BodyFuture` of the
//! runtime).

use proc_macro2::TokenStream;
use quote::quote;
use syn::visit::{self, Visit};
use syn::{Lifetime, Type, TypeImplTrait, TypeReference};

use super::companions::{Names, unsafety};
use super::{generic_names, key, of_companion, rt};
use crate::func::{Flow, Param, plain};
use crate::validate::{Companions, Plan};

/// The call, if the arguments can be kept.
pub(super) fn call(plan: &Plan, names: &Names) -> Option<TokenStream> {
    let func = &plan.func;
    let (scope, keep, uncached) = (&names.scope, names.hidden("keep"), names.uncached());
    let (given, unsafety) = (key::given(func), unsafety(func));
    let driver =
        if func.is_async() { quote!(call_or_renew_behind_async) } else { quote!(call_or_renew_behind) };
    let idents = func.params.iter().map(|param| &param.ident);
    let idents = quote!(#(#idents),*);
    let arguments = if func.params.is_empty() { quote!(()) } else { quote!((#idents,)) };
    let body = quote!(#uncached(#idents));
    let body = if unsafety.is_some() { quote!(unsafe { #body }) } else { body };
    keeps(plan)
        .then(|| quote!(#driver(#given, #arguments, |#arguments| #scope::#keep(#idents), |#arguments| #body)))
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
    keeps(plan).then(|| {
        quote! {
            fn #keep #generics(#params) -> ::core::option::Option<#rt::#kind<#output>> #bounds {
                #rt::keep!(#flow, unsafety: [#unsafety], uncached: #uncached, args: [#(#kept),*])
            }
        }
    })
}

fn keeps(plan: &Plan) -> bool {
    let func = &plan.func;
    plan.freshness.renews()
        && matches!(plan.companions, Companions::Struct(_))
        && matches!(func.flow, Flow::Blocking | Flow::Async)
        && func.receiver.is_none()
        && generic_names(func).next().is_none()
        && func.params.iter().all(|param| is_kept(&param.ty))
}

/// `T` or `&T`, with nothing borrowed inside.
fn is_kept(ty: &Type) -> bool {
    let inner = match plain(ty) {
        Type::Reference(reference) if reference.mutability.is_some() => return false,
        Type::Reference(reference) => &reference.elem,
        ty => ty,
    };
    !borrows(inner)
}

/// Whether a type shows that it borrows.
pub(super) fn borrows(ty: &Type) -> bool {
    let mut borrows = Borrows(false);
    borrows.visit_type(ty);
    borrows.0
}

/// `&'static T` is kept as a value: what the background lends to the body doesn't live that long.
fn is_static(reference: &TypeReference) -> bool {
    reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// Whether a type borrows, or has no name.
struct Borrows(bool);

impl<'ast> Visit<'ast> for Borrows {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        if is_static(reference) {
            visit::visit_type_reference(self, reference);
        } else {
            self.0 = true;
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        self.0 |= lifetime.ident != "static";
    }

    fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
        self.0 = true;
    }
}
