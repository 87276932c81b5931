//! Around the end of a lifetime: `stale`, `on_error`, `early` and `jitter`, on every backend, for threads and tasks.
//!
//! Time is the scope's clock. Bodies meet the test at gates, so that "nobody waits" is shown by a gate that stays shut.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[cfg(feature = "servers")]
use cache_runtime::Stats;
use cache_runtime::testing::Scope;
use cache_runtime::{Config, Origin, cached};

/// What bodies and the test see of each other. Cloned with the arguments, so that renewals may keep it.
#[derive(Clone, Default)]
struct World(Arc<Inner>);

#[derive(Default)]
struct Inner {
    runs: AtomicU64,
    fails: AtomicBool,
    shut: Mutex<bool>,
    opened: Condvar,
    opened_async: tokio::sync::Notify,
}

impl World {
    fn runs(&self) -> u64 {
        self.0.runs.load(Ordering::SeqCst)
    }

    /// What the next runs do.
    fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::SeqCst);
    }

    fn fails(&self) -> bool {
        self.0.fails.load(Ordering::SeqCst)
    }

    fn shut(&self) {
        *self.0.shut.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.0.shut.lock().unwrap() = false;
        self.0.opened.notify_all();
        self.0.opened_async.notify_waiters();
    }

    /// A run: its number, once the gate is open.
    fn run(&self) -> u64 {
        let number = self.0.runs.fetch_add(1, Ordering::SeqCst) + 1;
        drop(self.0.opened.wait_while(self.0.shut.lock().unwrap(), |shut| *shut).unwrap());
        number
    }

    #[cfg(feature = "servers")]
    async fn run_async(&self) -> u64 {
        let number = self.0.runs.fetch_add(1, Ordering::SeqCst) + 1;
        loop {
            let opened = self.0.opened_async.notified();
            let mut opened = std::pin::pin!(opened);
            opened.as_mut().enable();
            if !*self.0.shut.lock().unwrap() {
                return number;
            }
            opened.await;
        }
    }
}

/// A clonable borrow would be kept by a renewal: this one can't.
struct Here<'w>(&'w World);

const SECOND: Duration = Duration::from_secs(1);

fn until(condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < 30 * SECOND, "this never comes");
        std::thread::yield_now();
    }
}

#[cfg(feature = "servers")]
async fn until_async(condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < 30 * SECOND, "this never comes");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

