//! The call of a function with `stale` or `early`, whose body may run in the background, with arguments of its own.
//!
//! What can't be kept by its looks (a receiver, borrows other than a plain `&T`, generics) leaves the body to the elected
//! caller; what can't by its type is found out by the compiler (`Held`, `Task`).

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::visit::{self, Visit};
use syn::{Lifetime, Safety, Type, TypeImplTrait, TypeReference};

use super::{Home, generic_names, key, rt};
use crate::func::{Flow, Func, Param, plain};
use crate::validate::{Companions, Plan};

/// The call, where arguments can be kept.
pub(super) fn call_behind(plan: &Plan, home: &Home) -> Option<TokenStream> {
    let func = &plan.func;
    if !matches!(plan.companions, Companions::Struct(_)) || !can_keep(func) {
        return None;
    }
    let (rt, scope, uncached) = (rt(plan), &home.scope, home.ident("uncached"));
    let given = key::given(func);
    let idents = || func.params.iter().map(|param| &param.ident);
    let args = idents();
    let args = quote!((#(#args,)*));
    let copies = func.params.iter().map(|Param { ident, ty, .. }| match plain(ty) {
        Type::Reference(reference) if !is_static(reference) => {
            quote!(let #ident = #rt::Held(*#ident).keep()?;)
        }
        _ => quote!(let #ident = #rt::Held(#ident).keep()?;),
    });
    let owned = func.params.iter().map(|Param { ident, ty, .. }| match plain(ty) {
        Type::Reference(reference) if !is_static(reference) => quote!(#ident.lend()),
        _ => quote!(#ident.give()),
    });
    let all = idents();
    let is_unsafe = matches!(func.sig.safety, Safety::Unsafe(_));
    let wrapped = |call: TokenStream| if is_unsafe { quote!(unsafe { #call }) } else { call };
    let (kept, body) =
        (wrapped(quote!(#scope::#uncached(#(#owned),*))), wrapped(quote!(#scope::#uncached(#(#all),*))));
    let never = func.params.iter().map(|_| quote!(#rt::never()));
    let typed = wrapped(quote!(#scope::#uncached(#(#never),*)));
    let (fallbacks, kept, driver) = match func.is_async() {
        false => (
            quote!(use #rt::Unowned as _;),
            quote!(#rt::Some(#rt::Box::new(move || #kept) as #rt::Kept<_>)),
            quote!(call_or_renew_behind),
        ),
        true => (
            quote!(use #rt::{Unowned as _, Unsent as _};),
            quote!(#rt::Task::of(|| #typed).keep(async move { #kept.await })),
            quote!(call_or_renew_behind_async),
        ),
    };
    let keep = quote!(|#args| {
        #[allow(unused_imports)]
        #fallbacks
        #(#copies)*
        #kept
    });
    Some(quote!(#driver(#given, #args, #keep, |#args| #body)))
}

fn can_keep(func: &Func) -> bool {
    let by_its_looks = matches!(func.flow, Flow::Blocking | Flow::Async)
        && func.receiver.is_none()
        && generic_names(func).next().is_none();
    // Whether the future of a recursive function is `Send` would depend on itself.
    let is_recursive = func.is_async() && mentions(func.body.stream(), &func.sig.ident);
    by_its_looks && !is_recursive && func.params.iter().all(|param| is_kept(&param.ty))
}

fn mentions(tokens: TokenStream, name: &syn::Ident) -> bool {
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
    let mut borrows = Borrows(false);
    borrows.visit_type(inner);
    !borrows.0
}

/// Whether it is a value to keep as it is: what is lent to the background doesn't live that long.
fn is_static(reference: &TypeReference) -> bool {
    reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// Whether a type borrows, or has no name.
struct Borrows(bool);

impl<'ast> Visit<'ast> for Borrows {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        match is_static(reference) {
            true => visit::visit_type_reference(self, reference),
            false => self.0 = true,
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        self.0 |= lifetime.ident != "static";
    }

    fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
        self.0 = true;
    }
}
