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

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{FnArg, GenericParam, Receiver, ReceiverKind, ReturnType, Signature, Type, parse_quote};

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
    let (attrs, vis, sig) = (attrs::of_function(func), &func.vis, signature(func, names.is_some()));
    let (key, typed_view) = (key::of_arguments(plan), typed_view(plan, names.as_ref()));
    let (cached, future, made_body) = (local("__cached"), local("__call"), local("__body"));
    let body = names.as_ref().map_or_else(|| body_in_place(func), |names| call_uncached(plan, names));
    // A future that can't hold the arguments is made here, even for a hit; its work still waits for a miss. The cache
    // isn't read before the returned future is awaited, because the entry may be removed until then.
    let (made, body) = if func.is_detached {
        (Some(quote!(let #made_body = #body;)), quote!(#made_body))
    } else {
        (None, body)
    };
    let call = call(plan, names.as_ref(), &body);
    // This comes first, because preparing for a miss costs more than a hit.
    let hit = matches!(plan.target, Target::Memory { .. }).then(|| {
        let (hit, key) = (local("__hit"), key::variable());
        quote!(if let ::core::option::Option::Some(#hit) = #cached.hit(&#key) {
            return #hit;
        })
    });
    let made = quote!(#key #made);
    let call = quote!(let #cached = #typed_view; #hit #cached.#call);
    // A call also tells where its value comes from.
    let run = match func.flow {
        Flow::Blocking => quote!(#made #call.0),
        // In a block, so that the future holds the call but not the key.
        Flow::Async => quote!(let #future = { #made #call }; #future.await.0),
        Flow::Future => quote!(#made async move { let #future = { #call }; #future.await.0 }),
        Flow::BoxedFuture => {
            quote!(#made #rt::Box::pin(async move { let #future = { #call }; #future.await.0 }))
        }
    };
    // Between the user's braces: the compiler takes the span of an item from its ends, and lints only what is the user's.
    let mut block = Group::new(Delimiter::Brace, run);
    block.set_span(func.body.span());
    quote! {
        #(#attrs)*
        #vis #sig #block
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
    let in_background = names.and_then(|names| background::call(plan, names));
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
        Flow::Async => {
            let typed = local("__output");
            quote!(async move {
                // Never taken: it tells the compiler the type, because an async block can't be annotated.
                if let ::core::option::Option::Some(#typed) = ::core::option::Option::None::<#output> {
                    return #typed;
                }
                #rebinds
                #body
            })
        }
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

/// A token with a span of this macro, at the same place: the compiler's lints skip an item that starts with one.
fn foreign(mut token: TokenTree) -> TokenTree {
    token.set_span(at(token.span()));
    token
}

/// A part of a signature, for a companion. Its lifetimes get spans of this macro, because a companion that takes fewer
/// arguments may not use them all. Everything else keeps its span, so that an error in it is shown once.
fn of_companion(tokens: &impl ToTokens) -> TokenStream {
    let mut is_lifetime = false;
    let change = |token: TokenTree| {
        let was_quote = is_lifetime;
        is_lifetime = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
        match token {
            TokenTree::Group(group) => {
                let mut changed = Group::new(group.delimiter(), of_companion(&group.stream()));
                changed.set_span(group.span());
                changed.into()
            }
            token if was_quote || is_lifetime => foreign(token),
            token => token,
        }
    };
    tokens.to_token_stream().into_iter().map(change).collect()
}

/// The signature of a companion that takes what the function takes.
fn signature_of_companion(func: &Func) -> Signature {
    let mut sig = signature(func, true);
    let change = |ty: &mut Type| *ty = Type::Verbatim(of_companion(ty));
    for input in &mut sig.inputs {
        match input {
            FnArg::Typed(typed) => change(&mut typed.ty),
            FnArg::Receiver(Receiver { kind: ReceiverKind::Typed(_, ty), .. }) => change(ty),
            FnArg::Receiver(Receiver { kind: ReceiverKind::Reference(_, Some(lifetime), _), .. }) => {
                lifetime.set_span(at(lifetime.span()));
            }
            FnArg::Receiver(_) => {}
        }
    }
    if let ReturnType::Type(_, ty) = &mut sig.output {
        change(ty);
    }
    sig
}

/// The name of a variable of generated code, which no name in the user's code can mean.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
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
