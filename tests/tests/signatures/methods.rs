//! Methods with every kind of receiver, and associated functions.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use cache_runtime::cached;
use serde::{Deserialize, Serialize};

use super::{Run, assert_ran, on};

macro_rules! suite {
    ($module:ident, $backend:literal, [$($asyncness:tt)?], [$($wait:tt)*]) => {
        mod $module {
            use super::*;

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            struct Repo {
                id: u64,
                seen: Vec<u64>,
            }

            fn repo(id: u64) -> Repo {
                Repo { id, seen: Vec::new() }
            }

            impl Repo {
                #[cached(backend = $backend, key = (self.id, n))]
                $($asyncness)? fn by_ref(&self, n: u64) -> Run {
                    run!("{} {n}", self.id)
                }

                #[cached(backend = $backend, key = "{self.id}/{n}")]
                $($asyncness)? fn by_mut(&mut self, n: u64) -> Run {
                    self.seen.push(n);
                    run!("{} {n}", self.id)
                }

                #[cached(backend = $backend, key = (self, n))]
                $($asyncness)? fn by_value(self, n: u64) -> Run {
                    run!("{} {n}", self.id)
                }

                #[cached(backend = $backend, key = (self.id, n))]
                $($asyncness)? fn by_mut_value(mut self, n: u64) -> Run {
                    self.seen.push(n);
                    run!("{} {:?}", self.id, self.seen)
                }

                #[cached(backend = $backend, key = (self.id, n))]
                $($asyncness)? fn by_arc(self: Arc<Self>, n: u64) -> Run {
                    run!("{} {n}", self.id)
                }

                #[cached(backend = $backend, key = self)]
                $($asyncness)? fn by_whole_arc(self: Arc<Self>) -> Run {
                    run!("{} {:?}", self.id, self.seen)
                }

                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn by_rc(self: Rc<Self>, n: u64) -> Run {
                    run!("{n}")
                }

                #[cached(backend = $backend, key = (self.id, n))]
                $($asyncness)? fn by_box(mut self: Box<Self>, n: u64) -> Run {
                    self.seen.push(n);
                    run!("{} {:?}", self.id, self.seen)
                }

                #[cached(backend = $backend, key = (self.id, n))]
                $($asyncness)? fn by_pin(self: Pin<&Self>, n: u64) -> Run {
                    run!("{} {n}", self.id)
                }

                #[cached(backend = $backend, key = (self.id, n))]
                $($asyncness)? fn by_pin_mut(mut self: Pin<&mut Self>, n: u64) -> Run {
                    self.seen.push(n);
                    run!("{} {n}", self.id)
                }

                #[cached(backend = $backend, key = (self.id, n))]
                $($asyncness)? fn by_ref_arc(self: &Arc<Self>, n: u64) -> Run {
                    run!("{} {n}", self.id)
                }

                #[cached(backend = $backend, key = self)]
                $($asyncness)? fn by_whole(&self) -> Run {
                    run!("{} {:?}", self.id, self.seen)
                }

                #[cached(backend = $backend, skip(self))]
                $($asyncness)? fn shared(&self, n: u64) -> Run {
                    run!("{n}")
                }

                #[cached(backend = $backend, skip(self), companions = other)]
                $($asyncness)? fn renamed(&self, n: u64) -> Run {
                    run!("{n}")
                }

                #[cached(backend = $backend, key = (self.id, n), companions = false)]
                $($asyncness)? fn bare(&mut self, (n, _): (u64, u64)) -> Option<Run> {
                    self.seen.push(n);
                    let odd = n.checked_rem(2).filter(|rest| *rest == 1)?;
                    Some(run!("{} {n} {odd}", self.id))
                }
            }

            #[test]
            fn every_receiver() {
                on($backend, |_| async {
                    let (mut a, mut b) = (repo(1), repo(2));
                    distinct! {
                        a.by_ref(1)$($wait)* => "1 1",
                        a.by_ref(2)$($wait)* => "1 2",
                        b.by_ref(1)$($wait)* => "2 1",
                        a.by_mut(1)$($wait)* => "1 1",
                        a.by_mut(2)$($wait)* => "1 2",
                        b.by_mut(1)$($wait)* => "2 1",
                        repo(1).by_value(1)$($wait)* => "1 1",
                        repo(1).by_value(2)$($wait)* => "1 2",
                        repo(2).by_value(1)$($wait)* => "2 1",
                        repo(1).by_mut_value(1)$($wait)* => "1 [1]",
                        repo(2).by_mut_value(1)$($wait)* => "2 [1]",
                        Arc::new(repo(1)).by_arc(1)$($wait)* => "1 1",
                        Arc::new(repo(2)).by_arc(1)$($wait)* => "2 1",
                        Arc::new(repo(1)).by_whole_arc()$($wait)* => "1 []",
                        Arc::new(repo(2)).by_whole_arc()$($wait)* => "2 []",
                        Rc::new(repo(1)).by_rc(1)$($wait)* => "1",
                        Rc::new(repo(1)).by_rc(2)$($wait)* => "2",
                        Box::new(repo(1)).by_box(1)$($wait)* => "1 [1]",
                        Box::new(repo(2)).by_box(1)$($wait)* => "2 [1]",
                        Pin::new(&a).by_pin(1)$($wait)* => "1 1",
                        Pin::new(&b).by_pin(1)$($wait)* => "2 1",
                        Pin::new(&mut a).by_pin_mut(3)$($wait)* => "1 3",
                        Pin::new(&mut b).by_pin_mut(3)$($wait)* => "2 3",
                        (&Arc::new(repo(1))).by_ref_arc(1)$($wait)* => "1 1",
                        (&Arc::new(repo(2))).by_ref_arc(1)$($wait)* => "2 1",
                        repo(1).by_whole()$($wait)* => "1 []",
                        repo(2).by_whole()$($wait)* => "2 []",
                        a.by_whole()$($wait)* => "1 [1, 2, 3]",
                    };
                    assert_eq!((a.seen, b.seen), (vec![1, 2, 3], vec![1, 3]), "bodies change what they borrow");
                    assert_ran(&Repo::by_ref_stats(), 3, 3);
                    assert_ran(&Repo::by_mut_stats(), 3, 3);
                    assert_ran(&Repo::by_whole_stats(), 3, 3);
                });
            }

            #[test]
            fn skipped_receivers_share() {
                on($backend, |_| async {
                    assert_eq!(repo(1).shared(1)$($wait)*, repo(2).shared(1)$($wait)*);
                    assert_ne!(repo(1).shared(2)$($wait)*, repo(1).shared(1)$($wait)*);
                    assert_ran(&Repo::shared_stats(), 2, 2);
                });
            }

            #[test]
            fn companions_are_siblings() {
                on($backend, |_| async {
                    let (a, b) = (repo(1), repo(2));
                    let (one, two) = (run!("one"), run!("two"));
                    assert_eq!(a.by_ref_peek(1)$($wait)*.unwrap(), None);
                    a.by_ref_insert(1, one.clone())$($wait)*.unwrap();
                    b.by_ref_insert(1, two.clone())$($wait)*.unwrap();
                    assert_eq!((a.by_ref(1)$($wait)*, b.by_ref(1)$($wait)*), (one.clone(), two.clone()));
                    assert_eq!(a.by_ref_uncached(1)$($wait)*.of, "1 1");
                    assert_eq!(a.by_ref_peek(1)$($wait)*.unwrap(), Some(one));
                    let again = a.by_ref_refresh(1)$($wait)*;
                    assert_eq!((&*again.of, a.by_ref(1)$($wait)*), ("1 1", again.clone()));
                    b.by_ref_invalidate(1)$($wait)*.unwrap();
                    assert_eq!(b.by_ref_peek(1)$($wait)*.unwrap(), None);
                    assert_eq!(a.by_ref_peek(1)$($wait)*.unwrap(), Some(again));
                    assert_ne!(a.by_ref_key(1), b.by_ref_key(1));
                    assert_ran(&Repo::by_ref_stats(), 1, 3);
                    Repo::by_ref_clear()$($wait)*.unwrap();
                    assert_eq!(a.by_ref_peek(1)$($wait)*.unwrap(), None);

                    // Those of a function that skips `self` need none, save what runs the body.
                    Repo::shared_insert(1, two.clone())$($wait)*.unwrap();
                    assert_eq!(a.shared(1)$($wait)*, two);
                    assert_eq!(a.shared_refresh(1)$($wait)*.of, "1");
                    Repo::shared_invalidate(1)$($wait)*.unwrap();
                    assert_eq!(Repo::shared_peek(1)$($wait)*.unwrap(), None);
                    assert_eq!(Repo::shared_key(1), Repo::shared_key(1));
                    Repo::other_insert(1, two.clone())$($wait)*.unwrap();
                    assert_eq!(a.renamed(1)$($wait)*, two);

                    // Those of a function that takes `self` some other way borrow it.
                    Arc::new(repo(7)).by_whole_arc()$($wait)*;
                    assert_eq!(repo(7).by_whole_arc_peek()$($wait)*.unwrap().unwrap().of, "7 []");
                    Pin::new(&a).by_pin(7)$($wait)*;
                    assert_eq!(a.by_pin_peek(7)$($wait)*.unwrap().unwrap().of, "1 7");
                    repo(7).by_value(1)$($wait)*;
                    repo(7).by_value_invalidate(1)$($wait)*.unwrap();
                    assert_eq!(repo(7).by_value_peek(1)$($wait)*.unwrap(), None);
                });
            }

            #[test]
            fn no_companions() {
                on($backend, |_| async {
                    let (mut a, mut b) = (repo(1), repo(2));
                    distinct! {
                        a.bare((1, 0))$($wait)*.unwrap() => "1 1 1",
                        a.bare((3, 0))$($wait)*.unwrap() => "1 3 1",
                        b.bare((1, 0))$($wait)*.unwrap() => "2 1 1",
                    }
                });
            }
        }
    };
}

every_backend!(suite);
