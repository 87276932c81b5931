//! Arguments of every type and pattern.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cache_runtime::cached;
use serde::{Deserialize, Serialize};

use super::{Run, assert_ran, on};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

fn user(id: u64) -> User {
    User { id, name: format!("user {id}") }
}

#[derive(Debug, Clone, Serialize)]
struct Wrapper<T>(T);

#[derive(Debug, Clone, Copy, Serialize)]
enum Kind {
    Unit,
    Tuple(u8, u8),
    Struct { a: u8 },
}

macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[cached(backend = $backend)]
            $($asyncness)? fn cow(a: Cow<'_, str>, b: Cow<'_, str>, c: Cow<'static, [u8]>) -> Run {
                run!("{a} {b} {c:?}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn references(
                texts: Vec<&str>,
                pair: (&str, u32),
                slice: &[&str],
                option: Option<&u64>,
                deep: &&&[&&u8],
            ) -> Run {
                run!("{texts:?} {pair:?} {slice:?} {option:?} {deep:?}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn floats(a: f32, b: f64) -> Run {
                run!("{a} {b}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn numbers(a: u128, b: i128, c: usize, d: isize, e: char, f: bool) -> Run {
                run!("{a} {b} {c} {d} {e} {f}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn hash_map(map: HashMap<String, u64>, set: &HashSet<u64>) -> Run {
                run!("{} {}", map.len(), set.len())
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn nested_hash(map: &BTreeMap<u8, Vec<HashMap<u64, HashSet<u64>>>>) -> Run {
                run!("{}", map.len())
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn btree(map: BTreeMap<&str, u64>, set: BTreeSet<u64>) -> Run {
                run!("{map:?} {set:?}")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn arrays(bytes: [u8; 64], others: &[u64; 40], small: [[u8; 2]; 33]) -> Run {
                run!("{} {} {}", bytes[63], others[39], small[32][1])
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn shared(user: Arc<User>, text: Arc<str>, boxed: Box<[u8]>, inner: Box<User>) -> Run {
                run!("{} {text} {boxed:?} {}", user.id, inner.id)
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn enums(kind: Kind, wrapper: Wrapper<Option<Kind>>, result: Result<u8, u8>, unit: ()) -> Run {
                run!("{kind:?} {:?} {result:?} {unit:?}", wrapper.0)
            }

            #[test]
            fn types() {
                on($backend, |_| async {
                    let own = String::from("a");
                    distinct! {
                        cow("a".into(), "b".into(), Cow::Borrowed(&[1]))$($wait)* => "a b [1]",
                        cow("ab".into(), "".into(), Cow::Borrowed(&[1]))$($wait)* => "ab  [1]",
                        cow("a".into(), "b".into(), Cow::Borrowed(&[]))$($wait)* => "a b []",
                        references(vec!["a"], ("a", 1), &["a"], None, &&&[&&1][..])$($wait)*
                            => r#"["a"] ("a", 1) ["a"] None [1]"#,
                        references(vec!["a", ""], ("a", 1), &["a"], None, &&&[&&1][..])$($wait)*
                            => r#"["a", ""] ("a", 1) ["a"] None [1]"#,
                        references(vec!["a"], ("a", 2), &["a"], None, &&&[&&1][..])$($wait)*
                            => r#"["a"] ("a", 2) ["a"] None [1]"#,
                        references(vec!["a"], ("a", 1), &["a", "a"], None, &&&[&&1][..])$($wait)*
                            => r#"["a"] ("a", 1) ["a", "a"] None [1]"#,
                        references(vec!["a"], ("a", 1), &["a"], Some(&0), &&&[&&1][..])$($wait)*
                            => r#"["a"] ("a", 1) ["a"] Some(0) [1]"#,
                        references(vec!["a"], ("a", 1), &["a"], None, &&&[&&1, &&1][..])$($wait)*
                            => r#"["a"] ("a", 1) ["a"] None [1, 1]"#,
                        floats(1.5, 2.5)$($wait)* => "1.5 2.5",
                        floats(1.5, f64::NAN)$($wait)* => "1.5 NaN",
                        floats(0.0, 1.0)$($wait)* => "0 1",
                        floats(-0.0, 1.0)$($wait)* => "-0 1",
                        floats(f32::INFINITY, f64::NEG_INFINITY)$($wait)* => "inf -inf",
                        numbers(u128::MAX, i128::MIN, 1, -1, 'é', true)$($wait)*
                            => "340282366920938463463374607431768211455 \
                                -170141183460469231731687303715884105728 1 -1 é true",
                        numbers(1, 1, 1, 1, '1', true)$($wait)* => "1 1 1 1 1 true",
                        btree([("a", 1), ("b", 2)].into(), [1].into())$($wait)* => r#"{"a": 1, "b": 2} {1}"#,
                        btree([("a", 2), ("b", 1)].into(), [1].into())$($wait)* => r#"{"a": 2, "b": 1} {1}"#,
                        arrays([1; 64], &[2; 40], [[3; 2]; 33])$($wait)* => "1 2 3",
                        arrays([1; 64], &[3; 40], [[3; 2]; 33])$($wait)* => "1 3 3",
                        arrays([1; 64], &[2; 40], [[4; 2]; 33])$($wait)* => "1 2 4",
                        shared(Arc::new(user(1)), (&*own).into(), Box::new([1]), Box::new(user(2)))$($wait)* => "1 a [1] 2",
                        shared(Arc::new(user(2)), (&*own).into(), Box::new([1]), Box::new(user(1)))$($wait)* => "2 a [1] 1",
                        enums(Kind::Unit, Wrapper(None), Ok(1), ())$($wait)* => "Unit None Ok(1) ()",
                        enums(Kind::Unit, Wrapper(None), Err(1), ())$($wait)* => "Unit None Err(1) ()",
                        enums(Kind::Tuple(1, 2), Wrapper(None), Ok(1), ())$($wait)* => "Tuple(1, 2) None Ok(1) ()",
                        enums(Kind::Struct { a: 1 }, Wrapper(Some(Kind::Unit)), Ok(1), ())$($wait)*
                            => "Struct { a: 1 } Some(Unit) Ok(1) ()",
                    };
                    // Owned or borrowed is the same argument.
                    assert_eq!(cow(own.into(), "b".into(), vec![1].into())$($wait)*.of, "a b [1]");
                    assert_ran(&cow::stats(), 3, 4);
                });
            }

            #[test]
            fn hashes_in_any_order() {
                on($backend, |_| async {
                    // Each has an order of its own, by its random seed and by the order of insertion.
                    let map = |reversed: bool| -> HashMap<String, u64> {
                        let entry = |n: u64| (n.to_string(), n);
                        if reversed { (0..50).rev().map(entry).collect() } else { (0..50).map(entry).collect() }
                    };
                    let set = |n: u64| -> HashSet<u64> { (0..n).collect() };
                    let deep = |n: u64| BTreeMap::from([(1, vec![HashMap::from([(1, set(n)), (2, set(n))])])]);
                    for reversed in [false, true, false, true] {
                        hash_map(map(reversed), &set(50))$($wait)*;
                        nested_hash(&deep(50))$($wait)*;
                    }
                    assert_ran(&hash_map::stats(), 1, 3);
                    assert_ran(&nested_hash::stats(), 1, 3);
                    distinct! {
                        hash_map(map(true), &set(49))$($wait)* => "50 49",
                        hash_map(HashMap::new(), &set(50))$($wait)* => "0 50",
                        nested_hash(&deep(49))$($wait)* => "1",
                        nested_hash(&BTreeMap::new())$($wait)* => "0",
                    };
                });
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn unnamed(_: u64, _name: u64) -> Run {
                run!("")
            }

            #[cached(backend = $backend)]
            $($asyncness)? fn patterns(
                mut x: u64,
                ref y: u64,
                ref mut z: u64,
                (a, mut b): (u64, u64),
                User { id, .. }: User,
                Wrapper(inner): Wrapper<u64>,
                whole @ [first, .., _]: [u64; 3],
                &c: &u64,
                &(d, _): &(u64, u64),
            ) -> Run {
                x += 1;
                *z += 1;
                b += 1;
                run!("{x} {y} {z} {a} {b} {id} {inner} {whole:?} {first} {c} {d}")
            }

            #[cached(backend = $backend, key = "{id}/{first}/{a}/{d}")]
            $($asyncness)? fn parts(
                (a, mut _b): (u64, u64),
                User { id, name: _ }: &User,
                whole @ [first, ..]: [u64; 3],
                &(d, _): &(u64, u64),
            ) -> Run {
                run!("{a} {id} {first} {d} {}", whole.len())
            }

            #[cached(backend = $backend, skip(_trace, x, y))]
            $($asyncness)? fn skipped((x, y): (u64, u64), n: u64, _trace: u64) -> Run {
                run!("{x} {y} {n}")
            }

            #[test]
            fn patterns_count_as_a_whole() {
                on($backend, |_| async {
                    let call = (1, 2, 3, (4, 5), user(6), Wrapper(7), [8, 9, 10], &11, &(12, 13));
                    macro_rules! patterns {
                        () => {{
                            let (x, y, z, ab, user, wrapper, whole, c, d) = call.clone();
                            patterns(x, y, z, ab, user, wrapper, whole, c, d)$($wait)*
                        }};
                    }
                    distinct! {
                        unnamed(1, 2)$($wait)* => "",
                        unnamed(2, 2)$($wait)* => "",
                        unnamed(1, 1)$($wait)* => "",
                        patterns!() => "2 2 4 4 6 6 7 [8, 9, 10] 8 11 12",
                        {
                            let call = (1, 2, 3, (4, 5), user(6), Wrapper(7), [8, 10, 10], &11, &(12, 13));
                            let (x, y, z, ab, user, wrapper, whole, c, d) = call;
                            patterns(x, y, z, ab, user, wrapper, whole, c, d)$($wait)*
                        } => "2 2 4 4 6 6 7 [8, 10, 10] 8 11 12",
                        {
                            let call = (1, 2, 3, (4, 5), user(6), Wrapper(7), [8, 9, 10], &11, &(12, 14));
                            let (x, y, z, ab, user, wrapper, whole, c, d) = call;
                            patterns(x, y, z, ab, user, wrapper, whole, c, d)$($wait)*
                        } => "2 2 4 4 6 6 7 [8, 9, 10] 8 11 12",
                        parts((1, 2), &user(3), [4, 5, 6], &(7, 8))$($wait)* => "1 3 4 7 3",
                        parts((2, 2), &user(3), [4, 5, 6], &(7, 8))$($wait)* => "2 3 4 7 3",
                        parts((1, 2), &user(4), [4, 5, 6], &(7, 8))$($wait)* => "1 4 4 7 3",
                        parts((1, 2), &user(3), [5, 5, 6], &(7, 8))$($wait)* => "1 3 5 7 3",
                        parts((1, 2), &user(3), [4, 5, 6], &(8, 8))$($wait)* => "1 3 4 8 3",
                        skipped((1, 2), 3, 4)$($wait)* => "1 2 3",
                        skipped((1, 2), 4, 4)$($wait)* => "1 2 4",
                    };
                    assert_eq!(parts((1, 9), &user(3), [4, 9, 9], &(7, 9))$($wait)*.of, "1 3 4 7 3");
                    assert_eq!(skipped((9, 9), 3, 9)$($wait)*.of, "1 2 3");
                    assert_eq!(skipped::peek(3)$($wait)*.unwrap().unwrap().of, "1 2 3");
                    assert_ran(&parts::stats(), 5, 6);
                    let one = parts::peek((1, 2), &user(3), [4, 5, 6], &(7, 8))$($wait)*;
                    assert_eq!(one.unwrap().unwrap().of, "1 3 4 7 3");
                });
            }

            #[cached(backend = $backend, skip(show, log, load, pointer, cell))]
            $($asyncness)? fn unfit(
                id: u64,
                show: Box<dyn Display>,
                log: &mut Vec<u64>,
                load: &(dyn Fn(u64) -> u64 + Sync),
                pointer: fn(u64) -> u64,
                cell: &Cell<u64>,
            ) -> Run {
                log.push(id);
                cell.set(cell.get() + 1);
                run!("{show} {}", load(pointer(id)))
            }

            #[cached(backend = $backend, key = (id, log.len()))]
            $($asyncness)? fn in_a_key_of_ones_own(id: u64, log: &mut Vec<u64>) -> Run {
                log.push(id);
                run!("{id} {}", log.len())
            }

            #[test]
            fn what_is_no_key_is_skipped() {
                on($backend, |_| async {
                    let (mut log, cell) = (vec![], Cell::new(0));
                    distinct! {
                        unfit(1, Box::new('x'), &mut log, &|n| n + 1, |n| n * 10, &cell)$($wait)* => "x 11",
                        unfit(2, Box::new('x'), &mut log, &|n| n + 1, |n| n * 10, &cell)$($wait)* => "x 21",
                    };
                    assert_eq!(unfit(1, Box::new('y'), &mut log, &|n| n, |n| n, &cell)$($wait)*.of, "x 11");
                    assert_eq!((log, cell.get()), (vec![1, 2], 2));
                    unfit::invalidate(1)$($wait)*.unwrap();
                    assert_eq!(unfit::peek(1)$($wait)*.unwrap(), None);
                    distinct! {
                        in_a_key_of_ones_own(1, &mut vec![])$($wait)* => "1 1",
                        in_a_key_of_ones_own(1, &mut vec![0])$($wait)* => "1 2",
                    };
                });
            }

            #[cached(backend = $backend, key = n / 100)]
            $($asyncness)? fn by_hundreds(n: u64) -> Run {
                run!("{n}")
            }

            #[cached(backend = $backend, key = (
                a as u32, a + 1, -b, !(a == 1), a == 0 || b == 0, a..=9, &a, *c, if b < 0 { "below" } else { "above" },
            ))]
            $($asyncness)? fn by_operators(a: u8, b: i64, c: &str) -> Run {
                run!("{a} {b} {c}")
            }

            #[cached(backend = $backend, key = (n % 2 == 0, n as u8), companions = false)]
            $($asyncness)? fn by_operators_bare(n: u64) -> Run {
                run!("{n}")
            }

            struct Numbered(u64);

            impl Numbered {
                #[cached(backend = $backend, key = (self.0 * 2, n as u32))]
                $($asyncness)? fn by_operators(&self, n: u64) -> Run {
                    run!("{} {n}", self.0)
                }
            }

            #[test]
            fn keys_of_any_expression() {
                on($backend, |_| async {
                    distinct! {
                        by_hundreds(100)$($wait)* => "100",
                        by_hundreds(200)$($wait)* => "200",
                        by_operators(1, 2, "a")$($wait)* => "1 2 a",
                        by_operators(2, 2, "a")$($wait)* => "2 2 a",
                        by_operators(1, 3, "a")$($wait)* => "1 3 a",
                        by_operators(1, 2, "b")$($wait)* => "1 2 b",
                        by_operators_bare(2)$($wait)* => "2",
                        by_operators_bare(3)$($wait)* => "3",
                        Numbered(1).by_operators(1)$($wait)* => "1 1",
                        Numbered(2).by_operators(1)$($wait)* => "2 1",
                        Numbered(2).by_operators(2)$($wait)* => "2 2",
                    };
                    assert_eq!(by_hundreds(199)$($wait)*.of, "100");
                    assert_eq!(by_hundreds::peek(150)$($wait)*.unwrap().unwrap().of, "100");
                    assert_eq!(by_operators_bare(258)$($wait)*.of, "2");
                    assert_eq!(Numbered(2).by_operators_peek(2)$($wait)*.unwrap().unwrap().of, "2 2");
                });
            }

            #[cached(backend = $backend, ttl = 10, stale = "1h")]
            $($asyncness)? fn renewed(lang: &'static str, names: &'static [&'static str], text: &str) -> Run {
                run!("{lang} {names:?} {text}")
            }

            #[cached(backend = $backend, ttl = 10, stale = "1h", skip(db))]
            $($asyncness)? fn renewed_with(db: &'static Mutex<u64>, n: u64) -> Run {
                run!("{} {n}", db.lock().unwrap())
            }

            /// On no other thread.
            #[cached(backend = $backend, ttl = 10, stale = "1h", skip(db, show))]
            $($asyncness)? fn renewed_here(db: &'static Cell<u64>, show: &'static dyn Display, n: u64) -> Run {
                run!("{} {show} {n}", db.get())
            }

            #[test]
            fn what_is_static_is_kept_for_the_background() {
                on($backend, |scope| async move {
                    static DB: Mutex<u64> = Mutex::new(7);
                    let cell: &'static Cell<u64> = Box::leak(Box::new(Cell::new(8)));
                    let calls = async || {
                        [
                            renewed("en", &["a"], "b")$($wait)*,
                            renewed_with(&DB, 1)$($wait)*,
                            renewed_here(cell, &'x', 1)$($wait)*,
                        ]
                    };
                    let first = calls().await;
                    assert_eq!(first.each_ref().map(|run| &*run.of), ["en [\"a\"] b", "7 1", "8 x 1"]);
                    scope.advance(Duration::from_secs(11));
                    let served = calls().await;
                    // Without the feature `tokio` there are no tasks for it, and the caller renews.
                    if cfg!(feature = "servers") || stringify!($($asyncness)?).is_empty() {
                        assert_eq!(served[..2], first[..2], "the old values, while the background renews them");
                    }
                    assert_ne!(served[2], first[2], "the caller renews what can't be kept");
                    let started = Instant::now();
                    while calls().await.iter().zip(&first).any(|(run, first)| run == first) {
                        assert!(started.elapsed() < Duration::from_secs(30), "they are never renewed");
                        tokio::task::yield_now().await;
                    }
                });
            }
        }
    };
}

every_backend!(suite);
