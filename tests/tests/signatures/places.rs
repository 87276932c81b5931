//! Functions wherever a function can stand: in functions, in impls inside functions, made by `macro_rules!`, beside a
//! module of the same name, in another namespace of identifiers.

use std::collections::HashMap;

use cache_runtime::cached;

use super::{Run, assert_ran, on};

/// The runtime under a path of the application's own.
mod kit {
    pub(super) mod cache {
        pub(crate) use cache_runtime::*;
    }
}

/// Functions whose every part is made from fragments.
macro_rules! getters {
    (
        $backend:literal, $ttl:expr, $negative:literal, $version:expr;
        $([$($asyncness:tt)?] $vis:vis fn $name:ident($arg:ident: $ty:ty) -> $ret:ty $body:block)*
    ) => {$(
        #[cached(backend = $backend, ttl = $ttl, version = $version, negative_ttl = $negative, cache_err = true)]
        $vis $($asyncness)? fn $name($arg: $ty) -> $ret $body
    )*};
}

macro_rules! keyed {
    ($backend:literal, $name:ident, $companions:ident, $pattern:pat, $ty:ty, $ret:ty, $key:expr, $body:expr) => {
        #[cached(backend = $backend, key = $key, companions = $companions)]
        fn $name($pattern: $ty) -> $ret {
            let wrapped: $ret = $body;
            wrapped
        }
    };
}

macro_rules! method {
    ($backend:literal, $self:ident, $receiver:ty, $name:ident, $skipped:ident, $key:expr, $body:expr) => {
        #[cached(backend = $backend, key = $key)]
        fn $name($self: $receiver, $skipped: u64) -> Run {
            let _ = $skipped;
            $body
        }
    };
}

macro_rules! whole_item {
    ($backend:literal, $item:item) => {
        #[cached(backend = $backend)]
        $item
    };
}

/// Its own names beside the caller's of the same spelling.
macro_rules! hygienic {
    ($backend:literal, $name:ident, $value:ident) => {
        #[cached(backend = $backend)]
        fn $name($value: u64, value: u64) -> Run {
            let __key = $value + value;
            run!("{__key} {} {}", $value, value)
        }
    };
}

macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            $($asyncness)? fn outer(n: u64) -> (Run, Run) {
                #[cached(backend = $backend)]
                $($asyncness)? fn inner(n: u64) -> Run {
                    run!("outer {n}")
                }

                struct Local(u64);

                impl Local {
                    #[cached(backend = $backend, key = (self.0, n))]
                    $($asyncness)? fn inner(&self, n: u64) -> Run {
                        run!("{} {n}", self.0)
                    }

                    #[cached(backend = $backend)]
                    $($asyncness)? fn new(n: u64) -> Option<Run> where Self: Sized {
                        Some(run!("new {n}"))
                    }
                }

                assert_eq!(Local::new(n)$($wait)*, Local::new(n)$($wait)*);
                let name = Local::new_stats().function;
                assert!(name.contains("::outer::") && name.ends_with("::Local::new"), "{name}");
                let name = inner::stats().function;
                assert!(name.contains("::outer::") && name.ends_with("::inner"), "{name}");
                (inner(n)$($wait)*, Local(7).inner(n)$($wait)*)
            }

            $($asyncness)? fn other(n: u64) -> (Run, Run) {
                #[cached(backend = $backend)]
                $($asyncness)? fn inner(n: u64) -> Run {
                    run!("other {n}")
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn has_items_inside(n: u64) -> Run {
                    /// The `Self` of an item in the body is not the function's.
                    struct Inside(u64);

                    impl Inside {
                        fn new(n: u64) -> Self {
                            Self(n)
                        }
                    }

                    trait Double: Sized {
                        fn double(self) -> Self;
                    }

                    impl Double for Inside {
                        fn double(self) -> Self {
                            Self(self.0 * 2)
                        }
                    }

                    run!("inside {}", Inside::new(n).double().0)
                }

                (inner(n)$($wait)*, has_items_inside(n)$($wait)*)
            }

            #[test]
            fn inside_of_functions() {
                on($backend, |_| async {
                    distinct! {
                        outer(1)$($wait)*.0 => "outer 1",
                        outer(2)$($wait)*.0 => "outer 2",
                        outer(1)$($wait)*.1 => "7 1",
                        outer(2)$($wait)*.1 => "7 2",
                        other(1)$($wait)*.0 => "other 1",
                        other(1)$($wait)*.1 => "inside 2",
                    };
                });
            }

            getters! {
                $backend, 60, 5, 1;
                [$($asyncness)?] fn first(id: u64) -> Result<Run, String> { Ok(run!("first {id}")) }
                [$($asyncness)?] pub(super) fn second(text: &str) -> Result<Run, String> { (!text.is_empty()).then(|| run!("{text}")).ok_or(run!("").number.to_string()) }
                [$($asyncness)?] pub(crate) fn third(pairs: &[(u8, Option<&str>)]) -> Result<Run, String> { Ok(run!("{pairs:?}")) }
                [$($asyncness)?] fn fourth(bytes: [u8; 40]) -> Result<Option<Run>, String> { Ok(Some(run!("{}", bytes[39]))) }
                [$($asyncness)?] fn fifth(map: HashMap<u8, u8>) -> Result<Vec<Run>, ()> { Ok(vec![run!("{map:?}")]) }
            }

            #[test]
            fn made_by_a_macro() {
                on($backend, |_| async {
                    distinct! {
                        first(1)$($wait)*.unwrap() => "first 1",
                        first(2)$($wait)*.unwrap() => "first 2",
                        second("a")$($wait)*.unwrap() => "a",
                        third(&[(1, Some("a"))])$($wait)*.unwrap() => "[(1, Some(\"a\"))]",
                        third(&[(1, None)])$($wait)*.unwrap() => "[(1, None)]",
                        fourth([1; 40])$($wait)*.unwrap().unwrap() => "1",
                        fourth([2; 40])$($wait)*.unwrap().unwrap() => "2",
                        fifth([(1, 2)].into())$($wait)*.unwrap().remove(0) => "{1: 2}",
                    };
                    let error = second("")$($wait)*;
                    assert!(error.is_err() && error == second("")$($wait)*, "{error:?}");
                    assert_ran(&second::stats(), 2, 2);
                    assert!(first::key(1).contains("::first:1:"), "{}", first::key(1));
                    fourth::insert([1; 40], Ok(Some(run!("put"))))$($wait)*.unwrap();
                    assert_eq!(fourth([1; 40])$($wait)*.unwrap().unwrap().of, "put");
                });
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn r#match(r#type: u64, r#fn: &str) -> Run {
                run!("{type} {fn}")
            }

            #[cached(backend = $backend, key = "{r#type}/{r#fn}")]
            $($asyncness)? fn r#loop(r#type: u64, r#fn: &str) -> Run {
                run!("{type} {fn}")
            }

            #[cached(backend = $backend, skip(r#fn), companions = r#struct)]
            $($asyncness)? fn r#plain(r#type: u64, r#fn: &str) -> Run {
                run!("{type} {fn}")
            }

            struct Raw;

            impl Raw {
                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn r#match(&self, r#in: u64) -> Run {
                    run!("{in}")
                }
            }

            #[test]
            fn raw_identifiers() {
                on($backend, |_| async {
                    distinct! {
                        r#match(1, "a")$($wait)* => "1 a",
                        r#match(2, "a")$($wait)* => "2 a",
                        r#loop(1, "a")$($wait)* => "1 a",
                        r#loop(1, "b")$($wait)* => "1 b",
                        plain(1, "a")$($wait)* => "1 a",
                        Raw.r#match(1)$($wait)* => "1",
                    };
                    assert_eq!(r#match::peek(1, "a")$($wait)*.unwrap().unwrap().of, "1 a");
                    assert_eq!(r#struct::peek(1)$($wait)*.unwrap().unwrap().of, "1 a");
                    assert_eq!(Raw::match_peek(1)$($wait)*.unwrap().unwrap().of, "1");
                    assert!(r#match::stats().function.ends_with("::match"));
                });
            }

            /// Beside a function of the same name.
            mod load {
                pub(super) const NAME: &str = "module";
            }

            #[cached(backend = $backend, companions = loading)]
            $($asyncness)? fn load(n: u64) -> Run {
                run!("{} {n}", load::NAME)
            }

            #[cached(backend = $backend, crate = crate::places::kit::cache)]
            $($asyncness)? fn through_a_path(n: u64) -> Result<Run, String> {
                Ok(run!("{n}"))
            }

            mod inside {
                use super::*;

                #[cached(backend = $backend)]
                pub(in super::super) $($asyncness)? fn visible(n: u64) -> Run {
                    run!("{n}")
                }

                pub(crate) struct Service;

                impl Service {
                    #[cached(backend = $backend, skip(self))]
                    pub(crate) $($asyncness)? fn visible(&self, n: u64) -> Run {
                        run!("{n}")
                    }
                }
            }

            #[test]
            fn names_and_visibility() {
                on($backend, |_| async {
                    distinct! {
                        load(1)$($wait)* => "module 1",
                        load(2)$($wait)* => "module 2",
                        through_a_path(1)$($wait)*.unwrap() => "1",
                        inside::visible(1)$($wait)* => "1",
                        inside::Service.visible(1)$($wait)* => "1",
                    };
                    assert_eq!(loading::peek(1)$($wait)*.unwrap().unwrap().of, "module 1");
                    assert_eq!(through_a_path::peek(1)$($wait)*.unwrap().unwrap().of, "1");
                    assert_eq!(inside::visible::peek(1)$($wait)*.unwrap().unwrap().of, "1");
                    assert_eq!(inside::Service::visible_peek(1)$($wait)*.unwrap().unwrap().of, "1");
                });
            }
        }
    };
}

