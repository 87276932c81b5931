//! A process that forks, for `tests/forks.rs`: its argument says what happens before and after.
//!
//! `CACHE_SHARED_URL` is where its entries are. It ends with an error if an expectation fails in it or in a child.

#![allow(clippy::unwrap_used, reason = "a panic is how a process reports a failure")]
#![allow(clippy::print_stdout, reason = "its output is what the tests read")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use cache_runtime::{AsyncCache, Backend, Cache, Config, Memcached, Redis, cached};
use fork::Fork;
use tokio::runtime::{Builder, Runtime};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `work` in a child; returns its process id.
fn child(work: impl FnOnce()) -> i32 {
    match fork::fork().unwrap() {
        Fork::Parent(pid) => pid,
        Fork::Child => exit(i32::from(catch_unwind(AssertUnwindSafe(work)).is_err())),
    }
}

/// Waits until the child has ended, which must be well.
fn join(pid: i32) {
    assert_eq!(fork::waitpid(pid).unwrap(), 0, "a child failed");
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "never {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// What the server holds under `key`.
fn bytes_under(key: &str) -> Vec<u8> {
    let url = std::env::var("CACHE_SHARED_URL").unwrap();
    let backend: Box<dyn Backend> = match url.starts_with("redis") {
        true => Box::new(Redis::from_url(&url).unwrap()),
        false => Box::new(Memcached::from_url(&url).unwrap()),
    };
    backend.get(key.as_bytes(), Instant::now() + PATIENCE).unwrap().unwrap_or_default().to_vec()
}

// Functions whose bodies end at once

static TRUTH: AtomicU64 = AtomicU64::new(1);

#[cached(backend = "shared", ttl = 3600)]
fn truth(_key: u64) -> u64 {
    TRUTH.load(SeqCst)
}

#[cached(backend = "shared", ttl = 3600)]
fn double(n: u64) -> u64 {
    n * 2
}

#[cached(backend = "shared", ttl = 3600)]
async fn double_async(n: u64) -> u64 {
    n * 2
}

#[cached(backend = "asynchronous", ttl = 3600)]
fn by_async_backend(n: u64) -> u64 {
    n * 2
}

#[cached(backend = "shared", ttl = 1000, jitter = 0.9)]
fn jittered(n: u64) -> u64 {
    n
}

#[cached(backend = "memory")]
fn local(n: u64) -> u64 {
    n * 2
}

#[cached(backend = "memory", capacity = 100)]
fn text(n: u64) -> String {
    n.to_string()
}

#[cached(backend = "memory")]
fn size<T: 'static>(n: u64) -> u64 {
    n + size_of::<T>() as u64
}

// Functions whose bodies wait

static IS_HELD: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicU64 = AtomicU64::new(0);

