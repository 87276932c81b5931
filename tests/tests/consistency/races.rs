//! Cleared and invalidated entries stay gone, however slow or late other calls, stores and clears are.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cache_runtime::testing::Scope;
use cache_runtime::{AsyncBackend, Backend, BoxFuture, Bytes, Config, Error, Memory, SetOptions, cached};
use cache_tests::servers::RedisServer;
use cache_tests::{is_pending, poll_all};
use tokio::sync::Semaphore;

/// How long to wait for something before the test counts as hung.
const HANGS: Duration = Duration::from_secs(20);

/// An event that threads wait for.
#[derive(Default)]
struct Moment {
    has_come: Mutex<bool>,
    changed: Condvar,
}

impl Moment {
    fn come(&self) {
        *self.has_come.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let has_come = self.has_come.lock().unwrap();
        let (has_come, _) = self.changed.wait_timeout_while(has_come, HANGS, |has_come| !*has_come).unwrap();
        assert!(*has_come, "it never comes");
    }
}

/// A backend that several processes share; a test decides how long its clears take.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    memory: Memory,
    reads_of_generation: AtomicUsize,
    changes_of_generation: AtomicUsize,
    /// Called before each change of a generation, with the number of changes so far.
    on_change: Box<dyn Fn(usize) + Send + Sync>,
}

impl Shared {
    fn new(on_change: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            memory: Memory::default(),
            reads_of_generation: AtomicUsize::new(0),
            changes_of_generation: AtomicUsize::new(0),
            on_change: Box::new(on_change),
        }))
    }

    fn process(&self) -> Scope {
        Scope::with_config(Config::new().timeout(HANGS).backend("shared", self.clone())).unwrap()
    }

    /// Waits until the generation has been read `more` more times.
    fn await_reads(&self, more: usize) {
        let reads = || self.0.reads_of_generation.load(Ordering::SeqCst);
        let (before, start) = (reads(), Instant::now());
        while reads() < before + more {
            assert!(start.elapsed() < HANGS, "nobody reads it");
            thread::yield_now();
        }
    }

    fn changes(&self, key: &[u8]) {
        if key.ends_with(b"generation") {
            let number = self.0.changes_of_generation.fetch_add(1, Ordering::SeqCst);
            (self.0.on_change)(number);
        }
    }
}

impl Backend for Shared {
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        let value = Backend::get(&self.0.memory, key, deadline);
        if key.ends_with(b"generation") {
            self.0.reads_of_generation.fetch_add(1, Ordering::SeqCst);
        }
        value
    }

    fn set(&self, key: &[u8], value: Bytes, options: SetOptions, deadline: Instant) -> Result<(), Error> {
        self.changes(key);
        Backend::set(&self.0.memory, key, value, options, deadline)
    }

    fn add(&self, key: &[u8], value: Bytes, options: SetOptions, deadline: Instant) -> Result<bool, Error> {
        Backend::add(&self.0.memory, key, value, options, deadline)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        old: &[u8],
        new: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> Result<bool, Error> {
        Backend::compare_and_set(&self.0.memory, key, old, new, options, deadline)
    }

    fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
        self.changes(key);
        Backend::delete(&self.0.memory, key, deadline)
    }
}

/// A thread in `scope`.
fn beside<T: Send + 'static>(
    scope: &Scope,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let scope = scope.clone();
    thread::spawn(move || {
        let _in_scope = scope.enter();
        work()
    })
}

