//! Functions in traits and in generic impls: every implementing type and every instantiation has entries of its own.

use std::any::type_name;
use std::fmt::Debug;
use std::marker::PhantomData;

use cache_runtime::cached;
use serde::{Deserialize, Serialize};

use super::{Run, assert_ran, on};

macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            struct Cat(u64);
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            struct Dog(u64);

            trait Animal: Debug {
                const NAME: &str;

                $($asyncness)? fn required(&self, n: u64) -> Run;

                $($asyncness)? fn required_without_self(n: u64) -> Run;

                #[cached(backend = $backend, key = (self, n), companions = false)]
                $($asyncness)? fn provided(&self, n: u64) -> Run where Self: Serialize {
                    run!("{self:?} {n}")
                }

                #[cached(backend = $backend, skip(self), companions = false)]
                $($asyncness)? fn provided_skip(&self, n: u64) -> Run {
                    run!("{} {n}", Self::NAME)
                }

                #[cached(backend = $backend, key = "{n}", companions = false)]
                $($asyncness)? fn provided_template(&self, n: u64) -> Run {
                    run!("{} {n}", Self::NAME)
                }

                #[cached(backend = $backend, companions = false)]
                $($asyncness)? fn provided_without_self(n: u64) -> Run {
                    run!("{} {n}", Self::NAME)
                }

                #[cached(backend = $backend, key = "{n}", companions = false)]
                $($asyncness)? fn provided_template_without_self(n: u64) -> Run {
                    run!("{} {n}", Self::NAME)
                }

                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn sibling(&self, n: u64) -> Run {
                    run!("{} {n}", Self::NAME)
                }

                #[cached(backend = $backend, companions = Self)]
                $($asyncness)? fn sibling_without_self(n: u64) -> Run {
                    run!("{} {n}", Self::NAME)
                }
            }

            impl Animal for Cat {
                const NAME: &str = "cat";

                #[cached(backend = $backend, key = (self.0, n), companions = false)]
                $($asyncness)? fn required(&self, n: u64) -> Run {
                    run!("{self:?} {n}")
                }

                #[cached(backend = $backend, companions = false)]
                $($asyncness)? fn required_without_self(n: u64) -> Run {
                    run!("cat {n}")
                }
            }

            impl Animal for Dog {
                const NAME: &str = "dog";

                #[cached(backend = $backend, key = (self.0, n), companions = false)]
                $($asyncness)? fn required(&self, n: u64) -> Run {
                    run!("{self:?} {n}")
                }

                #[cached(backend = $backend, companions = false)]
                $($asyncness)? fn required_without_self(n: u64) -> Run {
                    run!("dog {n}")
                }
            }

            #[test]
            fn implementing_types_share_nothing() {
                on($backend, |_| async {
                    distinct! {
                        Cat(1).required(1)$($wait)* => "Cat(1) 1",
                        Cat(2).required(1)$($wait)* => "Cat(2) 1",
                        Dog(1).required(1)$($wait)* => "Dog(1) 1",
                        Dog(1).required(2)$($wait)* => "Dog(1) 2",
                        Cat::required_without_self(1)$($wait)* => "cat 1",
                        Dog::required_without_self(1)$($wait)* => "dog 1",
                        Cat(1).provided(1)$($wait)* => "Cat(1) 1",
                        Cat(2).provided(1)$($wait)* => "Cat(2) 1",
                        Dog(1).provided(1)$($wait)* => "Dog(1) 1",
                        Cat(1).provided_skip(1)$($wait)* => "cat 1",
                        Dog(1).provided_skip(1)$($wait)* => "dog 1",
                        Dog(1).provided_skip(2)$($wait)* => "dog 2",
                        Cat(1).provided_template(1)$($wait)* => "cat 1",
                        Dog(1).provided_template(1)$($wait)* => "dog 1",
                        Cat::provided_without_self(1)$($wait)* => "cat 1",
                        Dog::provided_without_self(1)$($wait)* => "dog 1",
                        Cat::provided_without_self(2)$($wait)* => "cat 2",
                        Cat::provided_template_without_self(1)$($wait)* => "cat 1",
                        Dog::provided_template_without_self(1)$($wait)* => "dog 1",
                        Cat(1).sibling(1)$($wait)* => "cat 1",
                        Dog(1).sibling(1)$($wait)* => "dog 1",
                        Cat::sibling_without_self(1)$($wait)* => "cat 1",
                        Dog::sibling_without_self(1)$($wait)* => "dog 1",
                    };
                    assert_eq!(Cat(1).provided_skip(1)$($wait)*, Cat(2).provided_skip(1)$($wait)*);
                    assert_eq!(Cat::sibling_peek(1)$($wait)*.unwrap().unwrap().of, "cat 1");
                    assert_ne!(Cat::sibling_key(1), Dog::sibling_key(1));
                    Cat::sibling_invalidate(1)$($wait)*.unwrap();
                    assert_eq!(Cat::sibling_peek(1)$($wait)*.unwrap(), None);
                    assert_eq!(Dog::sibling_peek(1)$($wait)*.unwrap().unwrap().of, "dog 1");
                    let errors: u64 = cache_runtime::stats().iter().map(|stats| stats.errors).sum();
                    assert_eq!(errors, 0, "{}", cache_runtime::stats());
                });
            }

            trait Convert<T> {
                #[cached(backend = $backend, skip(self), companions = false)]
                $($asyncness)? fn convert(&self, n: u64) -> Run {
                    run!("{} {n}", type_name::<T>())
                }

                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn convert_with(&self, n: u64) -> Run {
                    run!("{} {n}", type_name::<T>())
                }

                #[cached(backend = $backend, companions = false)]
                $($asyncness)? fn convert_without_self(n: u64) -> Run {
                    run!("{} {n}", type_name::<T>())
                }
            }

            impl Convert<u8> for Cat {}
            impl Convert<i8> for Cat {}

            #[test]
            fn parameters_of_traits_count() {
                on($backend, |_| async {
                    distinct! {
                        Convert::<u8>::convert(&Cat(1), 1)$($wait)* => "u8 1",
                        Convert::<i8>::convert(&Cat(1), 1)$($wait)* => "i8 1",
                        Convert::<u8>::convert_with(&Cat(1), 1)$($wait)* => "u8 1",
                        Convert::<i8>::convert_with(&Cat(1), 1)$($wait)* => "i8 1",
                        <Cat as Convert<u8>>::convert_without_self(1)$($wait)* => "u8 1",
                        <Cat as Convert<i8>>::convert_without_self(1)$($wait)* => "i8 1",
                    };
                    let of = <Cat as Convert<i8>>::convert_with_peek(1)$($wait)*.unwrap().unwrap().of;
                    assert_eq!(of, "i8 1");
                });
            }

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            struct Tagged<T> {
                run: Run,
                tag: PhantomData<T>,
            }

            impl<T> Tagged<T> {
                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn method(&self, n: u64) -> Run {
                    run!("{} {n}", type_name::<T>())
                }

                #[cached(backend = $backend, companions = Self)]
                $($asyncness)? fn associated(n: u64) -> Run {
                    run!("{} {n}", type_name::<T>())
                }

                #[cached(backend = $backend, companions = false)]
                $($asyncness)? fn without_companions(n: u64) -> Run {
                    run!("{} {n}", type_name::<T>())
                }

                #[cached(backend = $backend, key = "{n}", companions = false)]
                $($asyncness)? fn by_template(n: u64) -> Run {
                    run!("{} {n}", type_name::<T>())
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn says_self(n: u64) -> Run {
                    run!("{} {n}", type_name::<Self>().rsplit("::").next().unwrap_or_default())
                }

                #[cached(backend = $backend, companions = Self)]
                $($asyncness)? fn with_its_own<U>(n: u64) -> Run {
                    run!("{} {} {n}", type_name::<T>(), type_name::<U>())
                }
            }

            impl<T: Clone + Send + Sync + 'static> Tagged<T> {
                #[cached(backend = $backend)]
                $($asyncness)? fn new(n: u64) -> Self {
                    Self { run: run!("{n}"), tag: PhantomData }
                }

                #[cached(backend = $backend)]
                $($asyncness)? fn try_new(n: u64) -> Result<Self, String> {
                    Ok(Self { run: run!("{}", n.checked_sub(1).ok_or("zero")?), tag: PhantomData })
                }
            }

            impl Cat {
                #[cached(backend = $backend)]
                $($asyncness)? fn older(cat: &Self, by: Option<Self>) -> Self {
                    Self(cat.0 + by.map_or(1, |by| by.0))
                }
            }

            #[test]
            fn instantiations_of_an_impl_share_nothing() {
                on($backend, |_| async {
                    let tagged = Tagged::<u8> { run: run!(""), tag: PhantomData };
                    let other = Tagged::<i8> { run: run!(""), tag: PhantomData };
                    distinct! {
                        tagged.method(1)$($wait)* => "u8 1",
                        tagged.method(2)$($wait)* => "u8 2",
                        other.method(1)$($wait)* => "i8 1",
                        Tagged::<u8>::associated(1)$($wait)* => "u8 1",
                        Tagged::<i8>::associated(1)$($wait)* => "i8 1",
                        Tagged::<u8>::without_companions(1)$($wait)* => "u8 1",
                        Tagged::<i8>::without_companions(1)$($wait)* => "i8 1",
                        Tagged::<u8>::by_template(1)$($wait)* => "u8 1",
                        Tagged::<i8>::by_template(1)$($wait)* => "i8 1",
                        Tagged::<u8>::says_self(1)$($wait)* => "Tagged<u8> 1",
                        Tagged::<i8>::says_self(1)$($wait)* => "Tagged<i8> 1",
                        Tagged::<u8>::with_its_own::<u8>(1)$($wait)* => "u8 u8 1",
                        Tagged::<u8>::with_its_own::<i8>(1)$($wait)* => "u8 i8 1",
                        Tagged::<i8>::with_its_own::<u8>(1)$($wait)* => "i8 u8 1",
                        Tagged::<u8>::new(1)$($wait)*.run => "1",
                        Tagged::<u8>::new(2)$($wait)*.run => "2",
                        Tagged::<i8>::new(1)$($wait)*.run => "1",
                        Tagged::<u8>::try_new(1)$($wait)*.unwrap().run => "0",
                        Tagged::<i8>::try_new(1)$($wait)*.unwrap().run => "0",
                    };
                    assert!(Tagged::<u8>::try_new(0)$($wait)*.is_err());
                    let made = Tagged::<u8>::new(1)$($wait)*;
                    assert_eq!(Tagged::<u8>::new_peek(1)$($wait)*.unwrap(), Some(made));
                    assert_eq!(Tagged::<u16>::new_peek(1)$($wait)*.unwrap(), None);
                    assert_eq!(Tagged::<u8>::with_its_own_peek::<u8>(1)$($wait)*.unwrap().unwrap().of, "u8 u8 1");
                    assert_ran(&Tagged::<u8>::associated_stats(), 2, 2);
                    // One function, so cleared as a whole.
                    Tagged::<u8>::associated_clear()$($wait)*.unwrap();
                    assert_eq!(Tagged::<i8>::associated_peek(1)$($wait)*.unwrap(), None);
                });
            }

            #[test]
            fn self_in_the_signature() {
                on($backend, |_| async {
                    for _ in 0..2 {
                        assert_eq!(Cat::older(&Cat(1), None)$($wait)*, Cat(2));
                        assert_eq!(Cat::older(&Cat(1), Some(Cat(2)))$($wait)*, Cat(3));
                    }
                    assert_ran(&Cat::older_stats(), 2, 2);
                });
            }
        }
    };
}

every_backend!(suite);

mod objects {
    use super::*;

    trait Shape {
        fn name(&self) -> &'static str;

        #[cached(skip(self), companions = false)]
        fn area(&self, n: u64) -> Run {
            run!("{} {n}", self.name())
        }
    }

    struct Square;
    struct Circle;

    impl Shape for Square {
        fn name(&self) -> &'static str {
            "square"
        }
    }

    impl Shape for Circle {
        fn name(&self) -> &'static str {
            "circle"
        }
    }

    /// On the object itself, not on what is behind it.
    impl dyn Shape {
        #[cached(key = (self.name(), n))]
        fn shown(&self, n: u64) -> Run {
            run!("{} {n}", self.name())
        }
    }

    #[test]
    fn trait_objects() {
        on("memory", |_| async {
            let shapes: [&dyn Shape; 2] = [&Square, &Circle];
            distinct! {
                shapes[0].area(1) => "square 1",
                shapes[1].area(1) => "circle 1",
                shapes[1].area(2) => "circle 2",
                shapes[0].shown(1) => "square 1",
                shapes[1].shown(1) => "circle 1",
            };
        });
    }
}
