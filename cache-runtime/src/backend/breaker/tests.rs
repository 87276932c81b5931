//! The breakers against a backend whose answers each test decides. Real servers are in the tests of outages.

use std::cell::Cell;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::backend::Backend;
use crate::backend::adapt::Inline;
use crate::common::wait::block_on;

type Answer = Result<Option<Bytes>, Error>;

/// Answers as it is told, and counts the questions of callers and of probes.
struct Scripted {
    answer: Mutex<Box<dyn FnMut() -> Answer + Send>>,
    asked: AtomicUsize,
    probed: AtomicUsize,
    servers: usize,
}

impl Scripted {
    fn answers(&self, answer: impl FnMut() -> Answer + Send + 'static) {
        *lock(&self.answer) = Box::new(answer);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until the server has been probed once more.
    fn await_probe(&self) {
        let before = self.probed.load(Ordering::SeqCst);
        eventually(|| self.probed.load(Ordering::SeqCst) > before);
    }
}

impl Backend for Scripted {
    fn get(&self, key: &[u8], _: Instant) -> Answer {
        let answer = (lock(&self.answer))();
        let count = if key.starts_with(PROBE.as_bytes()) { &self.probed } else { &self.asked };
        count.fetch_add(1, Ordering::SeqCst);
        answer
    }

