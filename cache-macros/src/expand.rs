//! The one template: a [`Plan`] -> the function, its companions, and nothing that decides.
//!
//! Named companions hold the body as `uncached`; without them it stays in the function, as a closure or
//! an async block. What a piece of code speaks of gives it its span: the return type for bounds on
//! values, an argument for bounds on that argument.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Attribute, GenericArgument, PathArguments, Signature, Type};

use crate::func::Param;
use crate::key::Segment;
use crate::validate::{Companions, KeySource, Plan, Target};
use crate::value::{Codec, Lifetime, Period};

/// The generated items.
pub(crate) fn expand(plan: &Plan) -> TokenStream {
    let Plan { func, .. } = plan;
    let wrapper = wrapper(plan);
    let Companions::Named(name) = &plan.companions else { return wrapper };
    let (cfgs, vis, sig, body) = (attrs(&func.attrs, is_cfg), &func.vis, &func.sig, &func.body);
    let lints = attrs(&func.attrs, is_lint);
    let uncached = Signature { ident: Ident::new("uncached", sig.ident.span()), ..sig.clone() };
    let (function_type, function, companions) = (function_type(plan), function(plan), companions(plan));
    let about = format!("Companions of the cached function [`{0}`](fn@{0}).", sig.ident);
    quote! {
        #wrapper

        #[doc = #about]
        #[allow(non_camel_case_types)]
        #(#cfgs)*
        #vis struct #name {}

        #(#cfgs)*
        impl #name {
            /// Runs the body; the cache is neither read nor written.
            #[allow(dead_code)]
            #(#lints)*
            #vis #uncached #body
        }

        #[allow(dead_code, clippy::all)]
        #(#cfgs)*
        impl #name {
            #[inline]
            fn __cached() -> #function_type {
                #function
            }

            #companions
        }
    }
}