#[test]
fn a_clear_holds_though_a_call_waits_for_a_run_elsewhere() {
    static PRICE: AtomicU64 = AtomicU64::new(1);
    static RUNS_ELSEWHERE: Moment = Moment { has_come: Mutex::new(false), changed: Condvar::new() };
    static RUNS_HERE: Moment = Moment { has_come: Mutex::new(false), changed: Condvar::new() };
    static IS_CHECKED: Moment = Moment { has_come: Mutex::new(false), changed: Condvar::new() };
    static RUNS: AtomicUsize = AtomicUsize::new(0);

    #[cached(backend = "shared", ttl = 60, single_flight = "cluster")]
    fn price(id: u64) -> u64 {
        if id == 2 {
            match RUNS.fetch_add(1, Ordering::SeqCst) {
                0 => RUNS_ELSEWHERE.come(),
                _ => RUNS_HERE.come(),
            }
            IS_CHECKED.wait();
        }
        PRICE.load(Ordering::SeqCst)
    }

    // The call that waits reads the old generation while the clear is under way, and the clear makes it run the body.
    let shared = Shared::new(|_| RUNS_HERE.wait());
    let (here, elsewhere) = (shared.process(), shared.process());
    let _in_scope = here.enter();
    assert_eq!(price(1), 1);
    let leads = beside(&elsewhere, || price(2));
    RUNS_ELSEWHERE.wait();
    let waits = beside(&here, || price(2));
    shared.await_reads(3);
    PRICE.store(2, Ordering::SeqCst);
    price::clear().unwrap();
    let after = price(1);
    IS_CHECKED.come();
    leads.join().unwrap();
    waits.join().unwrap();
    assert_eq!(after, 2, "an entry from before the clear");
}

#[test]
fn a_clear_holds_though_an_earlier_one_arrives_later() {
    static RATE: AtomicU64 = AtomicU64::new(1);

    #[cached(backend = "shared", ttl = 60)]
    fn rate(id: u64) -> u64 {
        id + RATE.load(Ordering::SeqCst)
    }

    let (sent, delivered) = (Arc::new(Moment::default()), Arc::new(Moment::default()));
    let (on_send, until) = (sent.clone(), delivered.clone());
    let shared = Shared::new(move |number| {
        if number == 0 {
            on_send.come();
            until.wait();
        }
    });
    let (here, elsewhere) = (shared.process(), shared.process());
    let _in_scope = here.enter();
    assert_eq!(rate(1), 2);
    let first = beside(&here, || rate::clear().unwrap());
    sent.wait();
    RATE.store(2, Ordering::SeqCst);
    assert_eq!(rate(1), 3);
    RATE.store(3, Ordering::SeqCst);
    rate::clear().unwrap();
    delivered.come();
    first.join().unwrap();
    for process in [here.clone(), elsewhere] {
        process.advance(Duration::from_millis(501));
        assert_eq!(beside(&process, || rate(1)).join().unwrap(), 4, "an entry from before the clear");
    }
}

#[tokio::test]
async fn a_clear_holds_though_an_answer_from_before_it_is_looked_at_later() {
    static PRICE: AtomicU64 = AtomicU64::new(0);

    #[cached(backend = "shared", ttl = 3600)]
    async fn price(id: u64) -> u64 {
        id + PRICE.load(Ordering::SeqCst)
    }

    let server = RedisServer::start();
    let url = format!("{}?timeout=10s", server.url());
    let process = || Scope::with_config(Config::new().url("shared", &url)).unwrap();
    let (here, elsewhere) = (process(), process());
    for id in 0..3 {
        assert_eq!(here.run(price(id)).await, id);
    }
    // After a second, the next call reads the generation again.
    here.advance(Duration::from_secs(1));
    let mut kept = pin!(here.run(price(0)));
    assert!(is_pending(kept.as_mut()).await);
    // Wait until the server has answered it.
    while server.calls("mget") < 2 {
        thread::yield_now();
    }
    PRICE.store(10, Ordering::SeqCst);
    elsewhere.run(price::clear()).await.unwrap();
    here.advance(Duration::from_secs(10));
    assert_eq!(here.run(price(1)).await, 11, "here one knows of the clear");
    kept.await;
    assert_eq!(here.run(price(2)).await, 12, "an entry from ten seconds before the clear");
}

struct Connection(u64);

