//! Which functions can be cached.

use proc_macro2::TokenTree;
use quote::ToTokens as _;
use syn::visit::{self, Visit};
use syn::{GenericParam, Ident, Safety};

use crate::diagnostic::Errors;
use crate::func::Func;

/// Rules on everything before the return type.
pub(super) fn arguments(func: &Func, errors: &mut Errors) {
    let sig = &func.sig;
    for attr in &func.attrs {
        if attr.path().segments.last().is_some_and(|segment| segment.ident == "cached") {
            errors.on(attr, "this function is cached already: remove one of the two attributes");
        }
    }
    if let Some(receiver) = &func.receiver {
        let way_out = "move this one to a free function that takes what it needs of `self` as arguments";
        errors.on(receiver, format!("methods come with a later version: {way_out}"));
    } else if let Some(this) = sig.to_token_stream().into_iter().find_map(self_type) {
        errors.on(
            this,
            "associated functions come with a later version: move it out of the `impl`, and name the type",
        );
    }
    if let Some(constness) = sig.constness {
        errors.on(constness, "a `const fn` may run in the compiler, where there is no cache: remove `const`");
    }
    if let Safety::Unsafe(token) = sig.safety {
        errors.on(token, "unsafe functions are not supported yet: cache a safe function that this one calls");
    }
    if let Some(abi) = &sig.abi {
        errors.on(abi, "`extern` functions are not supported: cache a Rust function that this one calls");
    } else if let Some(variadic) = &sig.variadic {
        errors
            .on(variadic, "variadic functions are not supported: cache a Rust function that this one calls");
    }
    for generic in &sig.generics.params {
        if !matches!(generic, GenericParam::Lifetime(_)) {
            let way_out = "cache a function of concrete types, and call it from the generic one";
            errors.on(generic, format!("generic functions are not supported yet: {way_out}"));
        }
    }
    for attr in func.params.iter().flat_map(|param| &param.attrs) {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            errors.on(
                attr,
                "a cached function has the same arguments in every build: put `#[cfg]` on the function",
            );
        }
    }
}

/// `Self`, at any depth.
fn self_type(token: TokenTree) -> Option<Ident> {
    match token {
        TokenTree::Ident(ident) => (ident == "Self").then_some(ident),
        TokenTree::Group(group) => group.stream().into_iter().find_map(self_type),
        TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    }
}

/// Rules on the return type.
pub(super) fn returned(func: &Func, errors: &mut Errors) {
    Returned { errors }.visit_type(&func.output);
}

/// Looks for what can't outlive the call.
struct Returned<'e> {
    errors: &'e mut Errors,
}

impl<'ast> Visit<'ast> for Returned<'_> {
    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        self.errors.on(
            ty,
            "a stored value needs a type with a name: return that type, or a `Vec` or `Arc<dyn …>` of it",
        );
    }

    fn visit_type_reference(&mut self, ty: &'ast syn::TypeReference) {
        if ty.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static") {
            return visit::visit_type_reference(self, ty);
        }
        let way_out = "return an owned value, such as `String` for `&str`, `Vec<T>` for `&[T]`, or an `Arc`";
        self.errors.on(ty, format!("a stored value outlives the call and can't borrow from it: {way_out}"));
    }

    /// The `'a` of `Cow<'a, str>`.
    fn visit_lifetime(&mut self, lifetime: &'ast syn::Lifetime) {
        if lifetime.ident != "static" {
            let way_out = "return an owned value, or write `'static`";
            self.errors.on(
                lifetime,
                format!("a stored value outlives the call and can't borrow from it: {way_out}"),
            );
        }
    }

    // What follows has lifetimes of its own, as in `fn(&str) -> &str`, `Fn(&str)` and `for<'a> Parse<'a>`.
    fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast syn::ParenthesizedGenericArguments) {}
    fn visit_trait_bound(&mut self, bound: &'ast syn::TraitBound) {
        if bound.lifetimes.is_none() {
            visit::visit_trait_bound(self, bound);
        }
    }
}