macro_rules! blocking {
    ($module:ident, $backend:literal, $servers:expr) => {
        mod $module {
            use super::*;

            fn scope() -> (Scope, impl Sized) {
                let (config, servers) = $servers;
                (Scope::with_config(config).unwrap(), servers)
            }

            #[cached(backend = $backend, ttl = 10, stale = "5s", skip(world))]
            fn owned(world: &World, _name: &str, id: u64) -> u64 {
                world.run() * 100 + id
            }

            #[cached(backend = $backend, ttl = 10, stale = "5s", skip(here))]
            fn borrowed(here: Here<'_>, id: u64) -> Result<u64, String> {
                let number = here.0.run();
                if here.0.fails() { Err(format!("run {number} fails")) } else { Ok(number * 100 + id) }
            }

            #[test]
            fn a_stale_value_is_served_while_the_background_renews_it() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(owned(&world, "a", 1), 101);
                scope.advance(11 * SECOND);
                world.shut();
                for _ in 0..3 {
                    assert_eq!(owned(&world, "a", 1), 101);
                }
                until(|| world.runs() == 2);
                assert_eq!(owned::peek("a", 1).unwrap(), Some(101), "what a call would be answered with");
                world.open();
                until(|| owned(&world, "a", 1) == 201);
                until(|| owned::stats().stores == 2);
                let stats = owned::stats();
                assert_eq!((stats.runs, stats.misses), (2, 1), "{stats}");
                assert!(stats.stale >= 3 && stats.stale < stats.hits, "{stats}");
            }

            #[test]
            fn after_its_window_a_value_is_gone() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(owned(&world, "a", 1), 101);
                scope.advance(15 * SECOND);
                assert_eq!(owned::peek("a", 1).unwrap(), None);
                assert_eq!(owned(&world, "a", 1), 201);
            }

            #[test]
            fn the_elected_caller_pays_where_arguments_cant_be_kept() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(borrowed(Here(&world), 1), Ok(101));
                scope.advance(11 * SECOND);
                world.shut();
                std::thread::scope(|threads| {
                    let elected = threads.spawn(|| {
                        let _entered = scope.enter();
                        borrowed(Here(&world), 1)
                    });
                    until(|| world.runs() == 2);
                    assert_eq!(borrowed(Here(&world), 1), Ok(101), "the others are served");
                    world.open();
                    assert_eq!(elected.join().unwrap(), Ok(201));
                });
                assert_eq!(borrowed(Here(&world), 1), Ok(201));
            }

            #[test]
            fn a_failing_body_leaves_the_old_value_until_its_window_ends() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(borrowed(Here(&world), 1), Ok(101));
                scope.advance(11 * SECOND);
                world.fail(true);
                for _ in 0..3 {
                    assert_eq!(borrowed(Here(&world), 1), Ok(101));
                }
                assert_eq!(world.runs(), 2, "no second attempt within the pause");
                scope.advance(SECOND);
                assert_eq!(borrowed(Here(&world), 1), Ok(101));
                assert_eq!(world.runs(), 3, "a pause is a tenth of the window");
                scope.advance(3 * SECOND);
                assert_eq!(borrowed(Here(&world), 1), Err("run 4 fails".to_owned()));
                world.fail(false);
                assert_eq!(borrowed(Here(&world), 1), Ok(501));
            }

            #[cached(backend = $backend, ttl = 10, on_error = "50s", skip(here))]
            fn kept(here: Here<'_>, id: u64) -> Result<Option<u64>, String> {
                let number = here.0.run();
                if here.0.fails() { Err(format!("run {number} fails")) } else { Ok((id > 0).then_some(number)) }
            }

            #[test]
            fn fresh_if_it_can_be_and_old_if_it_must_be() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(kept(Here(&world), 1), Ok(Some(1)));
                scope.advance(11 * SECOND);
                assert_eq!(kept::peek(1).unwrap(), None, "a call would run the body");
                assert_eq!(kept(Here(&world), 1), Ok(Some(2)), "nobody is served what is old without need");
                scope.advance(11 * SECOND);
                world.fail(true);
                assert_eq!(kept::lookup(Here(&world), 1), (Ok(Some(2)), Origin::Stale));
                assert_eq!(kept(Here(&world), 1), Ok(Some(2)));
                assert_eq!(world.runs(), 3, "no second attempt within the pause");
                scope.advance(5 * SECOND);
                assert_eq!(kept(Here(&world), 1), Ok(Some(2)));
                assert_eq!(world.runs(), 4, "a pause is a tenth of the window");
                let stats = kept::stats();
                assert_eq!((stats.hits, stats.misses, stats.stale, stats.runs), (1, 4, 3, 4), "{stats}");
                world.fail(false);
                scope.advance(5 * SECOND);
                assert_eq!(kept(Here(&world), 1), Ok(Some(5)));
                world.fail(true);
                scope.advance(60 * SECOND);
                assert_eq!(kept(Here(&world), 1), Err("run 6 fails".to_owned()), "its window is over");
            }

            #[test]
            fn all_who_wait_for_a_run_that_fails_get_the_old_value() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(kept(Here(&world), 1), Ok(Some(1)));
                scope.advance(11 * SECOND);
                world.fail(true);
                world.shut();
                std::thread::scope(|threads| {
                    let call = || {
                        let _entered = scope.enter();
                        kept(Here(&world), 1)
                    };
                    let calls = [(); 4].map(|()| threads.spawn(call));
                    until(|| kept::stats().misses == 5);
                    world.open();
                    assert_eq!(calls.map(|call| call.join().unwrap()), [(); 4].map(|()| Ok(Some(1))));
                });
                assert_eq!(world.runs(), 2);
            }

            #[test]
            fn a_refresh_that_fails_gives_the_last_good_value() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                world.fail(true);
                assert_eq!(kept::refresh(Here(&world), 1), Err("run 1 fails".to_owned()));
                world.fail(false);
                assert_eq!(kept::refresh(Here(&world), 1), Ok(Some(2)));
                world.fail(true);
                for (age, run) in [(0, 3), (11, 4)] {
                    scope.advance(age * SECOND);
                    assert_eq!((kept::refresh(Here(&world), 1), world.runs()), (Ok(Some(2)), run));
                }
                scope.advance(60 * SECOND);
                assert_eq!(kept::refresh(Here(&world), 1), Err("run 5 fails".to_owned()));
            }

            #[test]
            fn an_answer_that_is_not_stored_is_no_failure() {
                #[cached(backend = $backend, ttl = 10, on_error = "50s", skip(here))]
                fn maybe(here: Here<'_>) -> Option<u64> {
                    let number = here.0.run();
                    (!here.0.fails()).then_some(number)
                }
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(maybe(Here(&world)), Some(1));
                scope.advance(11 * SECOND);
                world.fail(true);
                assert_eq!((maybe(Here(&world)), maybe(Here(&world)), world.runs()), (None, None, 3));
            }

            #[test]
            fn a_panic_is_a_failure() {
                #[cached(backend = $backend, ttl = 10, on_error = "50s", skip(here))]
                fn panicking(here: Here<'_>) -> u64 {
                    let number = here.0.run();
                    assert!(!here.0.fails(), "on purpose");
                    number
                }
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(panicking(Here(&world)), 1);
                scope.advance(11 * SECOND);
                world.fail(true);
                assert_eq!((panicking(Here(&world)), world.runs()), (1, 2));
            }

            #[test]
            fn a_success_ends_the_pause() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(borrowed(Here(&world), 1), Ok(101));
                scope.advance(11 * SECOND);
                world.fail(true);
                assert_eq!(borrowed(Here(&world), 1), Ok(101));
                world.fail(false);
                assert_eq!(borrowed::refresh(Here(&world), 1), Ok(301));
                assert_eq!(borrowed(Here(&world), 1), Ok(301));
                assert_eq!(borrowed::stats().stale, 1);
            }

            #[test]
            fn a_panicking_body_leaves_the_old_value_too() {
                #[cached(backend = $backend, ttl = 10, stale = "5s", skip(here))]
                fn panicking(here: Here<'_>, id: u64) -> u64 {
                    let number = here.0.run();
                    assert!(!here.0.fails(), "on purpose");
                    number * 100 + id
                }
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(panicking(Here(&world), 1), 101);
                world.fail(true);
                scope.advance(11 * SECOND);
                assert_eq!((panicking(Here(&world), 1), world.runs()), (101, 2));
                assert_eq!((panicking(Here(&world), 1), world.runs()), (101, 2));
                scope.advance(5 * SECOND);
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panicking(Here(&world), 1)));
                assert!(panicked.is_err(), "its window is over");
            }

            #[test]
            fn nothing_old_outlives_an_answer_that_is_not_stored() {
                #[cached(backend = $backend, ttl = 10, stale = "5s", skip(here))]
                fn maybe(here: Here<'_>, id: u64) -> Option<u64> {
                    let number = here.0.run();
                    (!here.0.fails()).then_some(number * 100 + id)
                }
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                for renew in [maybe as fn(Here<'_>, u64) -> Option<u64>, maybe::refresh] {
                    world.fail(false);
                    assert!(maybe(Here(&world), 1).is_some());
                    scope.advance(11 * SECOND);
                    world.fail(true);
                    assert_eq!(renew(Here(&world), 1), None);
                    until(|| maybe::peek(1).unwrap().is_none());
                    assert_eq!(maybe(Here(&world), 1), None);
                }
            }

            #[test]
            fn an_invalidation_wins_over_a_renewal() {
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(owned(&world, "a", 1), 101);
                scope.advance(11 * SECOND);
                world.shut();
                assert_eq!(owned(&world, "a", 1), 101);
                until(|| world.runs() == 2);
                owned::invalidate("a", 1).unwrap();
                world.open();
                until(|| owned::stats().runs == 2);
                assert_eq!(owned::peek("a", 1).unwrap(), None);
                assert_eq!(owned(&world, "a", 1), 301);
            }

            #[test]
            fn negative_lifetimes_have_their_window_too() {
                #[cached(backend = $backend, ttl = 100, negative_ttl = 10, stale = "5s", cache_none = true, skip(here))]
                fn none(here: Here<'_>) -> Option<u64> {
                    here.0.run();
                    None
                }
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(none(Here(&world)), None);
                scope.advance(11 * SECOND);
                assert_eq!(none::peek().unwrap(), Some(None));
                scope.advance(5 * SECOND);
                assert_eq!(none::peek().unwrap(), None);
            }

            #[test]
            fn an_early_renewal_comes_before_the_end() {
                // However short a run, a million million of them are more than a minute.
                #[cached(backend = $backend, ttl = |_| Duration::from_secs(60), early = 1000000000000, skip(world))]
                fn eager(world: &World, id: u64) -> u64 {
                    world.run() * 100 + id
                }
                #[cached(backend = $backend, ttl = 60, early = true, skip(world))]
                fn calm(world: &World, id: u64) -> u64 {
                    world.run() * 100 + id
                }
                let (scope, _servers) = scope();
                let (_entered, world) = (scope.enter(), World::default());
                assert_eq!(eager(&world, 1), 101);
                world.shut();
                until(|| {
                    assert_eq!(eager(&world, 1), 101, "nobody waits");
                    world.runs() == 2
                });
                world.open();
                until(|| eager::peek(1).unwrap() == Some(201));
                assert_eq!(eager::stats().stale, 0);
                // Most of a minute before its end nobody renews what takes microseconds.
                let before = world.runs();
                calm(&world, 1);
                for _ in 0..1000 {
                    calm(&world, 1);
                }
                assert_eq!(calm::stats().runs, 1, "{before}");
            }

            #[test]
            fn jitter_spreads_ends_and_postpones_none() {
                #[cached(backend = $backend, ttl = 100, jitter = 0.1)]
                fn spread(id: u64) -> u64 {
                    id
                }
                let (scope, _servers) = scope();
                let _entered = scope.enter();
                let there = || (0..200).filter(|id| spread::peek(*id).unwrap().is_some()).count();
                (0..200).for_each(|id| assert_eq!(spread(id), id));
                scope.advance(Duration::from_millis(89_900));
                assert_eq!(there(), 200);
                scope.advance(Duration::from_millis(5_100));
                // Each goes by chance, so that none or all would be one case in 2^200.
                assert!((1..200).contains(&there()), "{}", there());
                scope.advance(5 * SECOND);
                assert_eq!(there(), 0);
            }
        }
    };
}