impl Drop for Connection {
    fn drop(&mut self) {
        connection::invalidate(self.0).unwrap();
    }
}

#[cached(capacity = 100)]
fn connection(id: u64) -> Arc<Connection> {
    Arc::new(Connection(id))
}

#[test]
fn a_value_may_invalidate_itself_as_it_goes() {
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        connection(7);
        connection::refresh(7);
        done.send(connection::peek(7).unwrap().is_some()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(HANGS), Ok(false), "it waits for no store of its own, and is right");
}

/// An async backend whose changes wait for permits.
struct Gated {
    memory: Memory,
    changes: Arc<Semaphore>,
}

impl Gated {
    /// A scope with such a backend, and the permits for its changes.
    fn scope(timeout: Duration) -> (Scope, Arc<Semaphore>) {
        let changes = Arc::new(Semaphore::new(0));
        let backend = Self { memory: Memory::default(), changes: changes.clone() };
        (Scope::with_config(Config::new().timeout(timeout).async_backend("gated", backend)).unwrap(), changes)
    }

    async fn pass(&self) {
        self.changes.acquire().await.unwrap().forget();
    }
}

impl AsyncBackend for Gated {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        AsyncBackend::get(&self.memory, key, deadline)
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.pass().await;
            Backend::set(&self.memory, key, value, options, deadline)
        })
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            if !key.ends_with(b"generation") {
                self.pass().await;
            }
            Backend::add(&self.memory, key, value, options, deadline)
        })
    }

    fn compare_and_set<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.pass().await;
            Backend::compare_and_set(&self.memory, key, old, new, options, deadline)
        })
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.pass().await;
            Backend::delete(&self.memory, key, deadline)
        })
    }
}

/// Polls all of `futures` once and lets other tasks run; whether all have ended.
async fn have_ended<F: Future<Output = ()>>(futures: &mut Vec<Pin<Box<F>>>) -> bool {
    poll_all(futures).await;
    tokio::task::yield_now().await;
    futures.is_empty()
}

#[tokio::test]
async fn an_invalidation_has_an_end_though_nobody_polls_a_call_that_stores() {
    static RUNS: AtomicU64 = AtomicU64::new(0);

    #[cached(backend = "gated", ttl = 60)]
    async fn user(id: u64) -> u64 {
        id + RUNS.fetch_add(1, Ordering::SeqCst)
    }

    let (scope, changes) = Gated::scope(Duration::from_millis(200));
    let test = async {
        // Like a future in a `buffer_unordered` whose consumer waits for the invalidation.
        let mut call = vec![Box::pin(async { assert_eq!(user(1).await, 1) })];
        for _ in 0..10 {
            assert!(!have_ended(&mut call).await);
        }
        assert_eq!(RUNS.load(Ordering::SeqCst), 1, "it has run and is storing");
        changes.add_permits(2);
        tokio::time::timeout(HANGS, user::invalidate(1)).await.expect("an invalidation waits").unwrap();
        while !have_ended(&mut call).await {}
        assert_eq!(user(1).await, 2, "what was stored after the invalidation");
    };
    scope.run(test).await;
}

#[tokio::test]
async fn many_invalidations_at_once_leave_other_entries_alone() {
    #[cached(backend = "gated", ttl = 60)]
    async fn user(id: u64) -> u64 {
        id
    }

    let (scope, changes) = Gated::scope(HANGS);
    let test = async {
        changes.add_permits(1);
        user(0).await;
        let invalidate = |id| Box::pin(async move { user::invalidate(id).await.unwrap() });
        let mut invalidations: Vec<_> = (1..=1100).map(invalidate).collect();
        assert!(!have_ended(&mut invalidations).await);
        changes.add_permits(1100);
        while !have_ended(&mut invalidations).await {}
        user(0).await;
        assert_eq!(user::stats().runs, 1, "an entry that nobody invalidated");
    };
    scope.run(test).await;
}
