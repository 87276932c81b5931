//! Async functions in every spelling, and futures that are `Send` exactly when the original's are.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use cache_runtime::cached;

use self::alias::BoxFuture;
use super::{Run, assert_ran, on, stats_of};

/// As in the crate `futures`.
mod alias {
    use super::*;

    pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
    pub(super) type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
}

/// The future, if another thread may run it.
fn require_send<F: Future + Send>(future: F) -> F {
    future
}

fn require_static<F: Future + Send + 'static>(future: F) -> F {
    future
}

/// Yields, so that what is alive here is alive across an `.await`.
async fn pause() {
    tokio::task::yield_now().await;
}

macro_rules! suite {
    ($module:ident, $backend:literal) => {
        mod $module {
            use super::*;

            mod traits {
                use super::*;

                #[async_trait]
                trait Load: Sync {
                    async fn load(&self, n: u64) -> Run;

                    async fn find(n: &str) -> Option<Run>;

                    #[cached(backend = $backend, skip(self), companions = false)]
                    async fn provided(&self, text: &str) -> Result<Run, String> {
                        pause().await;
                        if text.is_empty() {
                            return Err("empty".into());
                        }
                        Ok(self.load(1).await).map(|run| run!("{} {text}", run.of))
                    }

                    #[cached(backend = $backend, companions = false)]
                    async fn provided_without_self(n: u64) -> Run {
                        run!("{} {n}", std::any::type_name::<Self>().rsplit("::").next().unwrap_or_default())
                    }
                }

                struct Cat(u64);
                struct Dog(u64);

                #[async_trait]
                impl Load for Cat {
                    #[cached(backend = $backend, key = (self.0, n), companions = false)]
                    async fn load(&self, n: u64) -> Run {
                        pause().await;
                        run!("cat {} {n}", self.0)
                    }

                    #[cached(backend = $backend, companions = false)]
                    async fn find(n: &str) -> Option<Run> {
                        let n: u64 = n.parse().ok()?;
                        Some(run!("cat {n}"))
                    }
                }

                #[async_trait]
                impl Load for Dog {
                    #[cached(backend = $backend, key = "{self.0}:{n}", companions = false)]
                    async fn load(&self, n: u64) -> Run {
                        run!("dog {} {n}", self.0)
                    }

                    #[cached(backend = $backend, companions = false)]
                    async fn find(n: &str) -> Option<Run> {
                        let n: u64 = n.parse().ok()?;
                        Some(run!("dog {n}"))
                    }
                }

                #[test]
                fn async_trait() {
                    on($backend, |_| async {
                        let object: &dyn Load2 = &Cat(3);
                        distinct! {
                            require_send(Cat(1).load(1)).await => "cat 1 1",
                            Cat(1).load(2).await => "cat 1 2",
                            Cat(2).load(1).await => "cat 2 1",
                            Dog(1).load(1).await => "dog 1 1",
                            Dog(2).load(1).await => "dog 2 1",
                            Cat::find("1").await.unwrap() => "cat 1",
                            Dog::find("1").await.unwrap() => "dog 1",
                            Cat(1).provided("a").await.unwrap() => "cat 1 1 a",
                            Cat(1).provided("b").await.unwrap() => "cat 1 1 b",
                            Dog(1).provided("a").await.unwrap() => "dog 1 1 a",
                            Cat::provided_without_self(1).await => "Cat 1",
                            Dog::provided_without_self(1).await => "Dog 1",
                            object.through(1).await => "3 1",
                        };
                        assert_eq!(Cat(2).provided("a").await, Cat(1).provided("a").await, "`self` is skipped");
                        assert!(Cat(1).provided("").await.is_err() && Cat::find("x").await.is_none());
                        assert_ran(&stats_of("Load::provided_without_self"), 2, 2);
                    });
                }

                #[async_trait]
                trait Load2 {
                    async fn through(&self, n: u64) -> Run;
                }

                #[async_trait]
                impl Load2 for Cat {
                    #[cached(backend = $backend, key = (self.0, n), companions = false)]
                    async fn through(&self, n: u64) -> Run {
                        run!("{} {n}", self.0)
                    }
                }

                #[async_trait(?Send)]
                trait Local {
                    async fn local(&mut self, shared: Rc<Cell<u64>>) -> Run;
                }

                #[async_trait(?Send)]
                impl Local for Dog {
                    #[cached(backend = $backend, key = (self.0, shared.get()), companions = false)]
                    async fn local(&mut self, shared: Rc<Cell<u64>>) -> Run {
                        pause().await;
                        self.0 += 10;
                        run!("{} {}", self.0, shared.get())
                    }
                }

                #[test]
                fn async_trait_that_is_not_send() {
                    on($backend, |_| async {
                        let (one, two) = (Rc::new(Cell::new(1)), Rc::new(Cell::new(2)));
                        distinct! {
                            Dog(1).local(one.clone()).await => "11 1",
                            Dog(1).local(two.clone()).await => "11 2",
                            Dog(2).local(two.clone()).await => "12 2",
                        };
                    });
                }

                trait Native {
                    async fn native(&self, n: u64) -> Run;

                    fn returned(&self, n: u64) -> impl Future<Output = Run> + Send;

                    #[cached(backend = $backend, skip(self), companions = false)]
                    fn defaulted(&self, n: u64) -> impl Future<Output = Run> {
                        async move { run!("{} {n}", std::any::type_name::<Self>().len()) }
                    }
                }

                impl Native for Cat {
                    #[cached(backend = $backend, key = (self.0, n), companions = false)]
                    async fn native(&self, n: u64) -> Run {
                        pause().await;
                        run!("cat {} {n}", self.0)
                    }

                    #[cached(backend = $backend, key = (self.0, n), companions = false)]
                    fn returned(&self, n: u64) -> impl Future<Output = Run> + Send {
                        async move { run!("cat {} {n}", self.0) }
                    }
                }

                impl Native for Dog {
                    #[cached(backend = $backend, key = (self.0, n), companions = false)]
                    async fn native(&self, n: u64) -> Run {
                        run!("dog {} {n}", self.0)
                    }

                    #[cached(backend = $backend, key = (self.0, n), companions = false)]
                    async fn returned(&self, n: u64) -> Run {
                        run!("dog {} {n}", self.0)
                    }
                }

                #[test]
                fn async_fn_in_traits() {
                    on($backend, |_| async {
                        distinct! {
                            require_send(Cat(1).native(1)).await => "cat 1 1",
                            Dog(1).native(1).await => "dog 1 1",
                            Cat(2).native(1).await => "cat 2 1",
                            require_send(Cat(1).returned(1)).await => "cat 1 1",
                            Dog(1).returned(1).await => "dog 1 1",
                            Dog(1).returned(2).await => "dog 1 2",
                        };
                        let (cat, dog) = (Cat(1).defaulted(1).await, Dog(1).defaulted(1).await);
                        assert_eq!((Cat(2).defaulted(1).await, Dog(2).defaulted(1).await), (cat.clone(), dog.clone()));
                        assert_ne!(cat.number, dog.number);
                    });
                }
            }

            mod returned {
                use super::*;

                #[cached(backend = $backend)]
                fn lazy(n: u64) -> impl Future<Output = Run> + Send {
                    let before = run!("{n}");
                    async move {
                        pause().await;
                        before
                    }
                }

                #[cached(backend = $backend)]
                fn borrowing(text: &str) -> impl Future<Output = Result<Run, String>> + Send + '_ {
                    let before = run!("{text}");
                    async move {
                        pause().await;
                        if text.is_empty() { Err("empty".to_owned()) } else { Ok(before) }
                    }
                }

                #[cached(backend = $backend)]
                fn implicit(text: &str) -> impl Future<Output = Run> {
                    async move { run!("{text}") }
                }

                #[cached(backend = $backend)]
                fn detached(text: &str) -> impl Future<Output = Run> + Send + use<> {
                    let text = text.to_owned();
                    async move { run!("{text}") }
                }

                #[cached(backend = $backend)]
                fn boxed(n: u64) -> Pin<Box<dyn Future<Output = Run> + Send>> {
                    Box::pin(async move { run!("{n}") })
                }

                #[cached(backend = $backend)]
                fn boxed_borrowing<'a>(text: &'a str, other: &'a u64) -> Pin<Box<dyn Future<Output = Option<Run>> + Send + 'a>> {
                    if text.is_empty() {
                        return Box::pin(async { None });
                    }
                    Box::pin(async move { Some(run!("{text} {other}")) })
                }

                #[cached(backend = $backend)]
                fn boxed_detached(text: &str) -> std::pin::Pin<std::boxed::Box<dyn std::future::Future<Output = Run> + Send>> {
                    let text = text.to_owned();
                    Box::pin(async move { run!("{text}") })
                }

                #[cached(backend = $backend)]
                fn aliased<'a>(n: u64, text: &'a str) -> BoxFuture<'a, Result<Run, String>> {
                    Box::pin(async move { Ok(run!("{n} {text}")) })
                }

                #[cached(backend = $backend, companions = false)]
                fn aliased_local(text: &str) -> alias::LocalBoxFuture<'_, Run> {
                    let shared = Rc::new(text);
                    Box::pin(async move {
                        pause().await;
                        run!("{shared}")
                    })
                }

                #[cached(backend = $backend, companions = false)]
                fn boxed_local((n, _): (u64, u8)) -> Pin<Box<dyn Future<Output = Run>>> {
                    let shared = Rc::new(n);
                    Box::pin(async move {
                        pause().await;
                        run!("{shared}")
                    })
                }

                #[cached(backend = $backend, companions = false)]
                fn bare(text: &str) -> impl Future<Output = Run> + Send + 'static {
                    let text = text.to_owned();
                    async move { run!("{text}") }
                }

                #[cached(backend = $backend, companions = false)]
                fn bare_lazy(n: u64) -> impl Future<Output = Run> {
                    let before = run!("{n}");
                    async move { before }
                }

                #[test]
                fn futures() {
                    on($backend, |_| async {
                        distinct! {
                            require_static(lazy(1)).await => "1",
                            lazy(2).await => "2",
                            require_send(borrowing("a")).await.unwrap() => "a",
                            borrowing("b").await.unwrap() => "b",
                            implicit("a").await => "a",
                            implicit("b").await => "b",
                            require_static(detached(&String::from("a"))).await => "a",
                            detached("b").await => "b",
                            require_static(boxed(1)).await => "1",
                            boxed(2).await => "2",
                            require_send(boxed_borrowing("a", &1)).await.unwrap() => "a 1",
                            boxed_borrowing("a", &2).await.unwrap() => "a 2",
                            require_static(boxed_detached(&String::from("a"))).await => "a",
                            boxed_detached("b").await => "b",
                            require_send(aliased(1, "a")).await.unwrap() => "1 a",
                            aliased(2, "a").await.unwrap() => "2 a",
                            aliased_local("a").await => "a",
                            aliased_local("b").await => "b",
                            boxed_local((1, 1)).await => "1",
                            boxed_local((1, 2)).await => "1",
                            require_static(bare(&String::from("a"))).await => "a",
                            bare("b").await => "b",
                            bare_lazy(1).await => "1",
                            bare_lazy(2).await => "2",
                        };
                        assert!(borrowing("").await.is_err() && boxed_borrowing("", &1).await.is_none());
                        assert_ran(&lazy::stats(), 2, 2);
                        assert_ran(&detached::stats(), 2, 2);
                        assert_ran(&boxed_detached::stats(), 2, 2);
                    });
                }

                #[cached(backend = $backend, skip(made))]
                fn made_by_the_call(made: &AtomicU64, text: &str) -> impl Future<Output = Run> + Send + use<> {
                    made.fetch_add(1, Ordering::Relaxed);
                    let text = text.to_owned();
                    async move { run!("{text}") }
                }

                #[cached(backend = $backend, skip(made))]
                fn made_by_a_miss<'a>(made: &'a AtomicU64, text: &'a str) -> impl Future<Output = Run> + Send + 'a {
                    made.fetch_add(1, Ordering::Relaxed);
                    let text = text.to_owned();
                    async move { run!("{text}") }
                }

                #[test]
                fn what_stands_before_the_async() {
                    on($backend, |_| async {
                        let (by_calls, by_misses) = (AtomicU64::new(0), AtomicU64::new(0));
                        distinct! {
                            made_by_the_call(&by_calls, "a").await => "a",
                            made_by_a_miss(&by_misses, "a").await => "a",
                        };
                        assert_eq!((by_calls.into_inner(), by_misses.into_inner()), (2, 1));
                        // A hit is looked for when the future is awaited: what was removed by then is not served.
                        let early = made_by_the_call(&AtomicU64::new(0), "a");
                        made_by_the_call::invalidate("a").await.unwrap();
                        early.await;
                        assert_eq!(made_by_the_call::stats().runs, 2);
                    });
                }

                #[test]
                fn companions() {
                    on($backend, |_| async {
                        let one = run!("one");
                        detached::insert("a", one.clone()).await.unwrap();
                        assert_eq!(detached("a").await, one);
                        assert_eq!(detached::refresh("a").await.of, "a");
                        assert_eq!(detached::uncached("b").await.of, "b");
                        assert_eq!(detached::peek("b").await.unwrap(), None);
                        boxed(1).await;
                        boxed::invalidate(1).await.unwrap();
                        assert_eq!(boxed::peek(1).await.unwrap(), None);
                        boxed::refresh(1).await;
                        boxed::clear().await.unwrap();
                        assert_eq!(boxed::peek(1).await.unwrap(), None);
                        require_send(async {
                            boxed::peek(1).await.unwrap();
                            boxed::refresh(1).await;
                        })
                        .await;
                    });
                }
            }

            mod send {
                use super::*;

                #[cached(backend = $backend)]
                async fn with_error(n: u64) -> Result<Run, Box<dyn std::error::Error>> {
                    pause().await;
                    if n == 0 { Err("zero".into()) } else { Ok(run!("{n}")) }
                }

                #[cached(backend = $backend, companions = false)]
                async fn with_error_bare(n: u64) -> Option<Result<Run, Rc<str>>> {
                    pause().await;
                    match n {
                        0 => None,
                        1 => Some(Err("one".into())),
                        n => Some(Ok(run!("{n}"))),
                    }
                }

                #[cached(backend = $backend, key = *shared)]
                async fn not_send(shared: Rc<u64>) -> Run {
                    let inside = Rc::new(1);
                    pause().await;
                    run!("{shared} {inside}")
                }

                #[cached(backend = $backend, skip(calls))]
                async fn borrowed(calls: &AtomicU64, text: &str) -> Run {
                    pause().await;
                    calls.fetch_add(1, Ordering::Relaxed);
                    run!("{text}")
                }

                #[cached(backend = $backend, skip(calls))]
                async fn borrowed_locally(calls: &Cell<u64>, text: &str) -> Run {
                    pause().await;
                    calls.set(calls.get() + 1);
                    run!("{text}")
                }

                #[test]
                fn as_the_original() {
                    on($backend, |_| async {
                        let (calls, cell) = (AtomicU64::new(0), Cell::new(0));
                        distinct! {
                            // An error that isn't `Send` is held by nobody who waits.
                            require_send(async { with_error(1).await.ok() }).await.unwrap() => "1",
                            require_send(with_error(2)).await.unwrap() => "2",
                            require_send(with_error_bare(3)).await.unwrap().unwrap() => "3",
                            not_send(Rc::new(1)).await => "1 1",
                            not_send(Rc::new(2)).await => "2 1",
                            require_send(borrowed(&calls, "a")).await => "a",
                            borrowed(&calls, "b").await => "b",
                            borrowed_locally(&cell, "a").await => "a",
                        };
                        assert_eq!((calls.into_inner(), cell.get()), (2, 1));
                        assert!(with_error(0).await.is_err() && with_error_bare(0).await.is_none());
                        assert!(with_error_bare(1).await.unwrap().is_err());
                        assert_ran(&with_error::stats(), 3, 2);
                        require_send(async { with_error::refresh(1).await.ok() }).await.unwrap();
                    });
                }

                #[cached(backend = $backend)]
                async fn spawned(n: u64) -> Run {
                    pause().await;
                    run!("{n}")
                }

                #[test]
                fn on_other_threads() {
                    on($backend, |scope| async move {
                        let call = |n| {
                            let scope = scope.clone();
                            tokio::spawn(async move { scope.run(spawned(n)).await })
                        };
                        distinct!(call(1).await.unwrap() => "1", call(2).await.unwrap() => "2");
                    });
                }
            }
        }
    };
}

each_kind!(suite);