blocking!(memory, "memory", (Config::new(), ()));
blocking!(bytes, "bytes", (Config::new().url("bytes", "memory://"), ()));

/// A life that lasts as long as it is read.
mod idle {
    use super::*;

    #[cached(idle = 160, ttl = 1000)]
    fn number(n: u64) -> u64 {
        n
    }

    #[cached(idle = Duration::from_secs(160))]
    fn text(n: u64) -> String {
        n.to_string()
    }

    #[cached(idle = "160s")]
    fn under_a_long_key(a: u64, b: u64, c: u64) -> u64 {
        a + b + c
    }

    #[test]
    fn each_read_lengthens_a_life_up_to_its_ttl() {
        let scope = Scope::new();
        let _entered = scope.enter();
        let call = || (number(1), text(1), under_a_long_key(1, 2, 3));
        for _ in 0..9 {
            assert_eq!(call(), (1, "1".to_owned(), 6));
            scope.advance(100 * SECOND);
        }
        assert_eq!((number::stats().runs, text::stats().runs, under_a_long_key::stats().runs), (1, 1, 1));
        assert_eq!(number::stats().hits, 8);
        // At 900 seconds it lives 100 more, and no longer.
        assert_eq!(call().0, 1);
        scope.advance(100 * SECOND);
        assert_eq!((number::peek(1).unwrap(), text::peek(1).unwrap()), (None, Some("1".to_owned())));
        scope.advance(160 * SECOND);
        assert_eq!((text::peek(1).unwrap(), under_a_long_key::peek(1, 2, 3).unwrap()), (None, None));
    }

