//! Qualifiers and attributes, the function's own and other macros', in any order.

use std::sync::{Arc, Mutex};

use cache_runtime::cached;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, instrument};

use super::{Run, assert_ran, on};

/// Notes the name of each span.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<&'static str>>>);

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.lock().unwrap().push(span.metadata().name());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            /// Documented.
            #[inline]
            #[doc(hidden)]
            #[cfg_attr(all(), doc = "And more.")]
            #[cached(backend = $backend)]
            /// Documented further.
            #[must_use]
            $($asyncness)? fn decorated(n: u64) -> Run {
                //! Documented inside.
                #![allow(unused_variables)]
                let unused = n;
                run!("{n}")
            }

            #[deprecated = "for the test"]
            #[cached(backend = $backend)]
            $($asyncness)? fn old(n: u64) -> Run {
                run!("{n}")
            }

            #[cached(backend = $backend)]
            #[expect(unused_variables)]
            $($asyncness)? fn expecting(n: u64) -> Run {
                let expected = n;
                run!("{n}")
            }

            #[expect(unused_variables, unused_mut, reason = "neither is used")]
            #[cached(backend = $backend, companions = false)]
            $($asyncness)? fn expecting_bare(n: u64, mut of_no_use: u64) -> Run {
                run!("{n}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn expecting_of_arguments(
                n: u64,
                #[expect(unused_variables)] unused: u64,
                #[expect(unused_mut, reason = "it never changes")] mut constant: u64,
                #[expect(unused_variables)] (one, other): (u64, u64),
            ) -> Run {
                run!("{n} {constant}")
            }

            #[cached(backend = $backend, skip(unused), companions = false)]
            $($asyncness)? fn expecting_of_arguments_bare(
                n: u64,
                #[expect(unused_variables)] unused: u64,
                #[expect(unused_mut, reason = "it never changes")] mut constant: u64,
                #[expect(unused_variables)] (one, other): (u64, u64),
            ) -> Run {
                run!("{n} {constant}")
            }

            #[expect(unused_variables)]
            #[cached(backend = $backend, companions = false)]
            $($asyncness)? fn expecting_of_the_key(n: u64, unused: u64) -> Run {
                run!("{n}")
            }

            #[expect(non_snake_case)]
            #[cached(backend = $backend)]
            $($asyncness)? fn Expecting(n: u64) -> Run {
                run!("{n}")
            }

            #[expect(unused)]
            #[cached(backend = $backend)]
            $($asyncness)? fn expecting_either(n: u64) -> Run {
                run!("{n}")
            }

            #[allow(non_snake_case, clippy::too_many_arguments)]
            #[cached(backend = $backend)]
            $($asyncness)? fn Shouting(A: u8, B: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> Run {
                run!("{A}{B}{c}{d}{e}{f}{g}{h}")
            }

            #[cached(backend = $backend)]
            #[cfg(any())]
            $($asyncness)? fn configured(n: u64) -> NoSuchType {
                run!("never {n}")
            }

            #[cfg(all())]
            #[cached(backend = $backend)]
            #[cfg(not(any()))]
            $($asyncness)? fn configured(n: u64) -> Run {
                run!("always {n}")
            }

            #[expect(dead_code, unused_variables)]
            #[cached(backend = $backend)]
            $($asyncness)? fn never_called(n: u64) -> Run {
                run!("")
            }

            struct Service(u64);

            impl Service {
                /// Documented.
                #[inline(always)]
                #[doc(hidden)]
                #[must_use]
                #[cached(backend = $backend, key = self.0)]
                #[expect(unused_variables)]
                $($asyncness)? fn decorated(&self) -> Run {
                    let expected = 1;
                    run!("{}", self.0)
                }

                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn expecting(
                    #[expect(unused_mut)] mut self,
                    #[expect(unused_variables)] unused: u64,
                ) -> Run {
                    run!("{}", self.0)
                }

                #[deprecated]
                #[cached(backend = $backend)]
                #[allow(non_snake_case)]
                $($asyncness)? fn Old(this: &Self) -> Run where Self: serde::Serialize {
                    run!("{}", this.0)
                }

                #[cfg(any())]
                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn configured(&self, n: NoSuchType) -> Run {
                    run!("never")
                }

                #[cached(backend = $backend, skip(self))]
                #[cfg(any())]
                $($asyncness)? fn configured(&self, n: NoSuchType) -> Run {
                    run!("never")
                }

                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn configured(&self, n: u64) -> Run {
                    run!("always {n}")
                }
            }

            impl serde::Serialize for Service {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    self.0.serialize(serializer)
                }
            }

            #[test]
            fn attributes() {
                on($backend, |_| async {
                    distinct! {
                        decorated(1)$($wait)* => "1",
                        decorated(2)$($wait)* => "2",
                        #[expect(deprecated, reason = "callers are told")]
                        { old(1)$($wait)* } => "1",
                        expecting(1)$($wait)* => "1",
                        expecting_bare(1, 1)$($wait)* => "1",
                        expecting_bare(1, 2)$($wait)* => "1",
                        expecting_of_arguments(1, 2, 3, (4, 5))$($wait)* => "1 3",
                        expecting_of_arguments_bare(1, 2, 3, (4, 5))$($wait)* => "1 3",
                        expecting_of_the_key(1, 2)$($wait)* => "1",
                        Expecting(1)$($wait)* => "1",
                        Service(1).expecting(2)$($wait)* => "1",
                        Shouting(1, 2, 3, 4, 5, 6, 7, 8)$($wait)* => "12345678",
                        configured(1)$($wait)* => "always 1",
                        configured(2)$($wait)* => "always 2",
                        Service(1).decorated()$($wait)* => "1",
                        Service(2).decorated()$($wait)* => "2",
                        #[expect(deprecated, reason = "callers are told")]
                        { Service::Old(&Service(1))$($wait)* } => "1",
                        Service(1).configured(1)$($wait)* => "always 1",
                    };
                    assert_ran(&decorated::stats(), 2, 2);
                    assert_ran(&configured::stats(), 2, 2);
                });
            }

            #[instrument]
            #[cached(backend = $backend)]
            $($asyncness)? fn traced_outside(n: u64, text: &str) -> Result<Run, String> {
                let n = n.checked_add(1).ok_or("overflow")?;
                Ok(run!("{n} {text}"))
            }

            #[cached(backend = $backend)]
            #[instrument(skip(text), fields(length = text.len()), ret, err)]
            $($asyncness)? fn traced_inside(n: u64, text: &str) -> Result<Run, String> {
                let n = n.checked_add(1).ok_or("overflow")?;
                Ok(run!("{n} {text}"))
            }

            #[cached(backend = $backend, companions = false)]
            #[tracing::instrument(level = "debug")]
            $($asyncness)? fn traced_bare((a, _): (u64, u64)) -> Run {
                run!("{a}")
            }

            impl Service {
                #[tracing::instrument(skip_all)]
                #[cached(backend = $backend, key = (self.0, n))]
                $($asyncness)? fn traced_outside(&self, n: u64) -> Run {
                    run!("{} {n}", self.0)
                }

                #[cached(backend = $backend, key = (self.0, n))]
                #[tracing::instrument(skip(self), fields(id = self.0))]
                $($asyncness)? fn traced_inside(&mut self, n: u64) -> Run {
                    run!("{} {n}", self.0)
                }
            }

            #[test]
            fn instrumented() {
                on($backend, |_| async {
                    let spans = Spans::default();
                    let guard = tracing::subscriber::set_default(spans.clone());
                    distinct! {
                        traced_outside(1, "a")$($wait)*.unwrap() => "2 a",
                        traced_outside(2, "a")$($wait)*.unwrap() => "3 a",
                        traced_inside(1, "a")$($wait)*.unwrap() => "2 a",
                        traced_inside(1, "b")$($wait)*.unwrap() => "2 b",
                        traced_bare((1, 2))$($wait)* => "1",
                        traced_bare((1, 3))$($wait)* => "1",
                        Service(1).traced_outside(1)$($wait)* => "1 1",
                        Service(2).traced_outside(1)$($wait)* => "2 1",
                        Service(1).traced_inside(1)$($wait)* => "1 1",
                        Service(2).traced_inside(1)$($wait)* => "2 1",
                    };
                    assert!(traced_outside(u64::MAX, "a")$($wait)*.is_err());
                    drop(guard);
                    // An `#[instrument]` above `#[cached]` sees the body run, one below it sees every call.
                    let count = |name| spans.0.lock().unwrap().iter().filter(|span| **span == name).count();
                    assert_eq!((count("traced_outside"), count("traced_inside")), (5, 8));
                });
            }
        }
    };
}

