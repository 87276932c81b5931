//! Everything beside the function: its companions, and the hidden functions that they share.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{Attribute, Safety, Signature, Type, TypeReference};

use super::{
    attrs, background, foreign, generic_names, key, of_companion, part, rt, signature_of_companion, site,
    turbofish,
};
use crate::func::{Flow, Func, Param, plain};
use crate::validate::{Companions, Plan};

/// How generated code names the companions: `user::peek`, or `Self::user_peek`.
pub(super) struct Names {
    pub(super) scope: TokenStream,
    prefix: Option<Ident>,
}

impl Names {
    /// Nothing if there are no companions.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        match &plan.companions {
            Companions::Off => None,
            Companions::Struct(name) => Some(Self { scope: name.to_token_stream(), prefix: None }),
            Companions::Siblings(name) => Some(Self { scope: quote!(Self), prefix: Some(name.clone()) }),
        }
    }

    /// The name of a companion. `format_ident!` drops the `r#` of a raw prefix.
    pub(super) fn ident(&self, name: &str) -> Ident {
        match &self.prefix {
            Some(prefix) => format_ident!("{}_{}", prefix, name),
            None => format_ident!("{}", name),
        }
    }

    pub(super) fn hidden(&self, name: &str) -> Ident {
        match &self.prefix {
            Some(prefix) => format_ident!("__{}_{}", prefix, name, span = Span::call_site()),
            None => format_ident!("__{}", name),
        }
    }

    /// The function that has the body: `uncached`, or among siblings a hidden one, which `uncached` calls. Unused code is
    /// reported together with the siblings, see `attrs::of_siblings`, and no attribute of ours may be around a body.
    fn body(&self) -> Ident {
        let mut body = if self.prefix.is_some() { self.hidden("uncached") } else { self.ident("uncached") };
        // All uses have one span, so that an error in each is shown once.
        body.set_span(Span::call_site());
        body
    }

    /// The path of the function that has the body.
    pub(super) fn uncached(&self) -> TokenStream {
        let (scope, body) = (&self.scope, self.body());
        quote!(#scope::#body)
    }
}

/// Everything beside the function.
pub(super) fn beside(plan: &Plan, names: &Names) -> TokenStream {
    let (func, rt, body) = (&plan.func, rt(plan), body(plan, names));
    let Companions::Struct(name) = &plan.companions else {
        let attrs = attrs::of_siblings(func);
        let (guard, uncached, companions) =
            (trait_impl_guard(names), uncached(plan, names, &attrs), companions(plan, names, &attrs));
        return quote!(#guard #[doc(hidden)] #body #uncached #companions);
    };
    let cfgs = attrs::of_impls(func);
    let returns = part::returns(plan).map(|returns| quote!(#(#cfgs)* #returns));
    let (companions, attrs) = (companions(plan, names, &[]), attrs::of_companions(func));
    let (vis, about) = (visibility(plan), format!(" Companions of the cached function {}.", link(plan)));
    let name = foreign(name.clone().into());
    quote! {
        // In an `impl`, the compiler's error shows the name of this macro.
        #rt::in_an_impl_write_companions_Self! {
            #[doc = #about]
            // Otherwise a link to the function in its documentation could mean the struct too.
            #[doc(hidden)]
            #(#cfgs)*
            #vis struct #name {}

            #returns

            #(#cfgs)*
            impl #name {
                #[doc = #ABOUT_UNCACHED]
                #body
            }

            #(#attrs)*
            impl #name {
                #companions
            }
        }
    }
}

/// A constant before the siblings of a method. A macro can't tell an `impl` of a trait from any other, but there the
/// compiler rejects this constant first, and its name says what to write.
fn trait_impl_guard(names: &Names) -> TokenStream {
    let guard = names.hidden("in_a_trait_impl_needs__companions_false");
    quote! {
        #[doc(hidden)]
        const #guard: () = ();
    }
}

const ABOUT_UNCACHED: &str = " Runs the body; the cache is neither read nor written.";