    #[test]
    fn who_is_not_read_goes() {
        let scope = Scope::new();
        let _entered = scope.enter();
        (0..10).for_each(|n| drop(text(n)));
        for _ in 0..3 {
            scope.advance(80 * SECOND);
            assert_eq!(text(7), "7");
        }
        let left: Vec<u64> = (0..10).filter(|n| text::peek(*n).unwrap().is_some()).collect();
        assert_eq!((left, text::stats().runs), (vec![7], 10));
    }

    #[test]
    fn other_options_fit() {
        const MANY: usize = 100;

        #[cached(idle = 60, jitter = 0.1, cache_none = true, negative_ttl = 5, capacity = 2 * MANY)]
        fn maybe(n: u64) -> Option<u64> {
            (n > 0).then_some(n)
        }

        let scope = Scope::new();
        let _entered = scope.enter();
        assert_eq!((maybe(0), maybe(1)), (None, Some(1)));
        for _ in 0..4 {
            scope.advance(2 * SECOND);
            assert_eq!((maybe(0), maybe(1)), (None, Some(1)));
        }
        assert_eq!(maybe::stats().runs, 3, "what is negative lives no longer than it may");
        (0..1_000).for_each(|n| _ = maybe(n));
        assert_eq!(maybe::stats().entries, 200);
    }
}

