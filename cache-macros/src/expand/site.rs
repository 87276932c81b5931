//! The function's place in the program: its constants, and the runtime's typed view of it.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

use super::{at, option, outcome, rt, spanned};
use crate::validate::{Companions, Plan, Target};
use crate::value::{Codec, Lifetime, Period, SingleFlight};

/// An expression for the site, of type `&'static Site`.
pub(super) fn site(plan: &Plan) -> TokenStream {
    let (rt, version, name) = (rt(plan), plan.version, plan.func.sig.ident.unraw().to_string());
    let single_flight = match plan.single_flight {
        SingleFlight::Off => quote!(Off),
        SingleFlight::Process => quote!(Process),
        SingleFlight::Cluster => quote!(Cluster),
    };
    let wait = made(&rt, plan.wait.as_ref());
    let (freshness, namespace) = (freshness(plan), option(&rt, plan.namespace.as_ref()));
    // What stands beside the function tells its path; where nothing does, a type within it.
    let (marker, path) = match &plan.companions {
        Companions::Struct(companion) => (None, quote!(#companion)),
        Companions::Off | Companions::Siblings(_) => (
            Some(quote!(
                struct __Site;
            )),
            quote!(__Site),
        ),
    };
    let (is_remote, backend, (capacity, max_bytes)) = match &plan.target {
        Target::Memory { capacity, max_bytes } => (false, quote!("memory"), (*capacity, *max_bytes)),
        Target::Remote { backend, .. } => (true, backend.to_token_stream(), (None, None)),
    };
    let (capacity, max_bytes) = (option(&rt, capacity.as_ref()), option(&rt, max_bytes.as_ref()));
    quote!({
        #marker
        static SITE: #rt::Site = #rt::Site::new(#rt::Spec {
            path: ::core::any::type_name::<#path>,
            name: #name,
            namespace: #namespace,
            version: #version,
            backend: #backend,
            is_remote: #is_remote,
            single_flight: #rt::SingleFlight::#single_flight,
            wait: #wait,
            freshness: #freshness,
            bound: #rt::Bound { capacity: #capacity, max_bytes: #max_bytes },
        });
        &SITE
    })
}

/// `Function<outcome, return type>`
pub(super) fn function_type(plan: &Plan) -> TokenStream {
    let (rt, output, outcome) = (rt(plan), &plan.func.output, outcome::outcome(plan));
    quote_spanned!(at(output.span())=> #rt::Function<#outcome, #output>)
}

/// An expression for the typed view; the bounds on values are reported on the return type.
pub(super) fn function(plan: &Plan, site: &TokenStream) -> TokenStream {
    let (ty, policy, checks) = (function_type(plan), policy(plan), outcome::checks(plan));
    let mode = spanned(plan.func.output.span(), mode(plan));
    quote!(#checks <#ty>::new::<#mode>(#site, #policy))
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

/// What happens around the end of a lifetime.
fn freshness(plan: &Plan) -> TokenStream {
    let (rt, freshness) = (rt(plan), &plan.freshness);
    let stale = made(&rt, freshness.stale.as_ref());
    let (early, jitter) = (freshness.early.unwrap_or(0.0), freshness.jitter.unwrap_or(0.0));
    quote!(#rt::Freshness { stale: #stale, early: #early, jitter: #jitter })
}

/// What the options say of each value.
fn policy(plan: &Plan) -> TokenStream {
    let rt = rt(plan);
    let same = |period: &Period, arguments: TokenStream| match period {
        Period::Fixed(duration) => {
            let fixed = fixed(&rt, *duration);
            quote!(#rt::Ttl::Fixed(#fixed))
        }
        Period::Expr(expr) => quote!(#rt::Ttl::By(|#arguments| #expr)),
    };
    let ttl = match &plan.lifetime {
        None => quote!(#rt::Ttl::Default),
        Some(Lifetime::Same(period)) => same(period, quote!(_)),
        Some(Lifetime::PerValue(closure)) => quote!(#rt::Ttl::By(#closure)),
    };
    let has_negative = plan.negative.none.is_some() || plan.negative.err.is_some();
    let negative = match (&plan.negative.lifetime, &plan.lifetime) {
        (Some(period), _) => Some(period),
        (None, Some(Lifetime::Same(period))) if has_negative => Some(period),
        _ => None,
    };
    let negative = negative.map_or_else(|| quote!(#rt::Ttl::Default), |period| same(period, quote!()));
    let is_weighed = matches!(&plan.target, Target::Memory { max_bytes: Some(_), .. });
    let weigh = is_weighed.then(|| spanned(plan.func.output.span(), quote!(#rt::weigh)));
    let (cache_if, weigh) = (option(&rt, plan.cache_if.as_ref()), option(&rt, weigh.as_ref()));
    quote!(#rt::Policy { ttl: #ttl, negative_ttl: #negative, cache_if: #cache_if, weigh: #weigh })
}

/// A function that makes a period.
fn made(rt: &TokenStream, period: Option<&Period>) -> TokenStream {
    let period = period.map(|period| match period {
        Period::Fixed(duration) => fixed(rt, *duration),
        Period::Expr(expr) => expr.to_token_stream(),
    });
    option(rt, period.map(|period| quote!(|| #period)).as_ref())
}

fn fixed(rt: &TokenStream, duration: Duration) -> TokenStream {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(#rt::Duration::new(#secs, #nanos))
}