every_backend!(suite);

/// Lints of the crate don't allow `unsafe` elsewhere.
#[allow(unsafe_code)]
mod unsafety {
    use super::*;

    macro_rules! suite {
        ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
            mod $module {
                use super::*;

                /// # Safety
                /// `n` is less than three.
                #[cached(backend = $backend)]
                $($asyncness)? unsafe fn unchecked(n: usize) -> Run {
                    let names = ["zero", "one", "two"];
                    // SAFETY: as the caller promised.
                    run!("{}", unsafe { names.get_unchecked(n) })
                }

                /// # Safety
                /// `n` is less than three.
                #[cached(backend = $backend, companions = false)]
                $($asyncness)? unsafe fn unchecked_bare(n: usize) -> Run {
                    let names = ["zero", "one", "two"];
                    // SAFETY: as the caller promised.
                    run!("{}", unsafe { names.get_unchecked(n) })
                }

                struct Table(Vec<u64>);

                impl Table {
                    /// # Safety
                    /// There are more than `n`.
                    #[cached(backend = $backend, key = (self.0, n))]
                    $($asyncness)? unsafe fn unchecked(&self, n: usize) -> Option<Run> {
                        // SAFETY: as the caller promised.
                        Some(run!("{}", unsafe { self.0.get_unchecked(n) }))
                    }
                }

                #[test]
                fn unsafe_functions() {
                    on($backend, |_| async {
                        // SAFETY: there are so many.
                        unsafe {
                            distinct! {
                                unchecked(1)$($wait)* => "one",
                                unchecked(2)$($wait)* => "two",
                                unchecked_bare(1)$($wait)* => "one",
                                unchecked_bare(2)$($wait)* => "two",
                                Table(vec![7, 8]).unchecked(0)$($wait)*.unwrap() => "7",
                                Table(vec![7, 8]).unchecked(1)$($wait)*.unwrap() => "8",
                            };
                            assert_eq!(unchecked::refresh(1)$($wait)*.of, "one");
                        }
                        // What runs no body asks for no promise.
                        assert_eq!(unchecked::peek(1)$($wait)*.unwrap().unwrap().of, "one");
                        unchecked::invalidate(1)$($wait)*.unwrap();
                        Table(vec![7]).unchecked_insert(9, run!("put"))$($wait)*.unwrap();
                    });
                }
            }
        };
    }

    every_backend!(suite);

    mod foreign {
        use super::*;

        macro_rules! suite {
            ($module:ident, $backend:literal) => {
                mod $module {
                    use super::*;

                    #[cached(backend = $backend)]
                    extern "C" fn foreign(n: u64) -> f64 {
                        n as f64 + next()
                    }

                    #[cached(backend = $backend, companions = false)]
                    pub(super) unsafe extern "C" fn foreign_bare(n: u64) -> f64 {
                        n as f64 + next()
                    }

                    /// A different number at each run.
                    fn next() -> f64 {
                        run!("").number as f64 * 1e3
                    }

                    #[test]
                    fn extern_functions() {
                        on($backend, |_| async {
                            let call: extern "C" fn(u64) -> f64 = foreign;
                            // SAFETY: it promises nothing.
                            let bare = |n| unsafe { foreign_bare(n) };
                            assert!(call(1) == foreign(1) && call(2) == foreign(2) && call(1) != call(2));
                            assert!(bare(1) == bare(1) && bare(1) != bare(2) && bare(1) != call(1));
                            assert_ran(&foreign::stats(), 2, 5);
                            assert_eq!(foreign::peek(1).unwrap(), Some(foreign(1)));
                        });
                    }
                }
            };
        }

        each_kind!(suite);
    }
}
