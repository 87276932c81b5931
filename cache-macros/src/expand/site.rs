//! The function's place in the program, its options, and the runtime's typed view of it.

use std::time::Duration;

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident, quote};
use syn::ext::IdentExt as _;

use super::{part, rt};
use crate::args::period::{Lifetime, Period};
use crate::args::value::{Capacity, Codec, SingleFlight};
use crate::validate::{Companions, Plan, Target};

/// An expression for the function's site.
pub(super) fn site(plan: &Plan) -> TokenStream {
    let (rt, name, spec) = (rt(plan), plan.func.sig.ident.unraw().to_string(), spec(plan));
    // The companions' struct stands beside the function and has its path. Without it, the runtime declares a type here.
    let path = match &plan.companions {
        Companions::Struct(companion) => Some(quote!(path: #companion,)),
        Companions::Off | Companions::Siblings(_) => None,
    };
    quote!(#rt::site!(#path name: #name, spec: #spec))
}

/// The options of the function as a whole, as calls on the runtime's `Spec`. Defaults are omitted.
fn spec(plan: &Plan) -> TokenStream {
    let rt = rt(plan);
    let start = match &plan.target {
        Target::Memory { capacity, max_bytes } => {
            let capacity = capacity.as_ref().map(|capacity| match capacity {
                Capacity::Fixed(u64::MAX) => quote!(.unbounded()),
                Capacity::Fixed(capacity) => quote!(.capacity(#capacity)),
                Capacity::Expr(capacity) => quote!(.capacity_of(|| #rt::entries(#capacity))),
            });
            let max_bytes = max_bytes.map(|max_bytes| quote!(.max_bytes(#max_bytes)));
            quote!(IN_MEMORY #capacity #max_bytes)
        }
        Target::Remote { backend, .. } => quote!(remote(#backend)),
    };
    let namespace = plan.namespace.as_ref().map(|namespace| quote!(.namespace(#namespace)));
    let written = (plan.namespace.is_none() && matches!(plan.target, Target::Remote { .. })).then(|| {
        let (func, is_method) = (&plan.func, plan.is_method);
        let sig = digest(func.sig.to_token_stream(), 0xcbf2_9ce4_8422_2325);
        let text = digest(func.body.to_token_stream(), sig);
        quote!(.written(::core::module_path!(), #is_method, #text))
    });
    let version =
        Some(plan.version).filter(|version| *version != 0).map(|version| quote!(.version(#version)));
    let single_flight = match plan.single_flight {
        SingleFlight::Process => None,
        SingleFlight::Off => Some(quote!(.without_single_flight())),
        SingleFlight::Cluster => Some(quote!(.single_flight_in_cluster())),
    };
    let freshness = &plan.freshness;
    let period = |method: Ident, period: &Option<Period>| {
        let period = duration(period.as_ref()?);
        Some(quote!(.#method(|| #period)))
    };
    let wait = period(format_ident!("wait"), &plan.wait);
    let stale = period(format_ident!("stale"), &freshness.stale);
    let on_error = period(format_ident!("on_error"), &freshness.on_error);
    let idle = period(format_ident!("idle"), &freshness.idle);
    let early = freshness.early.map(|early| quote!(.early(#early)));
    let jitter = freshness.jitter.map(|jitter| quote!(.jitter(#jitter)));
    let options = [
        ("stale", stale.is_some()),
        ("on_error", on_error.is_some()),
        ("early", early.is_some()),
        ("jitter", jitter.is_some()),
    ];
    let has_ttl = plan.lifetime.is_some() || plan.negative.lifetime.is_some() || idle.is_some();
    let needs_default_ttl = options
        .iter()
        .find(|(_, is_given)| *is_given && !has_ttl)
        .map(|(option, _)| quote!(.needs_default_ttl(#option)));
    quote! {
        #start #namespace #written #version #single_flight #wait
        #stale #on_error #idle #early #jitter #needs_default_ttl
    }
}

/// A digest of tokens (FNV-1a), the same for every compiler, whatever is between the tokens.
fn digest(tokens: TokenStream, hash: u64) -> u64 {
    let add = |hash: u64, text: &str| {
        // Each token ends with a byte that no text contains.
        text.bytes()
            .chain([0xff])
            .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    tokens.into_iter().fold(hash, |hash, token| match token {
        TokenTree::Group(group) => {
            let (open, close) = match group.delimiter() {
                Delimiter::Parenthesis => ("(", ")"),
                Delimiter::Brace => ("{", "}"),
                Delimiter::Bracket => ("[", "]"),
                Delimiter::None => return digest(group.stream(), hash),
            };
            add(digest(group.stream(), add(hash, open)), close)
        }
        token => add(hash, &token.to_string()),
    })
}

/// What the runtime's `function!` takes, to make the typed view of the function at `site`.
pub(super) fn typed_view(plan: &Plan, site: &TokenStream) -> TokenStream {
    let (output, part, checks) = (&plan.func.output, part::part(plan), part::checks(plan));
    let (values, options) = (values(plan), options(plan));
    quote! {
        site: #site,
        output: #output,
        part: #part,
        values: #values,
        options: { #options },
        checks: { #checks }
    }
}

/// How values are packed.
fn values(plan: &Plan) -> TokenStream {
    let stored = part::stored(plan);
    let is_generic = plan.func.has_type_parameter(&stored);
    match (&plan.target, is_generic) {
        (Target::Memory { .. }, false) => quote!(in_memory(#stored)),
        (Target::Memory { .. }, true) => quote!(in_memory_generic(#stored)),
        (Target::Remote { codec, .. }, _) => {
            let codec = match codec {
                Codec::Bincode => quote!(Bincode),
                Codec::Postcard => quote!(Postcard),
                Codec::Msgpack => quote!(MsgPack),
                Codec::Json => quote!(Json),
            };
            if is_generic {
                quote!(encoded_generic(#stored, #codec))
            } else {
                quote!(encoded(#stored, #codec))
            }
        }
    }
}

/// The options that are asked for each value, as calls on the runtime's `Values`.
fn options(plan: &Plan) -> TokenStream {
    let ttl = plan.lifetime.as_ref().map(|lifetime| match lifetime {
        Lifetime::Same(period @ Period::Fixed(_)) => {
            let ttl = duration(period);
            quote!(.ttl(#ttl))
        }
        Lifetime::Same(Period::Expr(expr)) => quote!(.ttl_by(|_| #expr)),
        Lifetime::PerValue(closure) => quote!(.ttl_by(#closure)),
    });
    let has_negative = plan.negative.none.is_some() || plan.negative.err.is_some();
    let negative = match (&plan.negative.lifetime, &plan.lifetime) {
        (Some(period), _) => Some(period),
        (None, Some(Lifetime::Same(period))) if has_negative => Some(period),
        _ => None,
    };
    let negative = negative.map(|period| {
        let ttl = duration(period);
        match period {
            Period::Fixed(_) => quote!(.negative_ttl(#ttl)),
            Period::Expr(_) => quote!(.negative_ttl_by(|| #ttl)),
        }
    });
    let cache_if = plan.cache_if.as_ref().map(|cache_if| quote!(.cache_if(#cache_if)));
    let weighed = matches!(&plan.target, Target::Memory { max_bytes: Some(_), .. }).then(|| {
        let stored = part::stored(plan);
        quote!(.weighed::<#stored>())
    });
    let share_err = part::share_err(plan);
    quote!(#ttl #negative #cache_if #share_err #weighed)
}

/// An expression of type `Duration`.
fn duration(period: &Period) -> TokenStream {
    match period {
        Period::Fixed(duration) => fixed(*duration),
        Period::Expr(expr) => expr.to_token_stream(),
    }
}

fn fixed(duration: Duration) -> TokenStream {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#secs, #nanos))
}
