//! The function's place in the program: its constants, and the runtime's typed view of it.

use std::time::Duration;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;

use super::{at, option, outcome, rt, spanned};
use crate::validate::{Companions, Plan, Target};
use crate::value::{Codec, Lifetime, Period, SingleFlight};

/// The site, as the static `__SITE`. What is as usual is not said.
pub(super) fn site(plan: &Plan) -> TokenStream {
    let (rt, name) = (rt(plan), plan.func.sig.ident.unraw().to_string());
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
    let given = given(plan);
    let spec = match given.is_empty() {
        true => quote!(&#rt::Spec::NONE),
        false => quote!(const { &#rt::Spec { #given ..#rt::Spec::NONE } }),
    };
    quote! {
        #marker
        static __SITE: #rt::Site = #rt::Site::new(::core::any::type_name::<#path>, #name, #spec);
    }
}

/// A digest of tokens (FNV-1a), whatever stands between them: the same for every compiler.
fn digest(tokens: TokenStream, hash: u64) -> u64 {
    let add = |hash: u64, text: &str| {
        // A byte that no text has ends each token.
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

/// The fields of the `Spec` that options set.
fn given(plan: &Plan) -> TokenStream {
    let (rt, version) = (rt(plan), plan.version);
    let namespace = plan.namespace.as_ref().map(|namespace| quote!(namespace: #rt::Some(#namespace),));
    let written = (plan.namespace.is_none() && matches!(plan.target, Target::Remote { .. })).then(|| {
        let (func, is_method) = (&plan.func, plan.is_method);
        let sig = digest(func.sig.to_token_stream(), 0xcbf2_9ce4_8422_2325);
        let text = digest(func.body.to_token_stream(), sig);
        quote!(written: #rt::Some(#rt::Written { module: ::core::module_path!(), is_method: #is_method, text: #text }),)
    });
    let version = (version != 0).then(|| quote!(version: #version,));
    let target = match &plan.target {
        Target::Memory { capacity: None, max_bytes: None } => None,
        Target::Memory { capacity, max_bytes } => {
            let (capacity, max_bytes) = (option(&rt, capacity.as_ref()), option(&rt, max_bytes.as_ref()));
            Some(quote!(bound: #rt::Bound { capacity: #capacity, max_bytes: #max_bytes },))
        }
        Target::Remote { backend, .. } => Some(quote!(backend: #backend, place: #rt::MakePlace::REMOTE,)),
    };
    let single_flight = match plan.single_flight {
        SingleFlight::Process => None,
        SingleFlight::Off => Some(quote!(single_flight: #rt::SingleFlight::Off,)),
        SingleFlight::Cluster => Some(quote!(single_flight: #rt::SingleFlight::Cluster,)),
    };
    let wait = plan.wait.as_ref().map(|wait| {
        let wait = made(&rt, Some(wait));
        quote!(wait: #wait,)
    });
    let freshness = &plan.freshness;
    let freshness = (freshness.renews() || freshness.jitter.is_some()).then(|| {
        let stale = made(&rt, freshness.stale.as_ref());
        let (early, jitter) = (freshness.early.unwrap_or(0.0), freshness.jitter.unwrap_or(0.0));
        quote!(freshness: #rt::Freshness { stale: #stale, early: #early, jitter: #jitter },)
    });
    quote!(#namespace #written #version #target #single_flight #wait #freshness)
}

/// `Function<'__v, outcome, return type>`
pub(super) fn function_type(plan: &Plan) -> TokenStream {
    let (rt, output, outcome) = (rt(plan), &plan.func.output, outcome::outcome(plan));
    quote_spanned!(at(output.span())=> #rt::Function<'__v, #outcome, #output>)
}

/// An expression for the typed view; the bounds on values are reported on the return type.
pub(super) fn function(plan: &Plan, site: &TokenStream) -> TokenStream {
    let (rt, output, outcome) = (rt(plan), &plan.func.output, outcome::outcome(plan));
    let (policy, checks) = (policy(plan), outcome::checks(plan));
    let mode = spanned(output.span(), mode(plan));
    let values = quote_spanned!(at(output.span())=> <#rt::Values<#outcome, #output>>);
    let compared = codec(plan).map(|codec| {
        let stored = outcome::stored(plan);
        quote!(.packed_by({
            #[allow(unused_imports)]
            use #rt::Uncompared as _;
            #rt::Compared::<#codec, #stored>::PACK
        }))
    });
    quote!(#checks #rt::Function::new(#site, const { &#values::new::<#mode>(#policy)#compared }))
}

/// How values are packed.
fn mode(plan: &Plan) -> TokenStream {
    let rt = rt(plan);
    codec(plan).map_or_else(|| quote!(#rt::Memory), |codec| quote!(#rt::Remote<#codec>))
}

/// What writes values for a server.
fn codec(plan: &Plan) -> Option<TokenStream> {
    let (rt, Target::Remote { codec, .. }) = (rt(plan), &plan.target) else { return None };
    Some(match codec {
        Codec::Bincode => quote!(#rt::Bincode),
        Codec::Postcard => quote!(#rt::Postcard),
        Codec::Msgpack => quote!(#rt::MsgPack),
        Codec::Json => quote!(#rt::Json),
    })
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
    let ttl = plan.lifetime.as_ref().map(|lifetime| match lifetime {
        Lifetime::Same(period) => same(period, quote!(_)),
        Lifetime::PerValue(closure) => quote!(#rt::Ttl::By(#closure)),
    });
    let has_negative = plan.negative.none.is_some() || plan.negative.err.is_some();
    let negative = match (&plan.negative.lifetime, &plan.lifetime) {
        (Some(period), _) => Some(period),
        (None, Some(Lifetime::Same(period))) if has_negative => Some(period),
        _ => None,
    };
    let negative = negative.map(|period| same(period, quote!()));
    let is_weighed = matches!(&plan.target, Target::Memory { max_bytes: Some(_), .. });
    let weigh = is_weighed.then(|| spanned(plan.func.output.span(), quote!(#rt::weigh)));
    let field = |name: &str, value: Option<TokenStream>| {
        let name = format_ident!("{name}");
        value.map(|value| quote!(#name: #value,))
    };
    let (ttl, negative) = (field("ttl", ttl), field("negative_ttl", negative));
    let cache_if = field("cache_if", plan.cache_if.as_ref().map(|cache_if| quote!(#rt::Some(#cache_if))));
    let weigh = field("weigh", weigh.map(|weigh| quote!(#rt::Some(#weigh))));
    let given = quote!(#ttl #negative #cache_if #weigh);
    if given.is_empty() {
        quote!(#rt::Policy::NONE)
    } else {
        quote!(#rt::Policy { #given ..#rt::Policy::NONE })
    }
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