/// The function as its callers know it.
fn wrapper(plan: &Plan) -> TokenStream {
    let Plan { func, .. } = plan;
    let is_async = func.sig.asyncness.is_some();
    let (key, inputs) = (key(plan), params(&func.params));
    let (function, body) = match &plan.companions {
        Companions::Named(name) => {
            let idents = func.params.iter().map(|param| &param.ident);
            (quote!(#name::__cached()), quote!({ #name::uncached(#(#idents),*) }))
        }
        Companions::Off => (function(plan), body_in_place(plan)),
    };
    let run = match (is_async, &plan.companions) {
        (false, _) => quote!(#function.call(__key, move || #body)),
        (true, Companions::Named(_)) => quote!(#function.call_async(__key, async move { #body.await }).await),
        (true, Companions::Off) => quote!(#function.call_async(__key, async move #body).await),
    };
    let (attrs, vis) = (attrs(&func.attrs, |attr| !attr.path().is_ident("expect")), &func.vis);
    let (asyncness, ident, generics) = (&func.sig.asyncness, &func.sig.ident, &func.sig.generics);
    let (output, bounds) = (&func.sig.output, &generics.where_clause);
    quote! {
        #(#attrs)*
        #vis #asyncness fn #ident #generics(#inputs) #output #bounds {
            let __key = #key;
            #run
        }
    }
}

/// The body as a block that evaluates to the return type, also where it returns early.
fn body_in_place(plan: &Plan) -> TokenStream {
    let (output, body) = (&plan.func.output, &plan.func.body);
    let rebinds = plan.func.params.iter().filter_map(Param::rebind);
    match plan.func.sig.asyncness {
        None => quote!(-> #output { #(#rebinds)* #body }),
        // Never taken: it tells the compiler the type, as an async block can't be annotated.
        Some(_) => {
            let rt = rt(plan);
            quote!({
                if let #rt::Some(__output) = #rt::None::<#output> {
                    return __output;
                }
                #(#rebinds)*
                #body
            })
        }
    }
}

/// The methods of the struct beside the function, save `uncached`.
fn companions(plan: &Plan) -> TokenStream {
    let Plan { func, krate, .. } = plan;
    let (vis, asyncness, generics) = (&func.vis, &func.sig.asyncness, &func.sig.generics);
    let (bounds, output) = (&generics.where_clause, &func.sig.output);
    let (rt, key, stored) = (rt(plan), key(plan), stored(plan));
    let all = params(&func.params);
    let idents = func.params.iter().map(|param| &param.ident);
    let read = || plan.key.reads.iter().filter_map(|index| func.params.get(*index));
    let reads = params(read());
    let value = free_name("value", read());
    let (maybe_await, suffix) =
        if asyncness.is_some() { (Some(quote!(.await)), "_async") } else { (None, "") };
    let driver = |name: &str| format_ident!("{name}{suffix}");
    let (peek, insert, invalidate) = (driver("peek"), driver("insert"), driver("invalidate"));
    let (refresh, clear) = (driver("refresh"), driver("clear"));
    let body = match asyncness {
        Some(_) => quote!(Self::uncached(#(#idents),*)),
        None => quote!(move || Self::uncached(#(#idents),*)),
    };
    let link = format!("[`{0}`](fn@{0})", func.sig.ident);
    let about_peek = format!("What the cache holds for a call of {link}; never runs the body.");
    let about_insert = format!("Stores the result of a call of {link} without running the body.");
    let about_invalidate = format!("Removes the entry of a call, so that the next {link} runs the body.");
    let about_refresh = format!("Runs the body of {link} now and stores its result.");
    quote! {
        #[doc = #about_peek]
        ///
        /// # Errors
        /// The arguments can't be a key, or the backend failed.
        #[inline]
        #vis #asyncness fn peek #generics(#reads) -> #rt::Result<#rt::Option<#stored>, #krate::Error> #bounds {
            Self::__cached().#peek(#key)#maybe_await
        }

        #[doc = #about_insert]
        ///
        /// # Errors
        /// The arguments can't be a key, the value can't be stored, or the backend failed.
        #[inline]
        #vis #asyncness fn insert #generics(#reads #value: #stored) -> #rt::Result<(), #krate::Error> #bounds {
            Self::__cached().#insert(#key, #value)#maybe_await
        }

        #[doc = #about_invalidate]
        ///
        /// # Errors
        /// The arguments can't be a key, or the backend failed: the entry may still be served.
        #[inline]
        #vis #asyncness fn invalidate #generics(#reads) -> #rt::Result<(), #krate::Error> #bounds {
            Self::__cached().#invalidate(#key)#maybe_await
        }

        #[doc = #about_refresh]
        #[inline]
        #vis #asyncness fn refresh #generics(#all) #output #bounds {
            let __key = #key;
            Self::__cached().#refresh(__key, #body)#maybe_await
        }

        /// Ends the life of every entry of the function: at once in this process, within a second in others.
        ///
        /// # Errors
        /// The backend failed: entries may still be served.
        #[inline]
        #vis #asyncness fn clear() -> #rt::Result<(), #krate::Error> {
            Self::__cached().#clear()#maybe_await
        }

        /// What the function has done in this process.
        #[inline]
        #vis fn stats() -> #krate::Stats {
            Self::__cached().stats()
        }

        /// The text key of a call on Redis and Memcached.
        #[inline]
        #vis fn key #generics(#reads) -> #rt::String #bounds {
            Self::__cached().key(#key)
        }
    }
}

/// An expression for the runtime's typed view of the function.
fn function(plan: &Plan) -> TokenStream {
    let (rt, ty, version) = (rt(plan), function_type(plan), plan.version);
    let name = plan.func.sig.ident.to_string();
    let (marker, path) = match &plan.companions {
        Companions::Named(struct_name) => (None, quote!(#struct_name)),
        Companions::Off => (
            Some(quote!(
                struct __Site;
            )),
            quote!(__Site),
        ),
    };
    let namespace = option(&rt, plan.namespace.as_ref());
    let (backend, bound) = match &plan.target {
        Target::Memory { capacity, max_bytes } => {
            let (capacity, max_bytes) = (option(&rt, capacity.as_ref()), option(&rt, max_bytes.as_ref()));
            (quote!("memory"), quote!(#rt::Bound { capacity: #capacity, max_bytes: #max_bytes }))
        }
        Target::Remote { backend, .. } => {
            (backend.to_token_stream(), quote!(#rt::Bound { capacity: #rt::None, max_bytes: #rt::None }))
        }
    };
    let (policy, mode, checks) = (policy(plan), mode(plan), checks(plan));
    // The bounds on values are reported on the return type.
    let mode = spanned(plan.func.output.span(), mode);
    quote!({
        #checks
        #marker
        static SITE: #rt::Site = #rt::Site::new(#rt::Spec {
            path: ::core::any::type_name::<#path>,
            name: #name,
            namespace: #namespace,
            version: #version,
            backend: #backend,
            bound: #bound,
        });
        <#ty>::new::<#mode>(&SITE, #policy)
    })
}

/// `Function<outcome, return type>`
fn function_type(plan: &Plan) -> TokenStream {
    let (rt, output, kinds) = (rt(plan), &plan.func.output, kinds(plan));
    quote_spanned!(output.span()=> #rt::Function<#rt::As<#kinds>, #output>)
}

/// How values are packed.
fn mode(plan: &Plan) -> TokenStream {
    let rt = rt(plan);
    let codec = match &plan.target {
        Target::Memory { .. } => return quote!(#rt::Memory),
        Target::Remote { codec: Codec::Bincode, .. } => quote!(Bincode),
        Target::Remote { codec: Codec::Postcard, .. } => quote!(Postcard),
        Target::Remote { codec: Codec::Msgpack, .. } => quote!(MsgPack),
        Target::Remote { codec: Codec::Json, .. } => quote!(Json),
    };
    quote!(#rt::Remote<#rt::#codec>)
}

/// What the options say of each value.
fn policy(plan: &Plan) -> TokenStream {
    let rt = rt(plan);
    let period = |period: &Period| match period {
        Period::Fixed(duration) => fixed(&rt, *duration),
        Period::Expr(expr) => expr.to_token_stream(),
    };
    let ttl = plan.lifetime.as_ref().map(|lifetime| match lifetime {
        Lifetime::Same(same) => {
            let period = period(same);
            quote!(|_| #period)
        }
        Lifetime::PerValue(closure) => closure.to_token_stream(),
    });
    let negative = match (&plan.negative.lifetime, &plan.lifetime) {
        (Some(negative), _) => Some(period(negative)),
        (None, Some(Lifetime::Same(same))) => Some(period(same)),
        (None, _) => None,
    };
    let negative = negative.map(|period| quote!(|| #period));
    let is_weighed = matches!(&plan.target, Target::Memory { max_bytes: Some(_), .. });
    let weigh = is_weighed.then(|| quote_spanned!(plan.func.output.span()=> #rt::weigh));
    let (ttl, negative) = (option(&rt, ttl.as_ref()), option(&rt, negative.as_ref()));
    let (cache_if, weigh) = (option(&rt, plan.cache_if.as_ref()), option(&rt, weigh.as_ref()));
    quote!(#rt::Policy { ttl: #ttl, negative_ttl: #negative, cache_if: #cache_if, weigh: #weigh })
}

fn fixed(rt: &TokenStream, duration: Duration) -> TokenStream {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(#rt::Duration::new(#secs, #nanos))
}

/// An expression for the key of a call, of type `Result<Key, Error>`.
fn key(plan: &Plan) -> TokenStream {
    let (rt, params) = (rt(plan), &plan.func.params);
    let read = || plan.key.reads.iter().filter_map(|index| params.get(*index));
    let views = || read().filter_map(Param::view);
    match &plan.key.source {
        KeySource::Args => {
            let args = read().map(|Param { ident, ty, .. }| quote_spanned!(ty.span()=> __key.arg(&#ident)?;));
            quote!(#rt::Key::of_args(|__key| { #(#args)* #rt::Ok(()) }))
        }
        KeySource::Exprs(exprs) => {
            let (views, args) =
                (views(), exprs.iter().map(|expr| quote_spanned!(expr.span()=> __key.arg(&#expr)?;)));
            quote!(#rt::Key::of_args(|__key| { #(#views)* #(#args)* #rt::Ok(()) }))
        }
        KeySource::Template(segments) => {
            let views = views();
            let parts = segments.iter().map(|segment| match segment {
                Segment::Text(text) => quote!(__key.literal(#text);),
                Segment::Field(place) => quote_spanned!(place.root.span()=> __key.field(&#place)?;),
            });
            quote!(#rt::Key::of_template(|__key| { #(#views)* #(#parts)* #rt::Ok(()) }))
        }
    }
}

/// Errors on options that the return type has no use for.
fn checks(plan: &Plan) -> TokenStream {
    let (rt, (outer, inner)) = (rt(plan), kind_of(plan));
    let check = |span: Option<Span>, assert: TokenStream| {
        let assert = quote!(#rt::#assert(#outer, #inner));
        span.map(|span| spanned(span, assert)).map(|assert| quote!(const _: () = #assert;))
    };
    let none = check(plan.negative.none, quote!(assert_none));
    let err = check(plan.negative.err, quote!(assert_err));
    quote!(#none #err)
}

/// The const arguments of `As` and `Stored`.
fn kinds(plan: &Plan) -> TokenStream {
    let ((outer, inner), negative) = (kind_of(plan), &plan.negative);
    let (none, err) = (negative.none.is_some(), negative.err.is_some());
    quote!(#outer, #inner, #none, #err)
}

/// The kinds of the return type and of what it wraps; found by type, so that aliases don't matter.
fn kind_of(plan: &Plan) -> (TokenStream, TokenStream) {
    let (rt, output) = (rt(plan), &plan.func.output);
    let kind = |ty: TokenStream| {
        quote!({
            #[allow(unused_imports)]
            use #rt::Plain as _;
            #rt::Probe::<#ty>::KIND
        })
    };
    let outer = kind(output.to_token_stream());
    let inner = kind(quote!(<#output as #rt::Wraps<#outer>>::Inner));
    (outer, inner)
}

/// The type that an entry holds, spelled out where the return type says what it is.
fn stored(plan: &Plan) -> TokenStream {
    let output = &plan.func.output;
    spelled(output, plan.negative.none.is_some(), plan.negative.err.is_some()).map_or_else(
        || {
            let (rt, kinds) = (rt(plan), kinds(plan));
            quote!(#rt::Stored<#output, #kinds>)
        },
        ToTokens::to_token_stream,
    )
}

/// The part of `ty` that is stored, if `ty` is written as `Result<…>` or `Option<…>`.
fn spelled(ty: &Type, none: bool, err: bool) -> Option<&Type> {
    let (kind, inner) = wrapped(ty)?;
    let (inner_kind, innermost) = wrapped(inner).map_or((Kind::Plain, inner), |(kind, ty)| (kind, ty));
    Some(match (kind, inner_kind) {
        (Kind::Result, _) if err => ty,
        (Kind::Result, Kind::Option) if none => inner,
        (Kind::Option, Kind::Result) if err && !none => inner,
        (Kind::Option, _) if none => ty,
        _ => innermost,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Result,
    Option,
}

fn wrapped(ty: &Type) -> Option<(Kind, &Type)> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let kind = match last.ident.to_string().as_str() {
        "Result" => Kind::Result,
        "Option" => Kind::Option,
        _ => return None,
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some((kind, ty)),
        _ => None,
    })
}

/// `ident: Type, …` for generated signatures.
fn params<'a>(params: impl IntoIterator<Item = &'a Param>) -> TokenStream {
    let params = params.into_iter().map(|Param { attrs, ident, ty, .. }| quote!(#(#attrs)* #ident: #ty));
    quote!(#(#params,)*)
}

/// `name`, or with underscores behind it where an argument is called so.
fn free_name<'a>(name: &str, params: impl Iterator<Item = &'a Param> + Clone) -> Ident {
    match params.clone().any(|param| param.ident == name) {
        true => free_name(&format!("{name}_"), params),
        false => Ident::new(name, Span::mixed_site()),
    }
}

fn option<T: ToTokens>(rt: &TokenStream, value: Option<&T>) -> TokenStream {
    value.map_or_else(|| quote!(#rt::None), |value| quote!(#rt::Some(#value)))
}

/// Tokens that errors report at `span`.
fn spanned(span: Span, tokens: TokenStream) -> TokenStream {
    let at = |mut token: TokenTree| {
        token.set_span(token.span().located_at(span));
        token
    };
    tokens.into_iter().map(at).collect()
}

fn rt(plan: &Plan) -> TokenStream {
    let krate = &plan.krate;
    quote!(#krate::private)
}

fn attrs(all: &[Attribute], keep: impl Fn(&Attribute) -> bool) -> Vec<&Attribute> {
    all.iter().filter(|attr| keep(attr)).collect()
}

/// Attributes that every generated item must carry, or it would outlive the function.
fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg")
}

/// Attributes that speak of the body's code.
fn is_lint(attr: &Attribute) -> bool {
    ["allow", "expect", "warn", "deny", "forbid"].iter().any(|lint| attr.path().is_ident(lint))
}