/// The function as it was written, under another name. Lints on arguments and on the body fire here, and lints on the
/// item don't, because it starts with a span of this macro.
fn body(plan: &Plan, names: &Names) -> TokenStream {
    let func = &plan.func;
    let (vis, body, attrs) = (visibility(plan), &func.body, attrs::of_uncached(func));
    let sig = Signature { ident: names.body(), ..func.sig.clone() };
    let (mut is_head, name) = (true, sig.ident.clone());
    let sig = sig.into_token_stream().into_iter().map(|token| {
        let is_of_head = is_head;
        is_head &= !matches!(&token, TokenTree::Ident(ident) if *ident == name);
        if is_of_head { foreign(token) } else { token }
    });
    let sig: TokenStream = sig.collect();
    quote!(#(#attrs)* #vis #sig #body)
}

/// The visibility of a companion.
fn visibility(plan: &Plan) -> TokenStream {
    let vis = plan.companions_vis.as_ref().unwrap_or(&plan.func.vis);
    vis.to_token_stream().into_iter().map(foreign).collect()
}

/// `uncached` of a method.
fn uncached(plan: &Plan, names: &Names, attrs: &[Attribute]) -> TokenStream {
    let (func, ident) = (&plan.func, names.ident("uncached"));
    let (vis, sig) = (visibility(plan), Signature { ident, ..signature_of_companion(func) });
    let (call, awaited) = (call_body(plan, names), (func.flow == Flow::Async).then(|| quote!(.await)));
    quote! {
        #[doc = #ABOUT_UNCACHED]
        #[inline]
        #(#attrs)*
        #vis #sig { #call #awaited }
    }
}

/// The companions except `uncached`, and the hidden functions that they call.
fn companions(plan: &Plan, names: &Names, attrs: &[Attribute]) -> TokenStream {
    let (rt, func) = (rt(plan), &plan.func);
    let flow = if func.is_async() { quote!(async) } else { quote!(blocking) };
    let all = ["lookup", "peek", "insert", "invalidate", "refresh", "clear", "stats", "key"]
        .map(|name| names.ident(name));
    let (hidden, function) = (names.hidden("cached"), function(plan, names));
    let (link, vis, unsafety) = (link(plan), visibility(plan), unsafety(func));
    let (generics, bounds) =
        (of_companion(&func.sig.generics.params), of_companion(&func.sig.generics.where_clause));
    let read = || plan.key.reads.iter().filter_map(|index| func.params.get(*index));
    let this = key::this(plan).map(|this| quote!(&#this,));
    let (params, key_params, inserted) =
        (&signature_of_companion(func).inputs, declared(plan, read()), free_name("value", read()));
    let (key, body, stored) = (key::of_arguments(plan), call_uncached(plan, names), part::stored(plan));
    // An expression of one span with the function's own call, so that an error in both is shown once.
    let (call, awaited) = (super::call(plan, Some(names), &body), func.is_async().then(|| quote!(.await)));
    let (key_fn, site_fn) = (key::function(plan, names), shared_site(plan, names));
    let hidden_fns = [site_fn, key_fn, background::function(plan, names)].into_iter().flatten();
    let hidden_fns = hidden_fns.map(|item| quote!(#[doc(hidden)] #[inline] #(#attrs)* #item));
    let (site, entries) = match shared_site_path(plan, names) {
        Some(shared) => (shared.clone(), shared),
        None => (site::site(plan), function.clone()),
    };
    let (variable, typed) = (key::variable(), site::typed_view(plan, &site));
    quote! {
        #(#hidden_fns)*
        #rt::companions! {
            #flow,
            names: [#hidden #(#all)*],
            link: #link,
            attrs: [#(#attrs)*],
            vis: [#vis],
            unsafety: [#unsafety],
            generics: [#generics],
            bounds: [#bounds],
            params: [#params],
            key_params: [#this #key_params],
            inserted: #inserted,
            key: #variable { #key },
            body: #body,
            call: #function.#call #awaited,
            function: #function,
            entries: #entries,
            stored: #stored,
            #typed
        }
    }
}

/// A call of the hidden function that returns the typed view.
pub(super) fn function(plan: &Plan, names: &Names) -> TokenStream {
    let path = function_path(plan, names);
    quote!(#path())
}

pub(super) fn function_path(plan: &Plan, names: &Names) -> TokenStream {
    let (scope, cached, types) = (&names.scope, names.hidden("cached"), turbofish(&plan.func));
    quote!(#scope::#cached #types)
}

/// A hidden function that isn't generic, for `clear` and `stats`: they are about all instantiations of a generic
/// function.
fn shared_site(plan: &Plan, names: &Names) -> Option<TokenStream> {
    let (rt, ident, site) = (rt(plan), names.hidden("site"), site::site(plan));
    generic_names(&plan.func).next().map(|_| quote!(fn #ident() -> &'static #rt::Site { #site }))
}

fn shared_site_path(plan: &Plan, names: &Names) -> Option<TokenStream> {
    let (scope, ident) = (&names.scope, names.hidden("site"));
    generic_names(&plan.func).next().map(|_| quote!(#scope::#ident()))
}

/// A call of the body as something to run: a closure or a future.
pub(super) fn call_uncached(plan: &Plan, names: &Names) -> TokenStream {
    let (func, call) = (&plan.func, call_body(plan, names));
    if func.is_async() { awaited(func, call) } else { quote!(move || #call) }
}

fn call_body(plan: &Plan, names: &Names) -> TokenStream {
    let func = &plan.func;
    let (uncached, types) = (names.uncached(), turbofish(func));
    let receiver = func.receiver.iter().map(|receiver| receiver.self_token.to_token_stream());
    let inputs = receiver.chain(func.params.iter().map(|param| param.ident.to_token_stream()));
    let call = quote!(#uncached #types(#(#inputs),*));
    if unsafety(func).is_some() { quote!(unsafe { #call }) } else { call }
}

/// Wraps a call that returns a future. The call is made when the future is awaited, unless the future can't hold the
/// arguments.
pub(super) fn awaited(func: &Func, call: TokenStream) -> TokenStream {
    if func.is_detached { call } else { quote!(async move { #call.await }) }
}

/// `unsafe`, if the function is.
pub(super) fn unsafety(func: &Func) -> Option<TokenStream> {
    matches!(func.sig.safety, Safety::Unsafe(_)).then(|| quote!(unsafe))
}

/// `ident: Type, …`. A `&mut T` goes by another name: a lint would propose a `&mut [T]` that suffices for the key.
fn declared<'a>(plan: &Plan, params: impl Iterator<Item = &'a Param>) -> TokenStream {
    let rt = rt(plan);
    let params = params.map(|Param { attrs, ident, ty, .. }| {
        let (attrs, whole) = (attrs::of_argument(attrs), of_companion(ty));
        match plain(ty) {
            Type::Reference(TypeReference { mutability: Some(_), lifetime, elem, .. }) => {
                let lifetime = lifetime.as_ref().map(of_companion).unwrap_or_else(|| quote!('_));
                let elem = of_companion(elem);
                quote!(#(#attrs)* #ident: #rt::Mut<#lifetime, #elem>)
            }
            _ => quote!(#(#attrs)* #ident: #whole),
        }
    });
    quote!(#(#params,)*)
}

/// `name`, with underscores added while an argument has that name.
fn free_name<'a>(name: &str, params: impl Iterator<Item = &'a Param> + Clone) -> Ident {
    if params.clone().any(|param| param.ident == name) {
        free_name(&format!("{name}_"), params)
    } else {
        Ident::new(name, Span::mixed_site())
    }
}

/// A link to the function, for documentation.
fn link(plan: &Plan) -> String {
    match (&plan.companions, &plan.func.sig.ident) {
        (Companions::Struct(_), ident) => format!("[`{ident}`](fn@{ident})"),
        (_, ident) => format!("[`{ident}`](Self::{ident})"),
    }
}