every_backend!(suite);

/// Fragments in all places, with bodies that only a blocking function can have.
mod fragments {
    use super::*;

    macro_rules! suite {
        ($module:ident, $backend:literal) => {
            mod $module {
                use super::*;

                keyed!($backend, by_expression, by, (a, _), (u64, u64), Run, a, run!("{a}"));
                keyed!($backend, by_tuple, by_two, mut b, u64, Option<Run>, (b, "constant"), {
                    b += 1;
                    Some(run!("{b}"))
                });
                keyed!($backend, by_operators, by_tens, n, u64, Run, (n / 10, n > 50), run!("{n}"));
                keyed!($backend, by_template, by_text, name, &str, Result<Run, String>, "x:{name}", Ok(run!("{name}")));

                whole_item!(
                    $backend,
                    /// Documented, and more.
                    #[allow(clippy::ptr_arg)]
                    pub(super) fn item<T: Clone + serde::Serialize>(values: &Vec<T>) -> Run {
                        run!("{}", values.len())
                    }
                );

                hygienic!($backend, twice, value);

                struct Repo(u64);

                impl Repo {
                    method!($backend, self, &Self, by_ref, n, (self.0, n), run!("{} {}", self.0, n));
                    method!($backend, self, Box<Self>, by_box, n, (n, self.0), run!("{} {}", self.0, n));
                }

                #[test]
                fn fragments_in_all_places() {
                    on($backend, |_| async {
                        distinct! {
                            by_expression((1, 2)) => "1",
                            by_expression((2, 2)) => "2",
                            by_tuple(1).unwrap() => "2",
                            by_tuple(2).unwrap() => "3",
                            by_operators(11) => "11",
                            by_operators(51) => "51",
                            by_template("a").unwrap() => "a",
                            by_template("b").unwrap() => "b",
                            item(&vec![1_u8]) => "1",
                            item(&vec![1_i8]) => "1",
                            twice(1, 2) => "3 1 2",
                            twice(2, 1) => "3 2 1",
                            Repo(1).by_ref(1) => "1 1",
                            Repo(2).by_ref(1) => "2 1",
                            Box::new(Repo(1)).by_box(1) => "1 1",
                            Box::new(Repo(1)).by_box(2) => "1 2",
                        };
                        assert_eq!(by_expression((1, 9)), by_expression((1, 2)));
                        assert_eq!(by_operators(19).of, "11");
                        assert_eq!(by::peek((1, 0)).unwrap().unwrap().of, "1");
                        assert_eq!(twice::peek(2, 1).unwrap().unwrap().of, "3 2 1");
                        assert_eq!(Repo(2).by_ref_peek(1).unwrap().unwrap().of, "2 1");
                        assert!(by_text::key("a").ends_with(":x:a"), "{}", by_text::key("a"));
                    });
                }
            }
        };
    }

    each_kind!(suite);
}
