//! From a [`Plan`] to code: the function, and its companions. Nothing is decided here.
//!
//! What is the same for all functions stands in macros of the runtime (`private/template.rs`). With companions the
//! body is in `uncached`; without, it stays in the function, as a closure. Code takes the span of what it is about,
//! so that the compiler underlines the return type for bounds on values, and an argument's type for bounds on that
//! argument.

mod attrs;
mod background;
mod companions;
mod key;
mod part;
mod site;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{FnArg, GenericParam, Signature, parse_quote};

use self::companions::{Names, awaited, beside, call_uncached};
use crate::func::{Flow, Func, Param};
use crate::validate::{Plan, Target};

/// The generated items.
pub(crate) fn expand(plan: &Plan) -> TokenStream {
    let (function, names) = (function(plan), Names::of(plan));
    let beside = names.map(|names| beside(plan, &names));
    quote!(#function #beside)
}

/// The function as its callers know it.
fn function(plan: &Plan) -> TokenStream {
    let (func, rt, names) = (&plan.func, rt(plan), Names::of(plan));
    let (attrs, vis, sig) =
        (attrs::of_function(func, names.is_some()), &func.vis, signature(func, names.is_some()));
    let (key, typed_view) = (key::of_arguments(plan), typed_view(plan, names.as_ref()));
    let body = names.as_ref().map_or_else(|| body_in_place(func), |names| call_uncached(plan, names));
    // A future that can't hold the arguments is made here, even for a hit; its work still waits for a miss. The cache
    // isn't read before the returned future is awaited, because the entry may be removed until then.
    let (made, body) =
        if func.is_detached { (Some(quote!(let __body = #body;)), quote!(__body)) } else { (None, body) };
    let call = call(plan, names.as_ref(), &body);
    // This comes first, because preparing for a miss costs more than a hit.
    let hit = matches!(plan.target, Target::Memory { .. }).then(|| {
        quote!(if let ::core::option::Option::Some(__hit) = __cached.hit(&__key) {
            return __hit;
        })
    });
    let made = quote!(#key #made);
    let call = quote!(let __cached = #typed_view; #hit __cached.#call);
    let run = match func.flow {
        Flow::Blocking => quote!(#made #call),
        // In a block, so that the future holds the call but not the key.
        Flow::Async => quote!(let __call = { #made #call }; __call.await),
        Flow::Future => quote!(#made async move { let __call = { #call }; __call.await }),
        Flow::BoxedFuture => quote!(#made #rt::Box::pin(async move { let __call = { #call }; __call.await })),
    };
    quote! {
        #(#attrs)*
        #vis #sig {
            #run
        }
    }
}

/// An expression for the runtime's typed view of the function.
fn typed_view(plan: &Plan, names: Option<&Names>) -> TokenStream {
    match names {
        Some(names) => companions::function(plan, names),
        None => {
            let (rt, typed) = (rt(plan), site::typed_view(plan, &site::site(plan)));
            quote!(#rt::function! { #typed })
        }
    }
}

/// The method of the typed view that answers a call, with its arguments.
fn call(plan: &Plan, names: Option<&Names>, body: &TokenStream) -> TokenStream {
    let (func, renews) = (&plan.func, plan.freshness.renews());
    let given = key::given(func);
    let in_background = names.filter(|_| renews).and_then(|names| background::call(plan, names));
    match (in_background, renews, func.is_async()) {
        (Some(in_background), ..) => in_background,
        (None, false, false) => quote!(call(#given, #body)),
        (None, false, true) => quote!(call_async(#given, #body)),
        (None, true, false) => quote!(call_or_renew(#given, #body)),
        (None, true, true) => quote!(call_or_renew_async(#given, #body)),
    }
}

/// The signature with a name for each argument. Where the body is in `uncached`, `self` needs no `mut`.
fn signature(func: &Func, body_is_elsewhere: bool) -> Signature {
    let (mut params, mut sig) = (func.params.iter(), func.sig.clone());
    for input in &mut sig.inputs {
        match input {
            FnArg::Receiver(this) if body_is_elsewhere => {
                this.attrs = attrs::of_argument(&this.attrs);
                this.mutability = None;
            }
            FnArg::Receiver(_) => {}
            FnArg::Typed(typed) => {
                typed.attrs = attrs::of_argument(&typed.attrs);
                if let Some(Param { ident, .. }) = params.next() {
                    *typed.pat = parse_quote!(#ident);
                }
            }
        }
    }
    sig
}

/// The body as something to run: a closure or a future.
fn body_in_place(func: &Func) -> TokenStream {
    let (output, mut body) = (&func.output, func.body.clone());
    // Lints on braces within braces are not about the user's.
    body.set_span(at(body.span()));
    let rebinds = func.params.iter().filter_map(Param::rebind);
    let rebinds = quote!(#(#rebinds)*);
    match func.flow {
        Flow::Blocking => quote!(move || -> #output { #rebinds #body }),
        Flow::Async => quote!(async move {
            // Never taken: it tells the compiler the type, because an async block can't be annotated.
            if let ::core::option::Option::Some(__output) = ::core::option::Option::None::<#output> {
                return __output;
            }
            #rebinds
            #body
        }),
        // The return type is inferred, because a closure can't return `impl Future`.
        Flow::Future => awaited(func, quote!((move || { #rebinds #body })())),
        Flow::BoxedFuture => {
            let returned = &func.sig.output;
            awaited(func, quote!((move || #returned { #rebinds #body })()))
        }
    }
}

/// `::<T, N>`. Lifetimes are inferred.
fn turbofish(func: &Func) -> Option<TokenStream> {
    let names: Vec<&Ident> = generic_names(func).collect();
    (!names.is_empty()).then(|| quote!(::<#(#names),*>))
}

/// Type and const parameters.
fn generic_names(func: &Func) -> impl Iterator<Item = &Ident> {
    func.sig.generics.params.iter().filter_map(|param| match param {
        GenericParam::Type(param) => Some(&param.ident),
        GenericParam::Const(param) => Some(&param.ident),
        GenericParam::Lifetime(_) => None,
    })
}

/// Makes the compiler resolve `tokens` here and underline `source`, all of it.
fn spanned(source: &impl ToTokens, tokens: TokenStream) -> TokenStream {
    let source: Vec<Span> = source.to_token_stream().into_iter().map(|token| token.span()).collect();
    let mut tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let ends = [source.first(), source.last()].map(|span| span.copied().unwrap_or_else(Span::call_site));
    for token in &mut tokens {
        token.set_span(token.span().located_at(ends[0]));
    }
    if let Some(last) = tokens.last_mut() {
        last.set_span(last.span().located_at(ends[1]));
    }
    tokens.into_iter().collect()
}

/// For `quote_spanned!`: a span whose names are resolved here, also where `macro_rules!` made the tokens that `span`
/// is of.
fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// The path to what generated code may name.
fn rt(plan: &Plan) -> TokenStream {
    let krate = &plan.krate;
    quote!(#krate::private)
}
