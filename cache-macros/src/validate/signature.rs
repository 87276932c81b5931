//! Which functions can be cached.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::Type;
use syn::visit::{self, Visit};

use crate::diagnostic::Errors;
use crate::func::{Func, plain};

/// The rules on everything before the return type.
pub(super) fn arguments(func: &Func, errors: &mut Errors) {
    let sig = &func.sig;
    for attr in &func.attrs {
        if attr.path().segments.last().is_some_and(|segment| segment.ident == "cached") {
            errors.on(attr, "this function is cached already: remove one of the two attributes");
        }
        if attr.path().is_ident("target_feature") {
            errors.on(
                attr,
                "`#[target_feature]` would not apply to the generated function: put it on a function that this one calls",
            );
        }
    }
    if let Some(constness) = sig.constness {
        errors.on(constness, "a `const fn` may run in the compiler, where there is no cache: remove `const`");
    }
    if let Some(variadic) = &sig.variadic {
        errors
            .on(variadic, "variadic functions are not supported: cache a Rust function that this one calls");
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

/// Whether the function mentions `Self`, as only functions in an `impl` or a trait can.
pub(super) fn names_self(func: &Func) -> bool {
    mentions_self(func.sig.to_token_stream()) || body_mentions_self(func.body.stream())
}

/// Whether `Self` is among the tokens.
pub(crate) fn mentions_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => mentions_self(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// The same, except in items within the body, which have their own `Self`.
fn body_mentions_self(tokens: TokenStream) -> bool {
    let mut in_item = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) if in_item => {
            in_item = group.delimiter() != Delimiter::Brace;
            false
        }
        TokenTree::Group(group) => body_mentions_self(group.stream()),
        TokenTree::Ident(ident) if ["impl", "trait", "struct", "enum"].iter().any(|item| ident == item) => {
            in_item = true;
            false
        }
        TokenTree::Ident(ident) => !in_item && ident == "Self",
        TokenTree::Punct(punct) => {
            in_item &= punct.as_char() != ';';
            false
        }
        TokenTree::Literal(_) => false,
    })
}

/// The rules on the return type.
pub(super) fn returned(func: &Func, errors: &mut Errors) {
    if let Type::TraitObject(ty) = plain(&func.output) {
        errors.on(ty, "a stored value needs a known size: return an `Arc<dyn … + Send + Sync>` of it");
    }
    if let Type::Never(never) = plain(&func.output) {
        errors.on(never, "a function that never returns has no result to store: remove the attribute");
    }
    Returned { errors }.visit_type(&func.output);
}

/// Finds in a return type what can't outlive the call.
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

    // These have their own lifetimes, as in `fn(&str) -> &str`, `Fn(&str)` and `for<'a> Parse<'a>`.
    fn visit_type_fn_ptr(&mut self, _: &'ast syn::TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast syn::ParenthesizedGenericArguments) {}
    fn visit_trait_bound(&mut self, bound: &'ast syn::TraitBound) {
        if bound.lifetimes.is_none() {
            visit::visit_trait_bound(self, bound);
        }
    }
}