// Tasks are for the feature `tokio`, which comes with the servers. Without it the elected caller runs the body.
#[cfg(feature = "servers")]
macro_rules! tasks {
    ($module:ident, $backend:literal, $servers:expr) => {
        mod $module {
            use super::*;

            #[cached(backend = $backend, ttl = 10, stale = "5s", skip(world))]
            async fn stale(world: &World, id: u64) -> u64 {
                world.run_async().await * 100 + id
            }

            #[cached(backend = $backend, ttl = 10, early = true, skip(world))]
            async fn early(world: World, id: u64) -> u64 {
                // What a run costs is measured: this makes ten seconds too long before the end, and a millisecond not.
                tokio::time::sleep(Duration::from_millis(20)).await;
                world.run_async().await * 100 + id
            }

            /// An error that may not move between threads, and a future that may not either.
            #[cached(backend = $backend, ttl = 10, stale = "5s", skip(world))]
            async fn bound(world: &World, id: u64) -> Result<u64, std::rc::Rc<str>> {
                let here = std::rc::Rc::new(id);
                let number = world.run_async().await;
                if world.fails() { Err("down".into()) } else { Ok(number * 100 + *here) }
            }

            /// 64 calls at once; what they return.
            async fn calls<F: Future<Output = u64>>(call: impl Fn() -> F) -> Vec<u64> {
                let mut calls: Vec<_> = (0..64).map(|_| Box::pin(call())).collect();
                let mut results = Vec::new();
                for call in &mut calls {
                    results.push(call.await);
                }
                results
            }

            async fn six_expiries<F: Future<Output = u64>>(
                scope: &Scope,
                age: Duration,
                call: impl Fn(World) -> F,
                stats: impl Fn() -> Stats,
            ) {
                let world = World::default();
                assert_eq!(calls(|| call(world.clone())).await, [101; 64]);
                for round in 1..=6 {
                    scope.advance(age);
                    world.shut();
                    assert_eq!(calls(|| call(world.clone())).await, [round * 100 + 1; 64], "nobody waits");
                    world.open();
                    until_async(|| stats().stores == round + 1).await;
                    assert_eq!(calls(|| call(world.clone())).await, [round * 100 + 101; 64]);
                    assert_eq!(world.runs(), round + 1, "one at a time");
                }
            }

            fn run<F: Future<Output = ()>>(test: impl FnOnce(Scope) -> F) {
                let (config, _servers) = $servers;
                let scope = Scope::with_config(config).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let test = scope.run(test(scope.clone()));
                runtime.block_on(async { tokio::time::timeout(60 * SECOND, test).await.unwrap() });
            }

            #[test]
            fn nobody_but_the_first_waits_over_six_ends_with_a_window() {
                run(|scope| async move {
                    six_expiries(&scope, 11 * SECOND, async |world| stale(&world, 1).await, stale::stats)
                        .await;
                });
            }

            #[test]
            fn nobody_but_the_first_waits_over_six_ends_that_are_seen_coming() {
                run(|scope| async move {
                    let (age, call) = (Duration::from_millis(9_999), async |world| early(world, 1).await);
                    six_expiries(&scope, age, call, early::stats).await;
                });
            }

            #[test]
            fn a_future_that_cant_move_is_run_by_the_elected_caller() {
                run(|scope| async move {
                    let world = World::default();
                    assert_eq!(bound(&world, 1).await, Ok(101));
                    scope.advance(11 * SECOND);
                    world.fail(true);
                    assert_eq!(bound(&world, 1).await, Ok(101));
                    assert_eq!(world.runs(), 2);
                    world.fail(false);
                    scope.advance(SECOND);
                    assert_eq!(bound(&world, 1).await, Ok(301));
                    world.fail(true);
                    scope.advance(15 * SECOND);
                    assert_eq!(bound(&world, 1).await, Err("down".into()));
                });
            }

            #[test]
            fn fresh_if_it_can_be_and_old_if_it_must_be() {
                #[cached(backend = $backend, ttl = 10, on_error = "50s", skip(world))]
                async fn kept(world: &World, id: u64) -> Result<u64, String> {
                    let number = world.run_async().await;
                    if world.fails() { Err(format!("run {number} fails")) } else { Ok(number * 100 + id) }
                }
                run(|scope| async move {
                    let world = World::default();
                    assert_eq!(kept(&world, 1).await, Ok(101));
                    scope.advance(11 * SECOND);
                    world.fail(true);
                    world.shut();
                    let calls = async { tokio::join!(kept(&world, 1), kept(&world, 1), kept(&world, 1)) };
                    let open = async {
                        until_async(|| kept::stats().misses == 4).await;
                        world.open();
                    };
                    let (old, ()) = tokio::join!(calls, open);
                    assert_eq!((old, world.runs()), ((Ok(101), Ok(101), Ok(101)), 2));
                    assert_eq!(kept::refresh(&world, 1).await, Ok(101));
                    world.fail(false);
                    scope.advance(6 * SECOND);
                    assert_eq!(kept(&world, 1).await, Ok(401));
                });
            }

            #[test]
            fn an_elected_caller_that_is_cancelled_leaves_the_renewal_to_the_next() {
                run(|scope| async move {
                    let world = World::default();
                    assert_eq!(bound(&world, 1).await, Ok(101));
                    scope.advance(11 * SECOND);
                    world.shut();
                    tokio::time::timeout(Duration::from_millis(200), bound(&world, 1)).await.unwrap_err();
                    assert_eq!(world.runs(), 2);
                    world.open();
                    assert_eq!(bound(&world, 1).await, Ok(301));
                });
            }
        }
    };
}

