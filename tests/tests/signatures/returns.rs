//! Return types: what is stored of each, and what comes back.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use cache_runtime::cached;

use super::{Run, assert_ran, on, run};

/// An error of the application: neither `Clone` nor serialisable.
#[derive(Debug)]
struct Failure(#[allow(dead_code)] std::io::Error);

impl From<std::num::ParseIntError> for Failure {
    fn from(error: std::num::ParseIntError) -> Self {
        Self(std::io::Error::other(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failure")
    }
}

impl Error for Failure {}

/// As `anyhow::Result` and its like.
type AppResult<T, E = Failure> = Result<T, E>;

/// Aliases that hide what is in the `Ok`.
mod hiding {
    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(super) struct Response<T>(pub(super) T);

    pub(super) type Result<T> = std::result::Result<Response<T>, String>;
    pub(super) type Maybe<T> = Option<T>;
}

macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[cached(backend = $backend)]
            $($asyncness)? fn arc(n: u64) -> Arc<Run> {
                run!("{n}").into()
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn boxed(n: u64) -> Box<Run> {
                Box::new(run!("{n}"))
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn list(n: u64) -> Vec<Run> {
                (0..n).map(|n| run!("{n}")).collect()
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn tuple(n: u64) -> (Run, Option<u8>, [u16; 2]) {
                (run!("{n}"), None, [1, 2])
            }

            #[cached(backend = $backend, skip(calls))]
            $($asyncness)? fn unit(_n: u64, calls: &mut u64) {
                *calls += 1;
            }

            #[cached(backend = $backend, skip(calls))]
            $($asyncness)? fn written_unit(_n: u64, calls: &mut u64) -> () {
                *calls += 1;
            }

            #[test]
            fn values() {
                on($backend, |_| async {
                    distinct! {
                        (*arc(1)$($wait)*).clone() => "1",
                        (*arc(2)$($wait)*).clone() => "2",
                        *boxed(1)$($wait)* => "1",
                        *boxed(2)$($wait)* => "2",
                        list(1)$($wait)*.remove(0) => "0",
                        list(2)$($wait)*.remove(1) => "1",
                        tuple(1)$($wait)*.0 => "1",
                    };
                    assert_eq!(list(0)$($wait)*, []);
                    assert_eq!(arc::peek(1)$($wait)*.unwrap().unwrap().of, "1");
                    arc::insert(3, Arc::new(run!("three")))$($wait)*.unwrap();
                    assert_eq!(arc(3)$($wait)*.of, "three");
                    let mut calls = 0;
                    for _ in 0..3 {
                        unit(1, &mut calls)$($wait)*;
                        unit(2, &mut calls)$($wait)*;
                        written_unit(1, &mut calls)$($wait)*;
                    }
                    assert_eq!(calls, 3);
                    assert_eq!(unit::peek(1)$($wait)*.unwrap(), Some(()));
                    assert_eq!(unit::peek(3)$($wait)*.unwrap(), None);
                });
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn result_of_option(n: u64) -> Result<Option<Run>, Failure> {
                match n {
                    0 => Err(Failure(std::io::ErrorKind::Other.into())),
                    1 => Ok(None),
                    n => Ok(Some(run!("{n}"))),
                }
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn option_of_result(n: u64) -> Option<Result<Run, Failure>> {
                match n {
                    0 => None,
                    1 => Some(Err(Failure(std::io::ErrorKind::Other.into()))),
                    n => Some(Ok(run!("{n}"))),
                }
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn dynamic_error(text: &str) -> Result<Run, Box<dyn Error + Send + Sync>> {
                let n: u64 = text.parse()?;
                if n == 0 {
                    return Err("zero".into());
                }
                Ok(run!("{n}"))
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn error_of_the_application(text: &str) -> AppResult<Run> {
                let n: u64 = text.parse()?;
                Ok(run!("{n}"))
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn io(n: u64) -> std::io::Result<Run> {
                if n == 0 { Err(std::io::ErrorKind::Other.into()) } else { Ok(run!("{n}")) }
            }

            /// Without companions the compiler finds what an alias hides, too.
            #[cached(backend = $backend, companions = false, skip(runs))]
            $($asyncness)? fn aliased_without_companions(n: u64, runs: &AtomicU32) -> AppResult<Option<Run>> {
                runs.fetch_add(1, Relaxed);
                if n == 0 { Err(Failure(std::io::ErrorKind::Other.into())) } else { Ok(n.checked_sub(2).map(|n| run!("{n}"))) }
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn aliased_deep(n: u64) -> AppResult<Option<Run>, std::io::Error> {
                Ok(n.checked_sub(1).map(|n| run!("{n}")))
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn hidden_response(n: u64) -> hiding::Result<Run> {
                Ok(hiding::Response(run!("{n}")))
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn hidden_option(n: u64) -> Result<hiding::Maybe<Run>, String> {
                Ok(n.checked_sub(1).map(|n| run!("{n}")))
            }

            #[cached(backend = $backend, cache_none = true)]
            $($asyncness)? fn hidden_none(n: u64) -> Result<hiding::Maybe<Run>, String> {
                Ok(n.checked_sub(1).map(|n| run!("{n}")))
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn hidden_generic<T: fmt::Display + serde::Serialize>(n: T) -> hiding::Result<Run> {
                Ok(hiding::Response(run!("{n}")))
            }

            struct Hiding;

            impl Hiding {
                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn method(&self, n: u64) -> hiding::Result<Run> {
                    Ok(hiding::Response(run!("{n}")))
                }
            }

            #[cached(backend = $backend, companions = false)]
            $($asyncness)? fn bare(text: &str) -> Result<Option<Run>, Box<dyn Error>> {
                let n: u64 = text.parse()?;
                let n = match n {
                    0 => return Ok(None),
                    n => n,
                };
                Ok(Some(run!("{n}")))
            }

            #[cached(backend = $backend, cache_none = true)]
            $($asyncness)? fn none_too<T>(found: bool) -> Option<Run> {
                found.then(|| run!("{}", std::any::type_name::<T>()))
            }

            struct Service;

            impl Service {
                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn method(&self, text: &str) -> Result<Option<Run>, Failure> {
                    let n: u64 = text.parse()?;
                    Ok(n.checked_sub(1).map(|n| run!("{n}")))
                }

                #[cached(backend = $backend, skip(self), cache_err = true)]
                $($asyncness)? fn error_too(&self, text: &str) -> Result<Run, String> {
                    if text.is_empty() { Err(run!("empty").number.to_string()) } else { Ok(run!("{text}")) }
                }

                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn fails(&self, n: u64) -> std::io::Result<Run> {
                    if n == 0 { Err(std::io::ErrorKind::Other.into()) } else { Ok(run!("{n}")) }
                }
            }

            #[test]
            fn only_successes_are_stored() {
                on($backend, |_| async {
                    distinct! {
                        result_of_option(2)$($wait)*.unwrap().unwrap() => "2",
                        result_of_option(3)$($wait)*.unwrap().unwrap() => "3",
                        option_of_result(2)$($wait)*.unwrap().unwrap() => "2",
                        option_of_result(3)$($wait)*.unwrap().unwrap() => "3",
                        dynamic_error("1")$($wait)*.unwrap() => "1",
                        dynamic_error("2")$($wait)*.unwrap() => "2",
                        error_of_the_application("1")$($wait)*.unwrap() => "1",
                        io(1)$($wait)*.unwrap() => "1",
                        aliased_deep(1)$($wait)*.unwrap().unwrap() => "0",
                        hidden_response(1)$($wait)*.unwrap().0 => "1",
                        hidden_option(1)$($wait)*.unwrap().unwrap() => "0",
                        hidden_none(1)$($wait)*.unwrap().unwrap() => "0",
                        hidden_generic(1)$($wait)*.unwrap().0 => "1",
                        Hiding.method(1)$($wait)*.unwrap().0 => "1",
                        bare("1")$($wait)*.unwrap().unwrap() => "1",
                        bare("2")$($wait)*.unwrap().unwrap() => "2",
                        none_too::<u8>(true)$($wait)*.unwrap() => "u8",
                        Service.method("1")$($wait)*.unwrap().unwrap() => "0",
                        Service.error_too("a")$($wait)*.unwrap() => "a",
                        Service.fails(1)$($wait)*.unwrap() => "1",
                    };
                    let runs = AtomicU32::new(0);
                    for _ in 0..2 {
                        assert!(result_of_option(0)$($wait)*.is_err() && result_of_option(1)$($wait)*.unwrap().is_none());
                        assert!(option_of_result(0)$($wait)*.is_none() && option_of_result(1)$($wait)*.unwrap().is_err());
                        assert!(dynamic_error("x")$($wait)*.is_err() && dynamic_error("0")$($wait)*.is_err());
                        assert!(error_of_the_application("x")$($wait)*.is_err() && io(0)$($wait)*.is_err());
                        assert!(aliased_deep(0)$($wait)*.unwrap().is_none());
                        assert!(aliased_without_companions(0, &runs)$($wait)*.is_err());
                        assert!(aliased_without_companions(1, &runs)$($wait)*.unwrap().is_none());
                        assert_eq!(aliased_without_companions(2, &runs)$($wait)*.unwrap().unwrap().of, "0");
                        assert!(bare("x")$($wait)*.is_err() && bare("0")$($wait)*.unwrap().is_none());
                        assert!(none_too::<u8>(false)$($wait)*.is_none() && none_too::<i8>(false)$($wait)*.is_none());
                        assert!(Service.method("x")$($wait)*.is_err() && Service.method("0")$($wait)*.unwrap().is_none());
                        assert!(Service.fails(0)$($wait)*.is_err());
                        let error = Service.error_too("")$($wait)*;
                        assert!(error.is_err() && error == Service.error_too("")$($wait)*, "{error:?}");
                    }
                    assert_eq!(runs.into_inner(), 2 + 2 + 1);
                    assert_ran(&result_of_option::stats(), 2 + 4, 2);
                    assert_ran(&option_of_result::stats(), 2 + 4, 2);
                    assert_ran(&dynamic_error::stats(), 2 + 4, 2);
                    assert_ran(&error_of_the_application::stats(), 1 + 2, 1);
                    assert_ran(&none_too::stats(), 3, 3);
                    assert_ran(&Service::method_stats(), 1 + 4, 1);
                    assert_ran(&Service::error_too_stats(), 2, 4);

                    result_of_option::insert(1, run("put".to_owned()))$($wait)*.unwrap();
                    assert_eq!(result_of_option(1)$($wait)*.unwrap().unwrap().of, "put");
                    Service::method_insert("0", run("put".to_owned()))$($wait)*.unwrap();
                    assert_eq!(Service.method("0")$($wait)*.unwrap().unwrap().of, "put");
                    assert_eq!(none_too::peek::<u8>(false)$($wait)*.unwrap(), Some(None));
                });
            }
        }
    };
}

every_backend!(suite);

/// What no server could hold.
mod in_memory {
    use std::sync::Mutex;

    use super::*;

    #[cached]
    fn name(n: usize) -> &'static str {
        ["zero", "one"][n]
    }

    #[cached]
    async fn names(n: usize) -> Option<&'static [&'static str]> {
        [&["zero"][..], &["one"][..]].get(n).copied()
    }

    #[cached]
    fn shared(n: u64) -> Arc<Mutex<Vec<u64>>> {
        Arc::new(Mutex::new(vec![n]))
    }

    #[cached]
    fn object(n: u64) -> Result<Arc<dyn fmt::Display + Send + Sync>, Failure> {
        Ok(Arc::new(n))
    }

    #[cached]
    fn function(n: u64) -> fn(&str) -> u64 {
        if n == 0 { |_| 0 } else { |text| text.len() as u64 }
    }

    #[test]
    fn typed_values() {
        on("memory", |_| async {
            for _ in 0..2 {
                assert_eq!((name(0), name(1)), ("zero", "one"));
                assert_eq!((names(0).await, names(7).await), (Some(&["zero"][..]), None));
                assert_eq!(object(7).unwrap().to_string(), "7");
                assert_eq!((function(0)("a"), function(1)("a")), (0, 1));
            }
            assert!(Arc::ptr_eq(&shared(1), &shared(1)), "a hit is the value itself");
            assert!(!Arc::ptr_eq(&shared(1), &shared(2)));
            shared(1).lock().unwrap().push(2);
            assert_eq!(*shared(1).lock().unwrap(), [1, 2]);
            assert_ran(&name::stats(), 2, 2);
            assert_ran(&names::stats(), 3, 1);
            assert_ran(&object::stats(), 1, 1);
            assert_ran(&function::stats(), 2, 2);
        });
    }
}
