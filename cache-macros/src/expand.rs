//! The one template: a [`Plan`] -> the function, its companions, and nothing that decides.
//!
//! Where there are companions, `uncached` among them holds the body; else it stays in the function, as a closure. What
//! a piece of code speaks of gives it its span: the return type for bounds on values, an argument for bounds on
//! that argument.

mod attrs;
mod key;
mod outcome;
mod renew;
mod site;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{Attribute, FnArg, GenericParam, Safety, Signature, parse_quote};

use crate::func::{Flow, Func, Param};
use crate::validate::{Companions, Plan, Target};

/// The generated items.
pub(crate) fn expand(plan: &Plan) -> TokenStream {
    let function = function(plan);
    let Some(home) = Home::of(plan) else { return function };
    let uncached = uncached(plan, &home);
    let Companions::Struct(name) = &plan.companions else {
        let companions = companions(plan, &home, &attrs::of_companions(&plan.func));
        return quote!(#function #uncached #companions);
    };
    let (shown, cfgs) = (attrs::of_struct(&plan.func), attrs::of_impls(&plan.func));
    let kinds = outcome::kinds(plan).map(|kinds| quote!(#(#cfgs)* #kinds));
    let (companions, attrs) = (companions(plan, &home, &[]), attrs::of_companions(&plan.func));
    let (vis, about) = (&plan.func.vis, format!("Companions of the cached function {}.", link(plan)));
    quote! {
        #function

        #[doc = #about]
        #[allow(non_camel_case_types)]
        #(#shown)*
        #vis struct #name {}

        #kinds

        #(#cfgs)*
        impl #name {
            #uncached
        }

        #(#attrs)*
        impl #name {
            #companions
        }
    }
}

/// How generated code names the companions: `user::peek`, or `Self::user_peek`.
struct Home {
    scope: TokenStream,
    prefix: Option<Ident>,
}

impl Home {
    fn of(plan: &Plan) -> Option<Self> {
        match &plan.companions {
            Companions::Off => None,
            Companions::Struct(name) => Some(Self { scope: name.to_token_stream(), prefix: None }),
            Companions::Siblings(name) => Some(Self { scope: quote!(Self), prefix: Some(name.clone()) }),
        }
    }

    // Arguments in order, not by name: so a raw prefix loses its `r#`.
    fn ident(&self, name: &str) -> Ident {
        self.prefix
            .as_ref()
            .map_or_else(|| format_ident!("{}", name), |prefix| format_ident!("{}_{}", prefix, name))
    }

    fn hidden(&self, name: &str) -> Ident {
        self.prefix
            .as_ref()
            .map_or_else(|| format_ident!("__{}", name), |prefix| format_ident!("__{}_{}", prefix, name))
    }
}

/// The function as its callers know it.
fn function(plan: &Plan) -> TokenStream {
    let Plan { func, .. } = plan;
    let (key, home) = (key::of_arguments(plan), Home::of(plan));
    let cached = home.as_ref().map_or_else(|| in_place(plan), |home| cached(plan, home));
    let (attrs, vis) = (attrs::of_function(func, home.is_some()), &func.vis);
    let sig = signature(func, home.is_some());
    let body = home.as_ref().map_or_else(|| body_in_place(func), |home| call_uncached(plan, home));
    // A future that may not hold the arguments is made here; what it does still waits for a miss. No hit is looked for
    // before: what is removed until the future is awaited would be served.
    let (made, body) = match func.is_detached {
        true => (Some(quote!(let __body = #body;)), quote!(__body)),
        false => (None, body),
    };
    let renews = plan.freshness.renews();
    let behind = home.as_ref().filter(|_| renews).and_then(|home| renew::call_behind(plan, home));
    let given = key::given(func);
    let call = match (behind, renews, func.is_async()) {
        (Some(behind), ..) => behind,
        (None, false, false) => quote!(call(#given, #body)),
        (None, false, true) => quote!(call_async(#given, #body)),
        (None, true, false) => quote!(call_or_renew(#given, #body)),
        (None, true, true) => quote!(call_or_renew_async(#given, #body)),
    };
    let rt = rt(plan);
    // Taken before anything is made for a miss: that costs more than the hit.
    let hit = matches!(plan.target, Target::Memory { .. }).then(|| {
        quote!(if let #rt::Some(__hit) = __cached.hit(&__key) {
            return __hit;
        })
    });
    let made = quote!(#key #made);
    let call = quote!(let __cached = #cached; #hit __cached.#call);
    let run = match func.flow {
        Flow::Blocking => quote!(#made #call),
        // In a block of its own, so that the future holds what is called, and not the key.
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

/// The typed view of a function without companions.
fn in_place(plan: &Plan) -> TokenStream {
    let (site, function) = (site::site(plan), site::function(plan, &quote!(&__SITE)));
    quote!({ #site #function })
}

/// The signature with a name for each argument. Where the body is elsewhere, `self` needs no `mut`.
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

/// The body as something to run: a closure, or a future.
fn body_in_place(func: &Func) -> TokenStream {
    let (output, mut body) = (&func.output, func.body.clone());
    // Braces within braces, which are none of the user's.
    body.set_span(at(body.span()));
    let rebinds = func.params.iter().filter_map(Param::rebind);
    let rebinds = quote!(#(#rebinds)*);
    let written = match func.flow {
        Flow::BoxedFuture => Some(&func.sig.output),
        // `impl Future` has no place on a closure, which finds it by itself.
        _ => None,
    };
    match func.flow {
        Flow::Blocking => quote!(move || -> #output { #rebinds #body }),
        Flow::Async => quote!(async move {
            // Never taken: it tells the compiler the type, as an async block can't be annotated.
            if let ::core::option::Option::Some(__output) = ::core::option::Option::None::<#output> {
                return __output;
            }
            #rebinds
            #body
        }),
        Flow::Future | Flow::BoxedFuture => awaited(func, quote!((move || #written { #rebinds #body })())),
    }
}

/// `uncached` as something to run.
fn call_uncached(plan: &Plan, home: &Home) -> TokenStream {
    let Plan { func, .. } = plan;
    let (scope, uncached, types) = (&home.scope, home.ident("uncached"), turbofish(func));
    let receiver = func.receiver.iter().map(|receiver| receiver.self_token.to_token_stream());
    let inputs = receiver.chain(func.params.iter().map(|param| param.ident.to_token_stream()));
    let call = quote!(#scope::#uncached #types(#(#inputs),*));
    let call = if matches!(func.sig.safety, Safety::Unsafe(_)) { quote!(unsafe { #call }) } else { call };
    match func.is_async() {
        true => awaited(func, call),
        false => quote!(move || #call),
    }
}

/// A call that makes a future, not made before the future is awaited, unless it has to be.
fn awaited(func: &Func, call: TokenStream) -> TokenStream {
    if func.is_detached { call } else { quote!(async move { #call.await }) }
}

/// The function as it was written, under another name.
fn uncached(plan: &Plan, home: &Home) -> TokenStream {
    let Plan { func, .. } = plan;
    let (vis, body, attrs) = (&func.vis, &func.body, attrs::of_uncached(func));
    let ident = Ident::new(&home.ident("uncached").to_string(), func.sig.ident.span());
    let sig = Signature { ident, ..func.sig.clone() };
    quote! {
        /// Runs the body; the cache is neither read nor written.
        #(#attrs)*
        #vis #sig #body
    }
}

/// What all companions go by: the typed view of the function, which holds the site unless it is one of many that share
/// it; and the key.
fn hidden(plan: &Plan, home: &Home) -> Vec<TokenStream> {
    let Plan { func, .. } = plan;
    let (rt, mut generics, bounds) = (rt(plan), func.sig.generics.clone(), &func.sig.generics.where_clause);
    generics.params.insert(0, parse_quote!('__v));
    let (cached, ty, site) = (home.hidden("cached"), site::function_type(plan), site::site(plan));
    let key = key::function(plan, home);
    if generic_names(func).next().is_none() {
        let function = site::function(plan, &quote!(&__SITE));
        let cached = quote!(fn #cached #generics() -> #ty #bounds { #site #function });
        return [Some(cached), key].into_iter().flatten().collect();
    }
    let (scope, shared) = (&home.scope, home.hidden("site"));
    let function = site::function(plan, &quote!(#scope::#shared()));
    let shared = quote!(fn #shared() -> &'static #rt::Site { #site &__SITE });
    let cached = quote!(fn #cached #generics() -> #ty #bounds { #function });
    [Some(shared), Some(cached), key].into_iter().flatten().collect()
}

/// What knows the entries of all instantiations.
fn all(plan: &Plan, home: &Home) -> TokenStream {
    if generic_names(&plan.func).next().is_none() {
        return cached(plan, home);
    }
    let (scope, site) = (&home.scope, home.hidden("site"));
    quote!(#scope::#site())
}

/// The typed view of the function.
fn cached(plan: &Plan, home: &Home) -> TokenStream {
    let path = cached_path(plan, home);
    quote!(#path())
}

fn cached_path(plan: &Plan, home: &Home) -> TokenStream {
    let (scope, cached, types) = (&home.scope, home.hidden("cached"), turbofish(&plan.func));
    quote!(#scope::#cached #types)
}

/// The companions, save `uncached`.
fn companions(plan: &Plan, home: &Home, attrs: &[Attribute]) -> TokenStream {
    let Plan { func, krate, .. } = plan;
    let (rt, key, given, stored) =
        (rt(plan), key::of_arguments(plan), key::given(func), outcome::stored(plan));
    let (cached, all_of_it) = (cached(plan, home), all(plan, home));
    let (generics, bounds, body) =
        (&func.sig.generics, &func.sig.generics.where_clause, call_uncached(plan, home));
    let read = || plan.key.reads.iter().filter_map(|index| func.params.get(*index));
    let this = func.receiver.as_ref().filter(|_| plan.key.reads_self).map(|receiver| {
        let this = receiver.self_token;
        quote!(&#this,)
    });
    let reads = params(read());
    let (reads, all) = (quote!(#this #reads), &signature(func, true).inputs);
    let (output, value) = (&func.output, free_name("value", read()));
    let (asyncness, wait, suffix) = if func.is_async() {
        (Some(quote!(async)), Some(quote!(.await)), "_async")
    } else {
        (None, None, "")
    };
    let unsafety = matches!(func.sig.safety, Safety::Unsafe(_)).then(|| quote!(unsafe));
    let driver = |name: &str| format_ident!("{name}{suffix}");
    let (peek, insert, invalidate) = (driver("peek"), driver("insert"), driver("invalidate"));
    let (refresh, clear) = (driver("refresh"), driver("clear"));
    let link = link(plan);
    let fns = [
        (
            "peek",
            format!("What the cache holds for a call of {link}; never runs the body.{FAILS}"),
            quote!(#asyncness),
            quote!(#generics(#reads) -> #rt::Result<#rt::Option<#stored>, #krate::Error> #bounds {
                #key
                #cached.#peek(__key)#wait
            }),
        ),
        (
            "insert",
            format!("Stores the result of a call of {link} without running the body.{FAILS}"),
            quote!(#asyncness),
            quote!(#generics(#reads #value: #stored) -> #rt::Result<(), #krate::Error> #bounds {
                #key
                #cached.#insert(__key, #value)#wait
            }),
        ),
        (
            "invalidate",
            format!("Removes the entry of a call, so that the next {link} runs the body.{FAILS}"),
            quote!(#asyncness),
            quote!(#generics(#reads) -> #rt::Result<(), #krate::Error> #bounds {
                #key
                #cached.#invalidate(__key)#wait
            }),
        ),
        (
            "refresh",
            format!("Runs the body of {link} now and stores its result."),
            quote!(#asyncness #unsafety),
            quote!(#generics(#all) -> #output #bounds {
                #key
                #cached.#refresh(#given, #body)#wait
            }),
        ),
        (
            "clear",
            format!(
                "Ends the life of every entry of {link}: at once in this process, within a second in others.{FAILS}"
            ),
            quote!(#asyncness),
            quote!(() -> #rt::Result<(), #krate::Error> {
                #all_of_it.#clear()#wait
            }),
        ),
        (
            "stats",
            format!("What {link} has done in this process."),
            quote!(),
            quote!(() -> #krate::Stats {
                #all_of_it.stats()
            }),
        ),
        (
            "key",
            format!("The text key of a call of {link} on Redis and Memcached."),
            quote!(),
            quote!(#generics(#reads) -> #rt::String #bounds {
                #key
                #cached.key(__key)
            }),
        ),
    ];
    let vis = &func.vis;
    let hidden = hidden(plan, home).into_iter().map(|item| quote!(#[doc(hidden)] #[inline] #(#attrs)* #item));
    let fns = fns.into_iter().map(|(name, about, qualifiers, rest)| {
        let ident = home.ident(name);
        quote! {
            #[doc = #about]
            #[inline]
            #(#attrs)*
            #vis #qualifiers fn #ident #rest
        }
    });
    quote!(#(#hidden)* #(#fns)*)
}

const FAILS: &str =
    "\n\n# Errors\nThe arguments can't be a key, the value can't be stored, or the backend failed.";

/// `ident: Type, …`
fn params<'a>(params: impl Iterator<Item = &'a Param>) -> TokenStream {
    let params = params.map(|Param { attrs, ident, ty, .. }| {
        let attrs = attrs::of_argument(attrs);
        quote!(#(#attrs)* #ident: #ty)
    });
    quote!(#(#params,)*)
}

/// `name`, or with underscores behind it where an argument is called so.
fn free_name<'a>(name: &str, params: impl Iterator<Item = &'a Param> + Clone) -> Ident {
    match params.clone().any(|param| param.ident == name) {
        true => free_name(&format!("{name}_"), params),
        false => Ident::new(name, Span::mixed_site()),
    }
}

/// `::<T, N>`, without lifetimes, which are inferred.
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

/// Tokens that are resolved here and reported at `span`.
fn spanned(span: Span, tokens: TokenStream) -> TokenStream {
    let at = |mut token: TokenTree| {
        token.set_span(token.span().located_at(span));
        token
    };
    tokens.into_iter().map(at).collect()
}

/// For `quote_spanned!`: names are resolved here, also where `macro_rules!` made what `span` is of.
fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

fn option<T: ToTokens>(rt: &TokenStream, value: Option<&T>) -> TokenStream {
    value.map_or_else(|| quote!(#rt::None), |value| quote!(#rt::Some(#value)))
}

fn rt(plan: &Plan) -> TokenStream {
    let krate = &plan.krate;
    quote!(#krate::private)
}

fn link(plan: &Plan) -> String {
    match (&plan.companions, &plan.func.sig.ident) {
        (Companions::Struct(_), ident) => format!("[`{ident}`](fn@{ident})"),
        (_, ident) => format!("[`{ident}`](Self::{ident})"),
    }
}
