//! What a signature decides: where companions go, what a key reads, which futures wait for a miss.

use super::*;

fn companions(args: TokenStream, item: TokenStream) -> String {
    match planned(args, item).companions {
        Companions::Off => "off".to_owned(),
        Companions::Struct(name) => format!("struct {name}"),
        Companions::Siblings(name) => format!("siblings {name}"),
    }
}

#[test]
fn where_companions_go() {
    let of = |item: TokenStream| companions(quote!(), item);
    assert_eq!(
        of(quote!(
            fn user(id: u64) {}
        )),
        "struct user"
    );
    assert_eq!(
        of(quote!(
            fn r#match(id: u64) {}
        )),
        "struct r#match"
    );
    assert_eq!(
        of(quote!(
            fn new() -> Self {}
        )),
        "siblings new"
    );
    assert_eq!(
        of(quote!(
            fn all(these: &[Option<Self>]) {}
        )),
        "siblings all"
    );
    assert_eq!(
        of(quote!(
            fn bound()
            where
                Self: Sized,
            {
            }
        )),
        "siblings bound"
    );
    assert_eq!(
        of(quote!(
            fn body() -> u64 {
                f(|| [Self::N])
            }
        )),
        "siblings body"
    );
    let receiver = quote!(
        fn user(&self) {}
    );
    assert_eq!(companions(quote!(skip(self)), receiver.clone()), "siblings user");
    assert_eq!(companions(quote!(skip(self), companions = users), receiver.clone()), "siblings users");
    assert_eq!(companions(quote!(skip(self), companions = false), receiver), "off");
    let free = quote!(
        fn user() {}
    );
    assert_eq!(companions(quote!(companions = users), free.clone()), "struct users");
    assert_eq!(companions(quote!(companions = Self), free), "siblings user");
}