#[cfg(feature = "servers")]
mod servers {
    use super::*;
    use cache_tests::servers::{MemcachedServer, RedisServer};

    fn redis() -> (Config, RedisServer) {
        let server = RedisServer::start();
        (Config::new().url("redis", &server.url()), server)
    }

    fn memcached() -> (Config, MemcachedServer) {
        let server = MemcachedServer::start();
        (Config::new().url("memcached", &server.url()), server)
    }

    /// Two machines share runs, and what there is if these fail.
    #[test]
    fn a_cluster_falls_back_on_one_old_value() {
        #[cached(backend = "redis", ttl = 10, on_error = "50s", single_flight = "cluster", skip(world))]
        fn kept(world: &World) -> Result<u64, String> {
            let number = world.run();
            if world.fails() { Err(format!("run {number} fails")) } else { Ok(number) }
        }
        let (config, _server) = redis();
        let scopes = [(), ()].map(|()| Scope::with_config(config.clone()).unwrap());
        let world = World::default();
        let call = |machine: usize| {
            let _entered = scopes[machine].enter();
            kept(&world)
        };
        assert_eq!([call(0), call(1)], [Ok(1), Ok(1)]);
        scopes.iter().for_each(|scope| scope.advance(11 * SECOND));
        world.fail(true);
        assert_eq!([call(0), call(1)], [Ok(1), Ok(1)]);
        assert_eq!([call(0), call(1)], [Ok(1), Ok(1)]);
        assert_eq!(world.runs(), 3, "one run on each, and a pause");
        world.fail(false);
        scopes.iter().for_each(|scope| scope.advance(6 * SECOND));
        assert_eq!([call(0), call(1)], [Ok(4), Ok(4)]);
    }

    blocking!(redis_blocking, "redis", redis());
    blocking!(memcached_blocking, "memcached", memcached());
    tasks!(memory_async, "memory", (Config::new(), ()));
    tasks!(redis_async, "redis", redis());
    tasks!(memcached_async, "memcached", memcached());
}