    fn set(&self, _: &[u8], _: Bytes, _: Option<Duration>, _: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn add(&self, _: &[u8], _: Bytes, _: Option<Duration>, _: Instant) -> Result<bool, Error> {
        Ok(true)
    }

    fn delete(&self, _: &[u8], _: Instant) -> Result<bool, Error> {
        Ok(true)
    }

    fn servers(&self) -> usize {
        self.servers
    }

    /// By the last character.
    fn server_of(&self, key: &[u8]) -> usize {
        usize::from(key[key.len() - 1]) % self.servers
    }
}

const BUDGET: Duration = Duration::from_millis(200);

fn guarded(servers: usize) -> (Arc<Scripted>, Guarded) {
    let backend = Arc::new(Scripted {
        answer: Mutex::new(Box::new(|| Ok(None))),
        asked: AtomicUsize::new(0),
        probed: AtomicUsize::new(0),
        servers,
    });
    let side = || Arc::new(Inline(backend.clone()));
    let ([guarded, _], _) = Guarded::pair(side(), side(), "test://".to_owned(), BUDGET);
    (backend, guarded)
}

/// As blocking and as async callers do it, in turn.
fn get(guarded: &Guarded, key: &str) -> Answer {
    thread_local!(static IS_ASYNC: Cell<bool> = const { Cell::new(false) });
    let (key, deadline) = (key.as_bytes(), Instant::now() + BUDGET);
    match IS_ASYNC.replace(!IS_ASYNC.get()) {
        false => guarded.get_now(key, deadline),
        true => block_on(guarded.get(key, deadline).as_mut()),
    }
}

fn refused() -> Answer {
    Err(Error::new(ErrorKind::Unavailable, "connection refused").at("test://"))
}

fn is_open(guarded: &Guarded, server: usize) -> bool {
    guarded.guard.breakers[server].epoch.load(Ordering::SeqCst) % 2 == 1
}

fn await_closing(guarded: &Guarded) {
    eventually(|| !is_open(guarded, 0));
}

fn eventually(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "never");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn while_it_is_open_nothing_is_asked() {
    let (backend, guarded) = guarded(1);
    backend.answers(refused);
    assert!(get(&guarded, "key").unwrap_err().to_string().contains("connection refused"));
    for _ in 0..100 {
        let error = get(&guarded, "key").unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(text.contains("down for") && text.contains("connection refused"), "{text}");
        assert_eq!(text.matches("test://").count(), 1, "{text}");
    }
    assert_eq!(backend.asked(), 1);
}

#[test]
fn a_probe_that_is_answered_closes_it() {
    let (backend, guarded) = guarded(1);
    backend.answers(refused);
    get(&guarded, "key").unwrap_err();
    backend.await_probe();
    assert!(is_open(&guarded, 0), "the probe was refused");
    backend.answers(|| Ok(None));
    await_closing(&guarded);
    assert_eq!(get(&guarded, "key").unwrap(), None);
    assert!(lock(&guarded.guard.breakers[0].outage).is_none(), "the outage is over");
}

#[test]
fn what_the_server_says_is_an_answer() {
    let (backend, guarded) = guarded(1);
    for kind in [ErrorKind::Server, ErrorKind::Denied, ErrorKind::TooLarge] {
        backend.answers(move || Err(Error::new(kind, "no")));
        assert_eq!(get(&guarded, "key").unwrap_err().kind(), kind);
        assert!(!is_open(&guarded, 0), "{kind:?}");
    }
    backend.answers(refused);
    get(&guarded, "key").unwrap_err();
    backend.answers(|| Err(Error::new(ErrorKind::Server, "LOADING")));
    await_closing(&guarded);
}

#[test]
fn slow_answers_open_it_when_they_have_wasted_a_budget() {
    let (backend, guarded) = guarded(1);
    let slow = || {
        std::thread::sleep(BUDGET * 6 / 10);
        Ok(None)
    };
    backend.answers(slow);
    get(&guarded, "key").unwrap();
    backend.answers(|| Ok(None));
    get(&guarded, "key").unwrap();
    backend.answers(slow);
    get(&guarded, "key").unwrap();
    assert!(!is_open(&guarded, 0), "there was a quick answer between");
    get(&guarded, "key").unwrap();
    assert!(is_open(&guarded, 0));
    assert!(get(&guarded, "key").unwrap_err().to_string().contains("too long"));
    // Slow answers to probes don't close it.
    backend.await_probe();
    backend.await_probe();
    assert!(is_open(&guarded, 0));
    backend.answers(|| Ok(None));
    await_closing(&guarded);
}

#[test]
fn futures_given_up_count_as_slow_answers() {
    let (_backend, guarded) = guarded(1);
    for _ in 0..2 {
        assert!(!is_open(&guarded, 0));
        let future = guarded.get(b"key", Instant::now() + BUDGET);
        std::thread::sleep(BUDGET * 6 / 10);
        drop(future);
    }
    assert!(is_open(&guarded, 0));
}

#[test]
fn what_began_before_a_recovery_does_not_open_it_again() {
    let (backend, guarded) = guarded(1);
    let before = guarded.guard.admit(0, guarded.guard.clock.monotonic()).unwrap();
    backend.answers(refused);
    get(&guarded, "key").unwrap_err();
    backend.answers(|| Ok(None));
    await_closing(&guarded);
    before.ended(&refused());
    assert!(!is_open(&guarded, 0));
}

#[test]
fn a_server_that_answers_probes_only_is_asked_ever_more_rarely() {
    let (backend, guarded) = guarded(1);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        backend.answers(refused);
        get(&guarded, "key").unwrap_err();
        let pause = lock(&guarded.guard.breakers[0].outage).as_ref().unwrap().pause;
        pauses.push(pause);
        backend.answers(|| Ok(None));
        await_closing(&guarded);
    }
    assert!(pauses.is_sorted_by(|a, b| a < b), "{pauses:?}");
    get(&guarded, "key").unwrap();
    backend.answers(refused);
    get(&guarded, "key").unwrap_err();
    let pause = lock(&guarded.guard.breakers[0].outage).as_ref().unwrap().pause;
    assert!(pause <= pauses[1], "an answer to a call starts anew: {pause:?} after {pauses:?}");
}

#[test]
fn each_server_has_a_breaker_of_its_own() {
    let (backend, guarded) = guarded(2);
    let (here, there) = ("0", "1");
    backend.answers(refused);
    get(&guarded, here).unwrap_err();
    backend.answers(|| Ok(None));
    let asked = backend.asked();
    assert_eq!(get(&guarded, there).unwrap(), None);
    assert_eq!(backend.asked(), asked + 1);
    await_closing(&guarded);
    let keys = [here.as_bytes(), there.as_bytes()];
    assert_eq!(block_on(guarded.get_many(&keys, Instant::now() + BUDGET).as_mut()).unwrap(), [None, None]);
}

#[test]
fn a_guard_that_is_gone_is_not_probed() {
    let (backend, guarded) = guarded(1);
    backend.answers(refused);
    get(&guarded, "key").unwrap_err();
    let guard = Arc::downgrade(&guarded.guard);
    drop(guarded);
    eventually(|| guard.upgrade().is_none());
}

#[test]
fn a_backend_that_panics_comes_back() {
    let (backend, guarded) = guarded(1);
    backend.answers(|| panic!("on purpose"));
    assert!(get(&guarded, "key").is_err());
    assert!(is_open(&guarded, 0));
    // The probes fail, too.
    std::thread::sleep(Duration::from_millis(100));
    backend.answers(|| Ok(None));
    await_closing(&guarded);
}
