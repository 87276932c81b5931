//! Breakers around a backend that each test scripts. The tests of outages use real servers.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use bytes::Bytes;

use super::*;
use crate::backend::SetOptions;
use crate::backend::derived::bytes_of;
use crate::backend::request::Versioned;

type Answer = Result<Option<Bytes>, Error>;

/// Answers as scripted, and counts the requests of callers and of probes.
struct Scripted {
    answer: Mutex<Box<dyn FnMut() -> Answer + Send>>,
    asked: AtomicUsize,
    probed: AtomicUsize,
    probes_fail: AtomicBool,
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

impl Service for Scripted {
    fn call<'a>(&'a self, request: Request<'a>, _: Instant, caller: Caller) -> super::Answer<'a> {
        let read = move |key: &[u8]| {
            let answer = (lock(&self.answer))();
            let count = if key.starts_with(PROBE.as_bytes()) { &self.probed } else { &self.asked };
            count.fetch_add(1, Ordering::SeqCst);
            if key.starts_with(PROBE.as_bytes()) && self.probes_fail.load(Ordering::SeqCst) {
                return refused().map(|value| value.map(Versioned::from));
            }
            answer.map(|value| value.map(Versioned::from))
        };
        let answer = move || match request {
            Request::Get(key) => read(key).map(Reply::Value),
            Request::GetMany(keys) => {
                keys.iter().map(|key| read(key)).collect::<Result<_, _>>().map(Reply::Values)
            }
            Request::SetMany { entries, .. } => {
                let results = entries.iter().map(|(key, _)| read(key).map(drop)).collect();
                Ok(Reply::SetEach(results))
            }
            _ => panic!("not scripted"),
        };
        MaybeReady::of(async move { answer() }, caller)
    }