/// Machines whose clocks differ.
#[cfg(feature = "servers")]
mod clocks {
    use super::*;
    use cache_tests::servers::{MemcachedServer, RedisServer};

    /// The clocks of two machines: the first is `ahead`.
    fn two_machines(url: &str, ahead: Duration) -> [Scope; 2] {
        let [first, second] =
            [(), ()].map(|()| Scope::with_config(Config::new().url("shared", url)).unwrap());
        first.advance(ahead);
        [first, second]
    }

    #[cached(backend = "shared", ttl = 3, stale = "1m")]
    fn renewed(n: u64) -> u64 {
        n
    }

    #[cached(backend = "shared", ttl = 3)]
    fn plain(n: u64) -> u64 {
        n
    }

    #[test]
    fn no_life_is_longer_because_a_clock_is_ahead() {
        let (redis, memcached) = (RedisServer::start(), MemcachedServer::start());
        for url in [redis.url(), memcached.url()] {
            let [first, second] = two_machines(&url, Duration::from_secs(30));
            {
                let _entered = first.enter();
                assert_eq!((renewed(1), plain(1)), (1, 1));
            }
            {
                let _entered = second.enter();
                assert_eq!((renewed(1), plain(1)), (1, 1));
                assert_eq!((renewed::stats().stale, plain::stats().misses), (1, 1), "both are due");
                until(|| renewed::stats().runs == 1);
            }
            let cache = |scope: &Scope| {
                let _entered = scope.enter();
                cache_runtime::Cache::named("shared").unwrap()
            };
            // The lifetimes of the plain cache are the server's.
            cache(&first).set("key", &1_u8, Duration::from_secs(60)).unwrap();
            assert_eq!(cache(&second).get("key").unwrap(), Some(1_u8));
        }
    }

    #[test]
    fn a_small_difference_of_clocks_costs_nothing() {
        let redis = RedisServer::start();
        let [first, second] = two_machines(&redis.url(), Duration::from_millis(500));
        for scope in [first, second] {
            let _entered = scope.enter();
            assert_eq!((renewed(1), plain(1)), (1, 1));
        }
        let [_, third] = two_machines(&redis.url(), Duration::ZERO);
        let _entered = third.enter();
        assert_eq!((renewed(1), plain(1)), (1, 1));
        assert_eq!((renewed::stats().hits, plain::stats().hits), (1, 1));
        assert_eq!((renewed::stats().stale, renewed::stats().runs), (0, 0));
    }
}

/// Options around the end of a lifetime, of functions whose entries have none.
mod without_a_ttl {
    use super::*;

    #[cached(stale = 60)]
    fn stale(n: u64) -> u64 {
        n
    }

    #[cached(backend = "shared", early = true, jitter = 0.1)]
    fn early(n: u64) -> u64 {
        n
    }

    #[cached(jitter = 0.1, companions = false)]
    fn jittered(n: u64) -> u64 {
        n
    }

    #[cached(jitter = 0.1, cache_none = true, negative_ttl = 5)]
    fn negative(n: u64) -> Option<u64> {
        Some(n)
    }

    fn check(config: Config) -> Vec<String> {
        let scope = Scope::with_config(config).unwrap();
        let _entered = scope.enter();
        assert_eq!((stale(1), early(1), jittered(1), negative(1)), (1, 1, 1, Some(1)));
        let problems = cache_runtime::check().err().map(|error| error.to_string()).unwrap_or_default();
        problems.lines().map(str::to_owned).collect()
    }

    #[test]
    fn options_without_effect_are_reported() {
        let shared = Config::new().url("shared", "memory://");
        let mut problems = check(shared.clone());
        problems.sort();
        let is_about = |index: usize, option: &str, function: &str| {
            let problem = &problems[index];
            problem.contains(&format!("`{option}` has no effect"))
                && problem.contains(&format!("::{function})"))
        };
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(is_about(0, "early", "early"), "{problems:?}");
        assert!(is_about(1, "jitter", "jittered"), "{problems:?}");
        assert!(is_about(2, "stale", "stale"), "{problems:?}");

        let problems = check(Config::new().url("shared", "memory://?ttl=5m"));
        assert_eq!(problems.len(), 2, "a URL may give a ttl: {problems:?}");
        assert!(check(shared.default_ttl(Duration::from_secs(60))).is_empty());
    }
}
