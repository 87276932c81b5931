//! Functions that call themselves or one another, and calls from before and after the rest of the program.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex};

use cache_runtime::cached;

use super::{Run, assert_ran, on};

mod blocking {
    use super::*;

    macro_rules! suite {
        ($module:ident, $backend:literal) => {
            mod $module {
                use super::*;

                #[cached(backend = $backend)]
                fn fibonacci(n: u64) -> u64 {
                    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
                }

                #[cached(backend = $backend)]
                fn is_even(n: u64) -> bool {
                    n == 0 || is_odd(n - 1)
                }

                #[cached(backend = $backend, companions = false)]
                fn is_odd(n: u64) -> bool {
                    n != 0 && is_even(n - 1)
                }

                struct Grid(u64);

                impl Grid {
                    #[cached(backend = $backend, key = (self.0, x, y))]
                    fn paths(&mut self, x: u64, y: u64) -> Result<u64, String> {
                        if x == 0 || y == 0 {
                            return Ok(self.0);
                        }
                        Ok(self.paths(x - 1, y)? + self.paths(x, y - 1)?)
                    }
                }

                #[test]
                fn recursion() {
                    on($backend, |_| async {
                        assert_eq!(fibonacci(50), 12_586_269_025);
                        assert_ran(&fibonacci::stats(), 51, 48);
                        assert!(is_even(20) && !is_even(19));
                        assert_ran(&is_even::stats(), 11 + 10, 0);
                        assert_eq!(Grid(1).paths(15, 15), Ok(155_117_520));
                        assert_eq!(Grid(2).paths(15, 15), Ok(310_235_040));
                        assert_eq!(Grid::paths_stats().runs, 2 * (16 * 16 - 1));
                    });
                }

                #[cached(backend = $backend)]
                fn loaded(n: u64) -> Run {
                    run!("{n}")
                }

                #[test]
                fn from_a_static() {
                    on($backend, |_| async {
                        // A `static`, but one for each backend.
                        let table: LazyLock<Vec<Run>> = LazyLock::new(|| vec![loaded(1), loaded(2)]);
                        let table = Box::leak(Box::new(table));
                        distinct!(table[0].clone() => "1", loaded(2) => "2");
                        assert_eq!(loaded(1), table[0]);
                        assert_ran(&loaded::stats(), 2, 3);
                    });
                }

                struct OnDrop<'a>(&'a Mutex<Vec<Run>>);

                impl Drop for OnDrop<'_> {
                    fn drop(&mut self) {
                        self.0.lock().unwrap().push(loaded(7));
                    }
                }

                #[test]
                fn from_drop() {
                    on($backend, |_| async {
                        let seen = Mutex::default();
                        drop(OnDrop(&seen));
                        let unwound = catch_unwind(AssertUnwindSafe(|| {
                            let _dropped = OnDrop(&seen);
                            panic!("on purpose");
                        }));
                        assert!(unwound.is_err());
                        assert_eq!(seen.into_inner().unwrap(), [loaded(7), loaded(7)]);
                        assert_ran(&loaded::stats(), 1, 3);
                    });
                }
            }
        };
    }

    each_kind!(suite);

    #[cached]
    fn at_the_end(n: u64) -> Run {
        run!("{n}")
    }

    struct AtTheEnd;

    static SEEN: Mutex<Vec<Run>> = Mutex::new(Vec::new());

    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            SEEN.lock().unwrap().extend([at_the_end(1), at_the_end(1), at_the_end(2)]);
        }
    }

    /// When a thread ends, thread-locals that the cache uses may be gone already.
    #[test]
    fn from_a_thread_that_ends() {
        thread_local! {
            static FIRST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
            static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
        }
        let thread = std::thread::spawn(|| {
            FIRST.with(|end| end.replace(Some(AtTheEnd)));
            at_the_end(1);
            LAST.with(|end| end.replace(Some(AtTheEnd)));
        });
        thread.join().unwrap();
        let seen = SEEN.lock().unwrap();
        assert_eq!(seen.iter().map(|run| &*run.of).collect::<Vec<_>>(), ["1", "1", "2", "1", "1", "2"]);
        assert_eq!(seen[..3], seen[3..]);
        assert_eq!(seen[0], at_the_end(1));
        assert_ran(&at_the_end::stats(), 2, 6);
    }
}

mod asynchronous {
    use super::*;

    fn require_send<F: Future + Send>(future: F) -> F {
        future
    }

    macro_rules! suite {
        ($module:ident, $backend:literal) => {
            mod $module {
                use super::*;

                #[cached(backend = $backend)]
                async fn fibonacci(n: u64) -> u64 {
                    if n < 2 {
                        return n;
                    }
                    Box::pin(fibonacci(n - 1)).await + Box::pin(fibonacci(n - 2)).await
                }

                #[cached(backend = $backend)]
                async fn is_even(n: u64) -> bool {
                    n == 0 || Box::pin(is_odd(n - 1)).await
                }

                #[cached(backend = $backend)]
                async fn is_odd(n: u64) -> bool {
                    n != 0 && Box::pin(is_even(n - 1)).await
                }

                /// Recursion as it was written before `Box::pin` sufficed.
                #[cached(backend = $backend)]
                fn boxed(n: u64) -> std::pin::Pin<Box<dyn Future<Output = u64> + Send>> {
                    Box::pin(async move { if n < 2 { n } else { boxed(n - 1).await + boxed(n - 2).await } })
                }

                /// Renewals ask whether the future is `Send`.
                #[cached(backend = $backend, ttl = 60, stale = 60)]
                async fn renewed(n: u64) -> u64 {
                    if n == 0 { 0 } else { Box::pin(through(&[n])).await + Box::pin(renewed(n - 1)).await }
                }

                async fn through(n: &[u64]) -> u64 {
                    1 + renewed_too(n, Other(1)).await
                }

                #[derive(serde::Serialize)]
                struct Other(u64);

                #[cached(backend = $backend, ttl = 60, early = true)]
                async fn renewed_too(n: &[u64], other: Other) -> u64 {
                    renewed(n[0] - other.0).await
                }

                struct Grid(u64);

                impl Grid {
                    #[cached(backend = $backend, key = (self.0, x, y))]
                    async fn paths(&self, x: u64, y: u64) -> Result<u64, String> {
                        if x == 0 || y == 0 {
                            return Ok(self.0);
                        }
                        Ok(Box::pin(self.paths(x - 1, y)).await? + Box::pin(self.paths(x, y - 1)).await?)
                    }
                }

                #[test]
                fn recursion() {
                    on($backend, |_| async {
                        assert_eq!(require_send(fibonacci(50)).await, 12_586_269_025);
                        assert_ran(&fibonacci::stats(), 51, 48);
                        assert!(require_send(is_even(20)).await && !is_even(19).await);
                        assert_ran(&is_even::stats(), 11 + 10, 0);
                        assert_eq!(require_send(boxed(50)).await, 12_586_269_025);
                        assert_eq!(require_send(renewed(10)).await, 1023);
                        assert_ran(&renewed::stats(), 11, 9 + 1);
                        assert_eq!(require_send(Grid(1).paths(10, 10)).await, Ok(184_756));
                        assert_eq!(Grid(2).paths(10, 10).await, Ok(369_512));
                        assert_eq!(Grid::paths_stats().runs, 2 * (11 * 11 - 1));
                    });
                }
            }
        };
    }

    each_kind!(suite);
}
