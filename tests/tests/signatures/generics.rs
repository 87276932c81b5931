//! Type, const and lifetime parameters, and `impl Trait`: no two instantiations share an entry.

use std::any::type_name;
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use cache_runtime::cached;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Run, assert_own_runs, assert_ran, on, run};

/// Two types whose values look the same, stored and as arguments.
mod left {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct Same(pub(super) Run);
}

mod right {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct Same(pub(super) Run);
}

trait Make {
    fn make(run: Run) -> Self;
}

impl Make for left::Same {
    fn make(run: Run) -> Self {
        Self(run)
    }
}

impl Make for right::Same {
    fn make(run: Run) -> Self {
        Self(run)
    }
}

/// Arguments of the same canonical bytes.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
struct Metres(u64);

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(transparent)]
struct Miles(u64);

trait Stored: Clone + Send + Sync + Serialize + DeserializeOwned + 'static {}
impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Stored for T {}

macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[cached(backend = $backend)]
            $($asyncness)? fn by_value<T: Debug + Serialize>(value: T) -> Run {
                run!("{value:?}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn by_reference<T>(value: &T, others: &[T]) -> Run
            where
                T: Debug + Serialize + ?Sized + Clone,
            {
                run!("{value:?} {others:?}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn unsized_too<T: Debug + Serialize + ?Sized>(value: &T) -> Run {
                run!("{value:?}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn in_nothing<T, U: ?Sized>(n: u64) -> Run {
                run!("{} {} {n}", type_name::<T>(), type_name::<U>())
            }

            #[cached(backend = $backend, key = "{n}")]
            $($asyncness)? fn by_template<T>(n: u64) -> Run {
                run!("{} {n}", type_name::<T>())
            }

            #[cached(backend = $backend, companions = false)]
            $($asyncness)? fn bare<T>(n: u64) -> Run {
                run!("{} {n}", type_name::<T>())
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn made<T: Make + Stored>(n: u64) -> T {
                T::make(run!("{n}"))
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn parsed<T, E>(text: &str) -> Result<Option<T>, E>
            where
                T: std::str::FromStr<Err = E> + Stored,
            {
                if text.is_empty() {
                    return Ok(None);
                }
                Ok(Some(text.parse()?))
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn sized<const N: usize, const YES: bool>(bytes: [u8; N]) -> Run {
                run!("{N} {YES} {}", bytes.len())
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn constant<const N: i8, const C: char>() -> Run {
                run!("{N} {C}")
            }

            #[cached(backend = $backend, key = "{a}")]
            $($asyncness)? fn constant_template<const N: usize>(a: u8) -> Run {
                run!("{N} {a}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn lifetimes<'a, 'b: 'a>(a: &'a str, b: Option<&'b str>) -> Run
            where
                'b: 'a,
            {
                run!("{a} {b:?}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn lifetime_and_type<'a, T: Debug + Serialize + 'a>(a: &'a T) -> Run {
                run!("{} {a:?}", type_name::<T>())
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn anything(value: impl Debug + Serialize, other: &[impl Debug + Serialize], text: impl AsRef<str> + Serialize) -> Run
            where
                u8: Copy,
            {
                run!("{value:?} {other:?} {}", text.as_ref())
            }

            #[cached(backend = $backend, key = (n, shown.to_string()), companions = false)]
            $($asyncness)? fn anything_bare(n: u64, shown: impl Display) -> Run {
                run!("{shown} {n}")
            }

            #[cached(backend = $backend, skip(make))]
            $($asyncness)? fn skipped_impl(n: u64, make: impl FnOnce(u64) -> u64) -> Run {
                run!("{}", make(n))
            }

            #[cached(backend = $backend, skip(make))]
            $($asyncness)? fn skipped_parameter<F>(n: u64, mut make: F) -> Run
            where
                F: FnMut(u64) -> u64,
            {
                run!("{}", make(n))
            }

            #[test]
            fn types_in_arguments() {
                on($backend, |_| async {
                    distinct! {
                        by_value(1_u8)$($wait)* => "1",
                        by_value(1_i8)$($wait)* => "1",
                        by_value("1")$($wait)* => "\"1\"",
                        by_value("1".to_owned())$($wait)* => "\"1\"",
                        by_value(Metres(1))$($wait)* => "Metres(1)",
                        by_value(Miles(1))$($wait)* => "Miles(1)",
                        by_value(Miles(2))$($wait)* => "Miles(2)",
                        by_reference(&Metres(1), &[])$($wait)* => "Metres(1) []",
                        by_reference(&Miles(1), &[])$($wait)* => "Miles(1) []",
                        by_reference(&Miles(1), &[Miles(1)])$($wait)* => "Miles(1) [Miles(1)]",
                        unsized_too("a")$($wait)* => "\"a\"",
                        unsized_too(&[97_u8][..])$($wait)* => "[97]",
                    };
                    assert_eq!(by_value::peek(Miles(2))$($wait)*.unwrap().unwrap().of, "Miles(2)");
                    assert_ne!(by_value::key(Miles(1)), by_value::key(Metres(1)));
                    assert_ran(&by_value::stats(), 7, 7);
                });
            }

            #[test]
            fn types_in_nothing_but_the_turbofish() {
                on($backend, |_| async {
                    distinct! {
                        in_nothing::<u8, str>(1)$($wait)* => "u8 str 1",
                        in_nothing::<i8, str>(1)$($wait)* => "i8 str 1",
                        in_nothing::<u8, [u8]>(1)$($wait)* => "u8 [u8] 1",
                        in_nothing::<u8, str>(2)$($wait)* => "u8 str 2",
                        by_template::<u8>(1)$($wait)* => "u8 1",
                        by_template::<i8>(1)$($wait)* => "i8 1",
                        bare::<u8>(1)$($wait)* => "u8 1",
                        bare::<i8>(1)$($wait)* => "i8 1",
                        made::<left::Same>(1)$($wait)*.0 => "1",
                        made::<right::Same>(1)$($wait)*.0 => "1",
                        made::<right::Same>(2)$($wait)*.0 => "2",
                    };
                    let left: left::Same = made(1)$($wait)*;
                    assert_eq!(made::peek(1)$($wait)*.unwrap(), Some(left));
                    made::invalidate::<left::Same>(1)$($wait)*.unwrap();
                    assert_eq!(made::peek::<left::Same>(1)$($wait)*.unwrap(), None);
                    assert_eq!(made::peek::<right::Same>(1)$($wait)*.unwrap().unwrap().0.of, "1");
                    made::insert(1, left::Same(run("put".to_owned())))$($wait)*.unwrap();
                    assert_eq!(made::<left::Same>(1)$($wait)*.0.of, "put");
                    assert_eq!(made::refresh::<right::Same>(1)$($wait)*.0.of, "1");
                    assert_ne!(by_template::key::<u8>(1), by_template::key::<i8>(1));
                });
            }

            #[test]
            fn types_of_results() {
                on($backend, |_| async {
                    for _ in 0..2 {
                        assert_eq!(parsed("1")$($wait)*, Ok(Some(1_u8)));
                        assert_eq!(parsed("1")$($wait)*, Ok(Some(1_u64)));
                        assert_eq!(parsed("1")$($wait)*, Ok(Some(1_f64)));
                        assert_eq!(parsed::<String, _>("1")$($wait)*, Ok(Some("1".to_owned())));
                    }
                    assert_ran(&parsed::stats(), 4, 4);
                    for _ in 0..2 {
                        assert!(parsed::<u8, _>("x")$($wait)*.is_err());
                        assert_eq!(parsed::<u8, _>("")$($wait)*, Ok(None));
                    }
                    assert_ran(&parsed::stats(), 8, 4);
                });
            }

            #[test]
            fn constants_and_lifetimes() {
                on($backend, |_| async {
                    distinct! {
                        sized::<2, true>([1, 1])$($wait)* => "2 true 2",
                        sized::<2, false>([1, 1])$($wait)* => "2 false 2",
                        sized::<2, false>([1, 2])$($wait)* => "2 false 2",
                        sized::<3, false>([1, 1, 1])$($wait)* => "3 false 3",
                        sized::<40, false>([1; 40])$($wait)* => "40 false 40",
                        sized::<0, false>([])$($wait)* => "0 false 0",
                        constant::<1, 'a'>()$($wait)* => "1 a",
                        constant::<{ -1 }, 'a'>()$($wait)* => "-1 a",
                        constant::<1, 'b'>()$($wait)* => "1 b",
                        constant_template::<1>(1)$($wait)* => "1 1",
                        constant_template::<2>(1)$($wait)* => "2 1",
                        lifetimes("a", None)$($wait)* => "a None",
                        lifetimes("a", Some("b"))$($wait)* => "a Some(\"b\")",
                        lifetime_and_type(&1_u8)$($wait)* => "u8 1",
                        lifetime_and_type(&1_i8)$($wait)* => "i8 1",
                        lifetime_and_type(&&1_i8)$($wait)* => "&i8 1",
                    };
                    assert_eq!(sized::peek::<2, true>([1, 1])$($wait)*.unwrap().unwrap().of, "2 true 2");
                    assert_eq!(constant::peek::<9, 'a'>()$($wait)*.unwrap(), None);
                });
            }

            #[test]
            fn impl_trait() {
                on($backend, |_| async {
                    distinct! {
                        anything(1_u8, &[1_u8], "a")$($wait)* => "1 [1] a",
                        anything(1_i8, &[1_u8], "a")$($wait)* => "1 [1] a",
                        anything(Metres(1), &[1_u8], "a")$($wait)* => "Metres(1) [1] a",
                        anything(Miles(1), &[1_u8], "a")$($wait)* => "Miles(1) [1] a",
                        anything(1_u8, &[Metres(1)], "a")$($wait)* => "1 [Metres(1)] a",
                        anything(1_u8, &[Miles(1)], "a")$($wait)* => "1 [Miles(1)] a",
                        anything(1_u8, &[0_u8; 0], "a")$($wait)* => "1 [] a",
                        anything(1_u8, &[Miles(1); 0], "a")$($wait)* => "1 [] a",
                        anything(1_u8, &[1_u8], String::from("a"))$($wait)* => "1 [1] a",
                        anything(1_u8, &[1_u8], String::from("b"))$($wait)* => "1 [1] b",
                        anything_bare(1, 7)$($wait)* => "7 1",
                        anything_bare(2, 7)$($wait)* => "7 2",
                        skipped_impl(1, |n| n + 1)$($wait)* => "2",
                        skipped_impl(2, |n| n + 1)$($wait)* => "3",
                    };
                    assert_eq!(skipped_impl(1, |n| n + 9)$($wait)*.of, "2", "the closure is skipped");
                    assert_eq!(skipped_impl::peek(2)$($wait)*.unwrap().unwrap().of, "3");
                    assert_eq!(anything::peek(1_u8, &[Miles(1)], "a")$($wait)*.unwrap().unwrap().of, "1 [Miles(1)] a");
                });
            }

            #[cached(backend = $backend, skip(make))]
            $($asyncness)? fn whatever<R: Stored>(_n: u64, make: fn() -> R) -> R {
                make()
            }

            #[cached(backend = $backend, skip(make))]
            $($asyncness)? fn fallible<T: Stored>(_n: u64, make: fn() -> T) -> Result<T, String> {
                Ok(make())
            }

            struct Source(fn() -> Option<u8>);

            trait Load {
                type Loaded: Stored;
                fn make(&self) -> Self::Loaded;
            }

            impl Load for Source {
                type Loaded = Option<u8>;
                fn make(&self) -> Option<u8> {
                    (self.0)()
                }
            }

            struct Loader<L>(L);

            impl<L: Load> Loader<L> {
                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn load(&self) -> L::Loaded where L: Sized {
                    self.0.make()
                }
            }

            /// A parameter may stand for what is a failure, and nothing tells the macro.
            #[test]
            fn failures_that_a_parameter_hides() {
                on($backend, |_| async {
                    type Tried = Result<u8, String>;
                    assert_eq!(whatever(1, || None::<u8>)$($wait)*, None);
                    assert_eq!(whatever(1, || Some(1_u8))$($wait)*, Some(1));
                    assert_eq!(whatever(1, || Some(2_u8))$($wait)*, Some(2));
                    assert_eq!(whatever::<Tried>(1, || Err("no".to_owned()))$($wait)*, Err("no".to_owned()));
                    assert_eq!(whatever::<Tried>(1, || Ok(1))$($wait)*, Ok(1));
                    assert_eq!((whatever(1, || 1_u8)$($wait)*, whatever(1, || 2_u8)$($wait)*), (1, 1));
                    let stats = whatever::stats();
                    assert_eq!((stats.runs, stats.hits, stats.errors), (6, 1, 5), "{stats}");

                    assert_eq!(fallible(1, || None::<u8>)$($wait)*, Ok(None));
                    assert_eq!(fallible(1, || Some(1_u8))$($wait)*, Ok(Some(1)));
                    assert_eq!((fallible(1, || 1_u8)$($wait)*, fallible(1, || 2_u8)$($wait)*), (Ok(1), Ok(1)));

                    assert_eq!(Loader(Source(|| None)).load()$($wait)*, None);
                    assert_eq!(Loader(Source(|| Some(1))).load()$($wait)*, Some(1));
                });
            }

            $($asyncness)? fn local_types() -> [Run; 4] {
                let first = {
                    struct Local;
                    [in_nothing::<Local, ()>(1)$($wait)*, by_template::<Local>(1)$($wait)*]
                };
                let second = {
                    struct Local;
                    [in_nothing::<Local, ()>(1)$($wait)*, by_template::<Local>(1)$($wait)*]
                };
                let ([a, b], [c, d]) = (first, second);
                [a, b, c, d]
            }

            /// On a server types are known by their names; what has none of its own is not cached there.
            #[test]
            fn types_without_names_of_their_own() {
                fn plus(n: u64) -> u64 {
                    n + 100
                }
                on($backend, |_| async {
                    for _ in 0..2 {
                        for (n, sum) in [(1, "2"), (2, "3")] {
                            assert_eq!(skipped_parameter(n, |n| n + 1)$($wait)*.of, sum);
                        }
                        assert_eq!(skipped_parameter(1, |n| n + 10)$($wait)*.of, "11");
                        assert_eq!(skipped_parameter(1, Some(|n| n + 20).unwrap())$($wait)*.of, "21");
                        assert_eq!(skipped_parameter(1, plus)$($wait)*.of, "101");
                    }
                    let stats = skipped_parameter::stats();
                    let expected = if $backend == "memory" { (5, 5, 0) } else { (9, 1, 8) };
                    assert_eq!((stats.runs, stats.hits, stats.errors), expected, "{stats}");

                    assert_own_runs(&local_types()$($wait)*);
                    assert_own_runs(&local_types()$($wait)*);
                });
            }

            #[derive(Clone, Copy, Serialize)]
            struct View<'a, T: ?Sized> {
                text: &'a str,
                of: PhantomData<T>,
            }

            impl<'a, T: ?Sized> View<'a, T> {
                #[cached(backend = $backend, key = (self.text, n))]
                $($asyncness)? fn method(&self, n: u64) -> Run {
                    run!("{} {n}", self.text)
                }

                #[cached(backend = $backend, key = (self, more))]
                $($asyncness)? fn whole<'b>(&'b self, more: &'b [&'a str]) -> Run
                where
                    'a: 'b,
                {
                    run!("{} {more:?}", self.text)
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn joined(a: View<'a, T>, b: &View<'_, str>) -> Option<Run> where Self: Sized {
                    Some(run!("{}{}", a.text, b.text))
                }
            }

            #[test]
            fn impls_with_lifetimes() {
                on($backend, |_| async {
                    let text = String::from("ab");
                    let (a, b) = (View::<u8> { text: &text[..1], of: PhantomData }, View::<u8> { text: &text[1..], of: PhantomData });
                    let other = View::<str> { text: "a", of: PhantomData };
                    distinct! {
                        a.method(1)$($wait)* => "a 1",
                        b.method(1)$($wait)* => "b 1",
                        other.method(1)$($wait)* => "a 1",
                        a.whole(&[&text])$($wait)* => "a [\"ab\"]",
                        a.whole(&["a", "b"])$($wait)* => "a [\"a\", \"b\"]",
                        b.whole(&[])$($wait)* => "b []",
                        View::joined(a, &other)$($wait)*.unwrap() => "aa",
                        View::joined(b, &other)$($wait)*.unwrap() => "ba",
                        View::joined(View::<str> { ..other }, &other)$($wait)*.unwrap() => "aa",
                    };
                    assert_eq!(a.method_peek(1)$($wait)*.unwrap().unwrap().of, "a 1");
                });
            }
        }
    };
}

every_backend!(suite);