fn wait_while_held() {
    STARTED.fetch_add(1, SeqCst);
    while IS_HELD.load(SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[cached(backend = "memory")]
fn slow_local(n: u64) -> u64 {
    wait_while_held();
    n
}

#[cached(backend = "shared", ttl = 3600)]
fn slow(n: u64) -> u64 {
    wait_while_held();
    n
}

static RENEWERS: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

#[cached(backend = "memory", ttl = 0.001, stale = "1h")]
fn stale(n: u64) -> u64 {
    RENEWERS.lock().unwrap().push(thread::current().id());
    wait_while_held();
    n
}

/// Calls `call` on other threads, all of whose bodies then wait.
fn hold(calls: impl IntoIterator<Item = fn()>) -> Vec<JoinHandle<()>> {
    IS_HELD.store(true, SeqCst);
    let before = STARTED.load(SeqCst);
    let threads: Vec<_> = calls.into_iter().map(thread::spawn).collect();
    eventually("all run", || STARTED.load(SeqCst) == before + threads.len() as u64);
    threads
}

fn release(threads: Vec<JoinHandle<()>>) {
    IS_HELD.store(false, SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

// What the tests want to see

fn tokens_differ() {
    join(child(|| {
        truth(1);
        truth::clear().unwrap();
    }));
    TRUTH.store(2, SeqCst);
    join(child(|| {
        truth(2);
        assert_eq!(truth(1), 2, "cleared");
    }));
}

/// The server is down until this has printed a line.
fn outages_end_in_children_too() {
    assert_eq!(double(1), 2);
    let cache = Cache::named("shared").unwrap();
    cache.get::<u64>("key").unwrap_err();
    let hits = || double::stats().hits - double::stats().fallback_hits;
    let recovers = || {
        eventually("back", || {
            double(1);
            hits() > 0 && cache.get::<u64>("key").is_ok()
        });
    };
    let pid = child(|| {
        double(1);
        println!("down");
        recovers();
    });
    join(pid);
    recovers();
}

/// Many calls, each of which must be right and none of which may fail.
fn call_much(cache: &Cache, async_cache: &AsyncCache, runtime: &Runtime, own: u64) {
    let blocking = || {
        for n in 0..400 {
            assert_eq!(double(n % 50), n % 50 * 2);
            cache.set(&format!("{own}"), &(own + n), None).unwrap();
            assert_eq!(cache.get::<u64>(&format!("{own}")).unwrap(), Some(own + n));
        }
    };
    thread::scope(|scope| {
        scope.spawn(blocking);
        runtime.block_on(async {
            for n in 0..400 {
                assert_eq!(double_async(n % 50).await, n % 50 * 2);
                async_cache.set(&format!("async {own}"), &(own + n), None).await.unwrap();
                assert_eq!(async_cache.get::<u64>(&format!("async {own}")).await.unwrap(), Some(own + n));
                assert_eq!(by_async_backend(n % 50), n % 50 * 2);
            }
        });
    });
    for stats in [double::stats(), double_async::stats(), by_async_backend::stats()] {
        assert_eq!((stats.errors, stats.decode_failures), (0, 0), "{stats}");
    }
}

fn connections_are_not_shared() {
    let (cache, async_cache) = (Cache::named("shared").unwrap(), AsyncCache::named("shared").unwrap());
    let before = runtime();
    call_much(&cache, &async_cache, &before, 1_000);
    let mut children = Vec::new();
    for own in 2..6 {
        match fork::fork().unwrap() {
            Fork::Parent(pid) => children.push(pid),
            Fork::Child => {
                let work = || {
                    call_much(&cache, &async_cache, &runtime(), own * 1_000);
                    drop((cache, async_cache));
                };
                exit(i32::from(catch_unwind(AssertUnwindSafe(work)).is_err()));
            }
        }
    }
    call_much(&cache, &async_cache, &before, 1_000);
    children.into_iter().for_each(join);
    // A child that closed the parent's connections would have taken them from the parent's poller.
    let started = Instant::now();
    call_much(&cache, &async_cache, &before, 1_000);
    assert!(started.elapsed() < PATIENCE);
}

fn runs_of_other_threads_are_not_awaited() {
    let threads = hold([|| _ = slow_local(1), || _ = slow(1)]);
    let pid = child(|| {
        IS_HELD.store(false, SeqCst);
        assert_eq!((slow_local(1), slow(1)), (1, 1));
        assert_eq!((slow_local::stats().runs, slow::stats().runs), (1, 1));
        slow::invalidate(1).unwrap();
        assert_eq!(slow(1), 1);
    });
    join(pid);
    release(threads);
    assert_eq!((slow_local(1), slow(1)), (1, 1));
}

fn children_renew_in_the_background() {
    (0..32).for_each(|n| _ = stale(n));
    thread::sleep(Duration::from_millis(2));
    IS_HELD.store(true, SeqCst);
    (0..32).for_each(|n| assert_eq!(stale(n), n));
    eventually("renewed by 32 threads", || STARTED.load(SeqCst) == 64);
    let pid = child(|| {
        IS_HELD.store(false, SeqCst);
        RENEWERS.lock().unwrap().clear();
        stale(100);
        thread::sleep(Duration::from_millis(2));
        eventually("renewed by another thread", || {
            stale(100);
            RENEWERS.lock().unwrap().iter().any(|thread| *thread != thread::current().id())
        });
    });
    join(pid);
    IS_HELD.store(false, SeqCst);
}

/// Children of a process whose threads hold locks, connections and leads at any moment.
fn nothing_of_other_threads_is_needed() {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    fn work(n: u64) {
        let key = n % 64;
        assert_eq!((local(n % 300), local(key)), (n % 300 * 2, key * 2));
        assert_eq!((text(n % 300), text(key)), ((n % 300).to_string(), key.to_string()));
        assert_eq!((size::<u8>(key), size::<u64>(key)), (key + 1, key + 8));
        assert_eq!((double(key), by_async_backend(key)), (key * 2, key * 2));
        match n % 16 {
            0 => local::invalidate(key).unwrap(),
            1 => double::invalidate(key).unwrap(),
            2 => text::clear().unwrap(),
            3 => double::clear().unwrap(),
            4 => assert!(cache_runtime::stats().iter().count() > 0),
            5 => _ = Cache::named("shared").unwrap().get::<u64>("key").unwrap(),
            _ => {}
        }
    }
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            thread::spawn(move || {
                (thread..).step_by(5).take_while(|_| !IS_OVER.load(SeqCst)).for_each(work);
            })
        })
        .collect();
    eventually("work", || local::stats().hits > 1_000 && double::stats().hits > 100);
    for n in 0..60 {
        join(child(|| {
            let threads: Vec<_> = (0..2).map(|_| thread::spawn(|| (0..32).for_each(work))).collect();
            (n..n + 32).for_each(work);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }));
    }
    IS_OVER.store(true, SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// What a child makes of the run that it was forked in.
#[derive(Clone, Copy)]
enum End {
    Return,
    Panic,
}

static END: Mutex<Option<End>> = Mutex::new(None);
static IS_CHILD: AtomicBool = AtomicBool::new(false);

fn fork_inside(n: u64) -> u64 {
    let Some(end) = *END.lock().unwrap() else { return n };
    match fork::fork().unwrap() {
        Fork::Parent(pid) => {
            join(pid);
            n
        }
        Fork::Child => {
            IS_CHILD.store(true, SeqCst);
            match end {
                End::Return => n + 1,
                End::Panic => panic!("on purpose"),
            }
        }
    }
}

#[cached(backend = "shared", ttl = 3600, single_flight = "cluster")]
fn leased(n: u64) -> u64 {
    fork_inside(n)
}

#[cached(backend = "memory")]
fn forking(n: u64) -> u64 {
    fork_inside(n)
}

/// The name that the holder of the lease on `leased(n)` has.
fn holder(n: u64) -> Vec<u8> {
    bytes_under(&leased::key(n)).get(60..76).unwrap_or_default().to_vec()
}

fn a_run_belongs_to_the_process_that_began_it() {
    for (n, end) in [(1, End::Return), (2, End::Panic)] {
        *END.lock().unwrap() = Some(end);
        let result = catch_unwind(|| leased(n));
        if IS_CHILD.load(SeqCst) {
            let (started, before) = (Instant::now(), holder(n));
            let is_held = || before.iter().any(|byte| *byte != 0) && holder(n) == before;
            while is_held() && started.elapsed() < Duration::from_millis(300) {
                thread::sleep(Duration::from_millis(10));
            }
            *END.lock().unwrap() = None;
            let is_usable = leased(n + 100) == n + 100;
            exit(i32::from(!is_held() || !is_usable || result.is_ok() != matches!(end, End::Return)));
        }
        assert_eq!(result.unwrap(), n);
        assert_eq!((leased::stats().stores, leased::peek(n).unwrap()), (n, Some(n)), "the parent's result");
        let result = catch_unwind(|| forking(n));
        if IS_CHILD.load(SeqCst) {
            *END.lock().unwrap() = None;
            let is_usable = forking(n) == n && forking(n + 100) == n + 100;
            exit(i32::from(!is_usable || result.is_ok() != matches!(end, End::Return)));
        }
        assert_eq!((result.unwrap(), forking(n), forking::stats().runs), (n, n, n));
    }
}

fn entries_in_memory_are_inherited() {
    let fill = || (0..50).for_each(|n| assert_eq!((local(n), size::<u32>(n)), (n * 2, n + 4)));
    fill();
    let pid = child(|| {
        fill();
        assert_eq!((local::stats().runs, local::stats().hits, size::stats().runs), (0, 50, 0));
        local::invalidate(1).unwrap();
        assert_eq!((local::peek(1).unwrap(), local(1), local(1000)), (None, 2, 2000));
        assert_eq!(size::<u16>(1), 3);
        join(child(|| {
            fill();
            assert_eq!((local(1000), local::stats().runs), (2000, 0), "a child's child");
        }));
    });
    join(pid);
    fill();
    assert_eq!((local::stats().runs, local::stats().hits), (50, 50));
}

fn children_draw_other_numbers() {
    jittered(0);
    // How long the entry lives, which its header says.
    let life = |n| {
        let bytes = bytes_under(&jittered::key(n));
        let millis = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        millis(32) - millis(24)
    };
    (1..4).for_each(|n| join(child(|| _ = jittered(n))));
    jittered(4);
    let mut lives: Vec<u64> = (1..=4).map(life).collect();
    lives.sort_unstable();
    lives.dedup();
    assert_eq!(lives.len(), 4, "of up to 1,000,000 ms: {lives:?}");
}

fn main() {
    let url = std::env::var("CACHE_SHARED_URL").unwrap();
    let config = Config::from_env();
    let config = match url.split(':').next() {
        Some("redis") => config.async_backend("asynchronous", Redis::from_url(&url).unwrap()),
        Some("memcached") => config.async_backend("asynchronous", Memcached::from_url(&url).unwrap()),
        _ => config,
    };
    config.install().unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("tokens") => tokens_differ(),
        Some("outage") => outages_end_in_children_too(),
        Some("connections") => connections_are_not_shared(),
        Some("runs") => runs_of_other_threads_are_not_awaited(),
        Some("renewals") => children_renew_in_the_background(),
        Some("threads") => nothing_of_other_threads_is_needed(),
        Some("inside") => a_run_belongs_to_the_process_that_began_it(),
        Some("memory") => entries_in_memory_are_inherited(),
        Some("dice") => children_draw_other_numbers(),
        other => panic!("no such scene: {other:?}"),
    }
}