#[test]
fn items_in_a_body_have_a_self_of_their_own() {
    for item in [
        quote!(
            struct S<T>(Box<Self>);
        ),
        quote!(
            struct S {
                next: Option<Box<Self>>,
            }
        ),
        quote!(
            enum E {
                Next(Box<Self>),
            }
        ),
        quote!(
            impl<T> From<T> for S
            where
                T: Into<[u8; { 1 }]>,
            {
                fn from(t: T) -> Self {
                    Self(t)
                }
            }
        ),
        quote!(
            trait T: Sized {
                fn f() -> Self;
            }
        ),
    ] {
        assert_eq!(companions(quote!(), quote!(fn user() { #item })), "struct user", "{item}");
        assert_eq!(companions(quote!(), quote!(fn user() { #item Self::f() })), "siblings user", "{item}");
    }
}

#[test]
fn what_a_key_reads_of_self() {
    let reads = |args: TokenStream, item: TokenStream| {
        let key = planned(args, item).key;
        (key.reads_self, key.reads)
    };
    let method = quote!(
        fn user(&self, id: u64, trace: u64) {}
    );
    assert_eq!(reads(quote!(key = (self.tenant, id)), method.clone()), (true, vec![0]));
    assert_eq!(reads(quote!(key = "{self.tenant}/{trace}"), method.clone()), (true, vec![1]));
    assert_eq!(reads(quote!(key = self), method.clone()), (true, vec![]));
    assert_eq!(reads(quote!(key = id), method.clone()), (false, vec![0]));
    assert_eq!(reads(quote!(skip(self, trace)), method.clone()), (false, vec![0]));
    let undecided = plan(quote!(), method).expect_err("the receiver is undecided").to_string();
    assert!(undecided.contains("does `self` identify a call?"), "{undecided}");
}

/// The flow, whether the future is made before the look-up, and its output.
fn flow(item: TokenStream) -> (Flow, bool, String) {
    let func = planned(quote!(skip()), item).func;
    (func.flow, func.is_detached, func.output.to_token_stream().to_string())
}

#[test]
fn futures_are_known_by_their_spelling() {
    let run = || "Run".to_owned();
    assert_eq!(
        flow(quote!(
            fn f() -> Run {}
        )),
        (Flow::Blocking, false, run())
    );
    assert_eq!(
        flow(quote!(
            fn f() -> Box<dyn Fn()> {}
        ))
        .0,
        Flow::Blocking
    );
    assert_eq!(
        flow(quote!(
            fn f() -> Pin<Box<Run>> {}
        ))
        .0,
        Flow::Blocking
    );
    assert_eq!(
        flow(quote!(
            async fn f(a: &str) -> Run {}
        )),
        (Flow::Async, false, run())
    );
    assert_eq!(
        flow(quote!(
            fn f() -> impl Send + std::future::Future<Output = Run> {}
        )),
        (Flow::Future, false, run())
    );
    let boxed = quote!(std::pin::Pin<Box<dyn core::future::Future<Output = Run> + Send>>);
    assert_eq!(flow(quote!(fn f(id: u64) -> #boxed {})), (Flow::BoxedFuture, false, run()));
}

#[test]
fn a_future_that_can_hold_the_arguments_waits_for_a_miss() {
    let holds = |lifetimes: TokenStream, args: TokenStream, bounds: TokenStream| {
        let item = quote!(fn f #lifetimes (#args) -> impl Future<Output = Run> #bounds {});
        let boxed = quote!(fn f #lifetimes (#args) -> Pin<Box<dyn Future<Output = Run> #bounds>> {});
        assert_eq!(flow(item.clone()).1, flow(boxed).1, "{item}");
        !flow(item).1
    };
    assert_eq!(
        flow(quote!(
            fn f(a: &str) -> BoxFuture<'_, Run> {}
        )),
        (Flow::BoxedFuture, false, "Run".to_owned())
    );
    assert!(
        flow(quote!(
            fn f(a: &str) -> futures::future::LocalBoxFuture<'static, Run> {}
        ))
        .1
    );
    assert!(holds(quote!(), quote!(a: u64, b: &'static str), quote!(+ Send)));
    assert!(holds(quote!(), quote!(a: &str), quote!(+ Send + '_)));
    assert!(holds(quote!(<'a>), quote!(a: &'a str), quote!(+ 'a)));
    assert!(!holds(quote!(), quote!(a: &str), quote!()));
    assert!(!holds(quote!(), quote!(a: Option<Cow<'_, str>>), quote!(+ 'static)));
    assert!(!holds(quote!(<'a>), quote!(a: View<'a>), quote!()));
    assert!(!holds(quote!(<'a>), quote!(a: &'a str, b: &str), quote!(+ 'a)));
    assert!(
        flow(quote!(
            fn f(a: &str) -> impl Future<Output = Run> + use<> {}
        ))
        .1
    );
    assert!(
        !flow(quote!(
            fn f<'a>(a: &'a str) -> impl Future<Output = Run> + use<'a> {}
        ))
        .1
    );
}

#[test]
fn an_expectation_stands_where_it_comes_true() {
    let expanded = |args: TokenStream| {
        let item = quote!(
            #[expect(dead_code, unused_mut, unused, reason = "why")]
            fn user(#[expect(unused_variables)] id: u64) {}
        );
        cached_function(args, item).to_string().replace(' ', "")
    };
    let function = r#"#[expect(dead_code,reason="why")]#[allow(unused_mut,unused,reason="why")]fnuser(#[allow(unused_variables)]id:u64)"#;
    let body = r#"#[expect(unused_mut,reason="why")]#[allow(dead_code,unused,reason="why")]fnuncached(#[expect(unused_variables)]id:u64)"#;
    let text = expanded(quote!());
    assert!(text.starts_with(function) && text.contains(body), "{text}");
    assert_eq!(text.matches("#[expect(").count(), 3, "{text}");
    let text = expanded(quote!(companions = false));
    assert!(text.starts_with(function), "{text}");
    assert_eq!(text.matches("#[expect(").count(), 1, "{text}");
}

#[test]
fn what_is_hidden_has_hidden_companions() {
    let expanded = |item: TokenStream| cached_function(quote!(skip()), item).to_string().replace(' ', "");
    let text = expanded(quote!(
        #[doc(hidden)]
        pub fn user() {}
    ));
    assert!(text.contains("#[doc(hidden)]pubstructuser"), "{text}");
    let text = expanded(quote!(
        #[doc(hidden)]
        pub fn user() -> Self {}
    ));
    assert!(text.starts_with("#[doc(hidden)]pubfnuser()"), "{text}");
    assert!(text.contains("#[doc(hidden)]#[forbid(dead_code)]pubfnuser_uncached()"), "{text}");
    assert!(text.contains("attrs:[#[doc(hidden)]#[forbid(dead_code)]]"), "{text}");
}
