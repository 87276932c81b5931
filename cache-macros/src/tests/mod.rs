//! Every option in every form. What messages say and underline is tested in `tests/ui`.

mod backends;
mod expansions;
mod keys;
mod panics;
mod signatures;

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};

use crate::args::period::{Lifetime, Period};
use crate::args::value::{Capacity, Codec};
use crate::args::{Args, OPTIONS};
use crate::func::Flow;
use crate::validate::{Companions, KeySource, Plan, Target};
use crate::{cached_function, plan};

fn args(tokens: TokenStream) -> Args {
    syn::parse2(tokens).expect("these arguments are right")
}

/// All messages of one attribute.
fn refused(tokens: TokenStream) -> String {
    let errors = syn::parse2::<Args>(tokens).expect_err("these arguments are wrong");
    let messages: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
    messages.join("\n")
}

fn planned(args: TokenStream, item: TokenStream) -> Plan {
    plan(args, item).expect("this can be cached")
}

fn ttl(tokens: TokenStream) -> Duration {
    match args(quote!(ttl = #tokens)).ttl.expect("ttl is given").value {
        Lifetime::Same(Period::Fixed(period)) => period,
        other => panic!("not fixed: {other:?}"),
    }
}

#[test]
fn fixed_lifetimes() {
    let cases = [
        (quote!(60), 60_000),
        (quote!(1_000), 1_000_000),
        (quote!(1.5), 1_500),
        (quote!("250ms"), 250),
        (quote!("5s"), 5_000),
        (quote!("1.5m"), 90_000),
        (quote!("2h"), 7_200_000),
        (quote!("1 d"), 86_400_000),
    ];
    for (written, millis) in cases {
        assert_eq!(ttl(written.clone()), Duration::from_millis(millis), "{written}");
    }
}

#[test]
fn lifetimes_known_later() {
    for tokens in [quote!(Duration::from_secs(5)), quote!(LIFETIME), quote!(config().ttl), quote!((60))] {
        let given = args(quote!(ttl = #tokens, negative_ttl = #tokens));
        assert!(matches!(given.ttl.expect("given").value, Lifetime::Same(Period::Expr(_))), "{tokens}");
        assert!(matches!(given.negative_ttl.expect("given").value, Period::Expr(_)), "{tokens}");
    }
    let closure = args(quote!(ttl = |user| user.lifetime, version = 1)).ttl.expect("given").value;
    assert!(matches!(closure, Lifetime::PerValue(_)));
}

#[test]
fn refused_lifetimes() {
    for zero in [quote!(0), quote!(0.0), quote!("0s"), quote!("0ms"), quote!("0.0d")] {
        assert!(refused(quote!(ttl = #zero)).contains("zero would mean never"), "{zero}");
    }
    let bad = [
        quote!("5"),
        quote!(""),
        quote!("s"),
        quote!("-5s"),
        quote!("1e3s"),
        quote!("infs"),
        quote!("1.2.3s"),
        quote!("5 weeks"),
        quote!("5M"),
        quote!(1e9),
        quote!(60u64),
        quote!('5'),
        quote!(b"5s"),
        quote!(true),
        quote!("99999999999999999999999d"),
    ];
    for bad in bad {
        assert!(refused(quote!(ttl = #bad)).contains("not a lifetime: write"), "{bad}");
    }
    assert!(refused(quote!(ttl = -1.5)).contains("can't be negative"));
    assert_eq!(refused(quote!(ttl = 90m)), "put it in quotes: \"90m\"");
}

#[test]
fn every_other_option() {
    let given = args(quote! {
        backend = "sessions", namespace = "users", version = 0x10, capacity = 10_000, max_bytes = "64MiB",
        cache_none = true, cache_err = false, cache_if = keep::this, codec = "msgpack", companions = users,
        crate = ::my_app::cache, skip(self, a, b,),
    });
    assert_eq!(given.backend.expect("given").value.value(), "sessions");
    assert_eq!(given.namespace.expect("given").value.value(), "users");
    assert_eq!(given.version.expect("given").value, 16);
    assert!(matches!(given.capacity.expect("given").value, Capacity::Fixed(10_000)));
    assert_eq!(given.max_bytes.expect("given").value, 64 << 20);
    assert!(given.cache_none.expect("given").value);
    assert!(!given.cache_err.expect("given").value);
    assert!(matches!(given.cache_if.expect("given").value, syn::Expr::Path(_)));
    assert_eq!(given.codec.expect("given").value, Codec::Msgpack);
    assert_eq!(given.companions.expect("given").value.expect("some").name.expect("named"), "users");
    assert_eq!(given.krate.expect("given").value.to_token_stream().to_string(), ":: my_app :: cache");
    assert_eq!(given.skip.expect("given").value, ["self", "a", "b"]);
}

#[test]
fn sizes() {
    for (written, bytes) in
        [(quote!(4096), 4096), (quote!("1 KB"), 1_000), (quote!("2GiB"), 2 << 30), (quote!("7B"), 7)]
    {
        assert_eq!(args(quote!(max_bytes = #written)).max_bytes.expect("given").value, bytes, "{written}");
    }
    for bad in [
        quote!(0),
        quote!("0B"),
        quote!("5"),
        quote!("1.5MB"),
        quote!("99999999999GiB"),
        quote!(-1),
        quote!(1u64),
    ] {
        assert!(refused(quote!(max_bytes = #bad)).contains("not a size"), "{bad}");
    }
}

#[test]
fn no_companions() {
    assert!(args(quote!(companions = false)).companions.expect("given").value.is_none());
    let plan = planned(
        quote!(companions = false),
        quote!(
            fn user() {}
        ),
    );
    assert!(matches!(plan.companions, Companions::Off));
}

#[test]
fn every_listed_option_is_read() {
    for option in OPTIONS {
        let tokens: TokenStream = option.parse().expect("options are names");
        assert!(!refused(tokens).contains("there is no option"), "{option}");
    }
}

#[test]
fn errors_come_together() {
    let all =
        refused(quote!(tll = 60, ttl = 0, capacity = 10 20, early = |a, b| a, version = 1, version = 2, , 7));
    assert_eq!(all.lines().count(), 7, "{all}");
}

#[test]
fn a_plan_leaves_nothing_open() {
    let plan = planned(
        quote!(),
        quote!(
            pub async fn user(id: u64) {}
        ),
    );
    assert!(matches!(plan.target, Target::Memory { capacity: None, max_bytes: None }));
    assert!(matches!(plan.key.source, KeySource::Args));
    assert!(matches!(plan.companions, Companions::Struct(name) if name == "user"));
    assert_eq!(plan.func.output.to_token_stream().to_string(), "()");
    assert_eq!(plan.krate.to_token_stream().to_string(), ":: cache_runtime");
    assert_eq!((plan.version, plan.negative.none.is_none(), plan.negative.err.is_none()), (0, true, true));
}

#[test]
fn a_remote_function_needs_its_codec() {
    let planned = plan(
        quote!(backend = "sessions"),
        quote!(
            fn user(id: u64) {}
        ),
    );
    match planned {
        Ok(plan) => assert!(matches!(plan.target, Target::Remote { codec: Codec::Bincode, .. })),
        Err(error) => assert!(error.to_string().contains("enable the feature `bincode`")),
    }
    assert_eq!(
        plan(
            quote!(backend = "redis", codec = "json"),
            quote!(
                fn user() {}
            )
        )
        .is_ok(),
        cfg!(all(feature = "redis", feature = "json"))
    );
}

#[test]
fn patterns() {
    let plan = planned(
        quote!(key = "{a}:{e}"),
        quote!(
            fn user(mut x: u8, Path(mut a): Path<u8>, ref mut r: u8, &(e, f): &(u8, u8), z: u8) {
                #![allow(dead_code)]
                x
            }
        ),
    );
    let text = |tokens: Option<TokenStream>| tokens.map(|tokens| tokens.to_string()).unwrap_or_default();
    let params = &plan.func.params;
    let rebinds: Vec<String> = params.iter().map(|param| text(param.rebind())).collect();
    let views: Vec<String> = params.iter().map(|param| text(param.view(false))).collect();
    assert_eq!(
        rebinds,
        [
            "let mut x = x ;",
            "let Path (mut a) = __arg1 ;",
            "let mut r = r ; let ref mut r = r ;",
            "let & (e , f) = __arg3 ;",
            ""
        ]
    );
    assert_eq!(views[0], "");
    assert_eq!(views[1], "let Path (a) = & __arg1 ; let _ = & a ;");
    assert_eq!(views[3], "let & (e , f) = __arg3 ; let _ = & e ; let _ = & f ;");
    assert_eq!(plan.func.attrs.len(), 1, "attributes inside of the body are the function's");
    assert_eq!(plan.func.body.to_string(), "{ x }");
}

#[test]
fn a_refused_function_is_still_there() {
    let tokens = cached_function(
        quote!(tll = 1),
        quote!(
            fn user() {}
        ),
    )
    .to_string();
    assert!(tokens.contains("compile_error") && tokens.contains("fn user () { }"), "{tokens}");
}