    fn max_value_len(&self) -> usize {
        usize::MAX
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

fn with_breaker(servers: usize) -> (Arc<Scripted>, WithBreaker) {
    let backend = Arc::new(Scripted {
        answer: Mutex::new(Box::new(|| Ok(None))),
        asked: AtomicUsize::new(0),
        probed: AtomicUsize::new(0),
        probes_fail: AtomicBool::new(false),
        servers,
    });
    let breaker = WithBreaker::new(Box::new(backend.clone()), "test://".to_owned(), BUDGET);
    (backend, breaker)
}

/// Calls alternate between blocking and async callers.
fn get(breaker: &WithBreaker, key: &str) -> Answer {
    thread_local!(static IS_ASYNC: Cell<bool> = const { Cell::new(false) });
    let caller = if IS_ASYNC.replace(!IS_ASYNC.get()) { Caller::Async } else { Caller::Blocking };
    breaker.call(Request::Get(key.as_bytes()), Instant::now() + BUDGET, caller).wait()?.value().map(bytes_of)
}

fn refused() -> Answer {
    Err(Error::new(ErrorKind::Unavailable, "connection refused").at("test://"))
}

fn is_open(breaker: &WithBreaker, server: usize) -> bool {
    breaker.0.breakers[server].epoch.load(Ordering::SeqCst) % 2 == 1
}

fn await_closing(breaker: &WithBreaker) {
    eventually(|| !is_open(breaker, 0));
}

fn eventually(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "never");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn while_it_is_open_calls_are_rejected() {
    let (backend, breaker) = with_breaker(1);
    backend.answers(refused);
    assert!(get(&breaker, "key").unwrap_err().to_string().contains("connection refused"));
    for _ in 0..100 {
        let error = get(&breaker, "key").unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(text.contains("down for") && text.contains("connection refused"), "{text}");
        assert_eq!(text.matches("test://").count(), 1, "{text}");
    }
    assert_eq!(backend.asked(), 1);
}

#[test]
fn a_probe_that_is_answered_closes_it() {
    let (backend, breaker) = with_breaker(1);
    backend.answers(refused);
    get(&breaker, "key").unwrap_err();
    backend.await_probe();
    assert!(is_open(&breaker, 0), "the probe was refused");
    backend.answers(|| Ok(None));
    await_closing(&breaker);
    assert_eq!(get(&breaker, "key").unwrap(), None);
    assert!(lock(&breaker.0.breakers[0].outage).is_none(), "the outage is over");
}

#[test]
fn an_error_from_the_server_is_an_answer() {
    let (backend, breaker) = with_breaker(1);
    for kind in [ErrorKind::Server, ErrorKind::Denied, ErrorKind::TooLarge] {
        backend.answers(move || Err(Error::new(kind, "no")));
        assert_eq!(get(&breaker, "key").unwrap_err().kind(), kind);
        assert!(!is_open(&breaker, 0), "{kind:?}");
    }
    backend.answers(refused);
    get(&breaker, "key").unwrap_err();
    backend.answers(|| Err(Error::new(ErrorKind::Server, "LOADING")));
    await_closing(&breaker);
}

#[test]
fn slow_answers_that_add_up_to_a_budget_open_it() {
    let (backend, breaker) = with_breaker(1);
    let slow = || {
        std::thread::sleep(BUDGET * 6 / 10);
        Ok(None)
    };
    backend.answers(slow);
    get(&breaker, "key").unwrap();
    backend.answers(|| Ok(None));
    get(&breaker, "key").unwrap();
    backend.answers(slow);
    get(&breaker, "key").unwrap();
    assert!(!is_open(&breaker, 0), "there was a fast answer in between");
    get(&breaker, "key").unwrap();
    assert!(is_open(&breaker, 0));
    assert!(get(&breaker, "key").unwrap_err().to_string().contains("too long"));
    // Slow answers to probes don't close it.
    backend.await_probe();
    backend.await_probe();
    assert!(is_open(&breaker, 0));
    backend.answers(|| Ok(None));
    await_closing(&breaker);
}

#[test]
fn dropped_futures_count_as_slow_answers() {
    let (_backend, breaker) = with_breaker(1);
    for _ in 0..2 {
        assert!(!is_open(&breaker, 0));
        let answer = breaker.call(Request::Get(b"key"), Instant::now() + BUDGET, Caller::Async);
        std::thread::sleep(BUDGET * 6 / 10);
        drop(answer);
    }
    assert!(is_open(&breaker, 0));
}

#[test]
fn a_request_from_before_a_recovery_does_not_open_it_again() {
    let (backend, breaker) = with_breaker(1);
    let before = breaker.0.try_admit(0).unwrap();
    backend.answers(refused);
    get(&breaker, "key").unwrap_err();
    backend.answers(|| Ok(None));
    await_closing(&breaker);
    before.finish(refused()).unwrap_err();
    assert!(!is_open(&breaker, 0));
}

#[test]
fn a_server_that_answers_only_probes_is_probed_ever_more_rarely() {
    let (backend, breaker) = with_breaker(1);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        backend.answers(refused);
        get(&breaker, "key").unwrap_err();
        let pause = lock(&breaker.0.breakers[0].outage).as_ref().unwrap().pause;
        pauses.push(pause);
        backend.answers(|| Ok(None));
        await_closing(&breaker);
    }
    assert!(pauses.is_sorted_by(|a, b| a < b), "{pauses:?}");
    get(&breaker, "key").unwrap();
    backend.answers(refused);
    get(&breaker, "key").unwrap_err();
    let pause = lock(&breaker.0.breakers[0].outage).as_ref().unwrap().pause;
    assert!(pause <= pauses[1], "an answer to a call resets the pauses: {pause:?} after {pauses:?}");
}

#[test]
fn each_server_has_its_own_breaker() {
    let (backend, breaker) = with_breaker(2);
    let (here, there) = ("0", "1");
    backend.answers(refused);
    get(&breaker, here).unwrap_err();
    backend.answers(|| Ok(None));
    let asked = backend.asked();
    assert_eq!(get(&breaker, there).unwrap(), None);
    assert_eq!(backend.asked(), asked + 1);
    await_closing(&breaker);
    let keys = [here.as_bytes(), there.as_bytes()];
    let values = breaker.call(Request::GetMany(&keys), Instant::now() + BUDGET, Caller::Async).wait();
    assert_eq!(values.unwrap().values().unwrap(), [None, None]);
    // A server that is down fails only its own keys: its probes fail as long as nothing else is answered.
    backend.answers(refused);
    get(&breaker, here).unwrap_err();
    backend.probes_fail.store(true, Ordering::SeqCst);
    backend.answers(|| Ok(None));
    let keys = [there, here, there].map(|key| (key.as_bytes(), Bytes::new()));
    let request = Request::SetMany { entries: &keys, options: SetOptions::new() };
    let results = breaker.call(request, Instant::now() + BUDGET, Caller::Async).wait();
    let is_stored = results.unwrap().set_each().unwrap().into_iter().map(|result| result.is_ok());
    let is_stored: Vec<bool> = is_stored.collect();
    assert_eq!(is_stored, [true, false, true]);
}

#[test]
fn a_dropped_backend_is_not_probed() {
    let (backend, breaker) = with_breaker(1);
    backend.answers(refused);
    get(&breaker, "key").unwrap_err();
    let breakers = Arc::downgrade(&breaker.0);
    drop(breaker);
    eventually(|| breakers.upgrade().is_none());
}

#[test]
fn a_panic_says_nothing_about_the_server() {
    let (backend, breaker) = with_breaker(1);
    for _ in 0..2 {
        backend.answers(|| panic!("on purpose"));
        assert!(get(&breaker, "key").is_err());
        assert!(!is_open(&breaker, 0));
        backend.answers(|| Ok(None));
        assert_eq!(get(&breaker, "key").unwrap(), None);
    }
}

#[test]
fn failures_in_this_process_and_of_large_values_do_not_open_it() {
    let (backend, breaker) = with_breaker(1);
    for (kind, reason) in [
        (ErrorKind::Config, Reason::Process),
        (ErrorKind::Timeout, Reason::Process),
        (ErrorKind::Timeout, Reason::LargeValue),
    ] {
        backend.answers(move || Err(Error::new(kind, "no").because(reason)));
        for _ in 0..5 {
            get(&breaker, "key").unwrap_err();
        }
        assert!(!is_open(&breaker, 0), "{kind:?} {reason:?}");
    }
}

#[test]
fn a_process_that_stood_still_judges_nobody() {
    let (_backend, mut breaker) = with_breaker(1);
    let clock = Clock::manual();
    Arc::get_mut(&mut breaker.0).unwrap().clock = clock.clone();
    let late = || Err::<(), _>(Error::new(ErrorKind::Timeout, "late"));
    for _ in 0..2 {
        let together = [(); 3].map(|()| breaker.0.try_admit(0).unwrap());
        clock.advance(2 * BUDGET);
        for admission in together {
            admission.finish(late()).unwrap_err();
            assert!(!is_open(&breaker, 0));
        }
        get(&breaker, "an answer in between").unwrap();
    }
    for is_judged in [false, true] {
        let admission = breaker.0.try_admit(0).unwrap();
        clock.advance(2 * BUDGET);
        admission.finish(late()).unwrap_err();
        assert_eq!(is_open(&breaker, 0), is_judged, "a process that is always late is busy");
    }
}
