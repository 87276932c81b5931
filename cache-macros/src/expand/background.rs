//! The call of a function with `stale` or `early`, whose body may run in the background with arguments that it owns.
//!
//! Receivers, generics and borrows other than a plain `&T` can't be kept: then the elected caller runs the body. For
//! other arguments the compiler finds out whether they can be copied and sent (`Arg` and `BodyFuture` of the
//! runtime).

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::visit::{self, Visit};
use syn::{Lifetime, Type, TypeImplTrait, TypeReference};

use super::companions::{Names, unsafety};
use super::{generic_names, key, rt};
use crate::func::{Flow, Func, Param, plain};
use crate::validate::{Companions, Plan};

/// The call, if the arguments can be kept.
pub(super) fn call(plan: &Plan, names: &Names) -> Option<TokenStream> {
    let func = &plan.func;
    if !matches!(plan.companions, Companions::Struct(_)) || !can_keep(func) {
        return None;
    }
    let (rt, uncached) = (rt(plan), names.uncached());
    let (given, unsafety) = (key::given(func), unsafety(func));
    let idents = func.params.iter().map(|param| &param.ident);
    let kept = func.params.iter().map(|Param { ident, ty, .. }| match plain(ty) {
        Type::Reference(reference) if !is_static(reference) => quote!(#ident: reference),
        _ => quote!(#ident: value),
    });
    let (driver, flow) = if func.is_async() {
        (quote!(call_or_renew_behind_async), quote!(async))
    } else {
        (quote!(call_or_renew_behind), quote!(blocking))
    };
    let arguments = quote!((#(#idents,)*));
    let keep = quote!(#rt::keep!(#flow, unsafety: [#unsafety], uncached: #uncached, args: [#(#kept),*]));
    let idents = func.params.iter().map(|param| &param.ident);
    let body = quote!(#uncached(#(#idents),*));
    let body = if unsafety.is_some() { quote!(unsafe { #body }) } else { body };
    Some(quote!(#driver(#given, #arguments, #keep, |#arguments| #body)))
}

fn can_keep(func: &Func) -> bool {
    let looks_fine = matches!(func.flow, Flow::Blocking | Flow::Async)
        && func.receiver.is_none()
        && generic_names(func).next().is_none();
    // Whether the future of a recursive function is `Send` would depend on itself.
    let is_recursive = func.is_async() && mentions(func.body.stream(), &func.sig.ident);
    looks_fine && !is_recursive && func.params.iter().all(|param| is_kept(&param.ty))
}

/// Whether `name` is among the tokens.
pub(super) fn mentions(tokens: TokenStream, name: &syn::Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
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
