use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use super::idle::{Flow, LARGE, MAX_AGE, SETTLED};
use super::*;
use crate::error::{Reason, Refusal};
use crate::net::options::DEFAULT_TIMEOUT;
use crate::net::url::Url;

/// A connection with a number, and what its call has moved.
struct Fake {
    number: usize,
    flow: Flow,
}

impl Connection for Fake {
    fn is_open(&mut self) -> bool {
        true
    }

    fn begin(&mut self, _: Instant) {
        self.flow = Flow::default();
    }

    fn flow(&self) -> Flow {
        self.flow
    }
}

/// Nothing is sent over it.
impl Connection for () {
    fn is_open(&mut self) -> bool {
        true
    }

    fn begin(&mut self, _: Instant) {}

    fn flow(&self) -> Flow {
        Flow::default()
    }
}

pub(crate) fn pool<C>(size: usize) -> Pool<C> {
    let mut url = Url::parse(&format!("test://server?pool={size}")).unwrap();
    Pool::new(&Options::take(&mut url, DEFAULT_TIMEOUT, 1024).unwrap())
}

/// A pool of numbered connections, how many were opened, and how many the server takes.
struct Numbered {
    pool: Pool<Fake>,
    opened: AtomicUsize,
    most: usize,
}

impl Numbered {
    fn new(size: usize) -> Self {
        Self { pool: pool(size), opened: AtomicUsize::new(0), most: usize::MAX }
    }

    fn run<T>(&self, retry: Retry, mut call: impl FnMut(usize) -> Result<T, Error>) -> Result<T, Error> {
        self.run_on(retry, |connection| call(connection.number))
    }

    fn run_on<T>(&self, retry: Retry, call: impl FnMut(&mut Fake) -> Result<T, Error>) -> Result<T, Error> {
        let start = Instant::now();
        let span = Span { start, end: start + Duration::from_millis(50) };
        let connect = || match self.opened.fetch_add(1, Ordering::Relaxed) {
            number if number < self.most => Ok(Fake { number, flow: Flow::default() }),
            _ => Err(refusal(Effect::NewConnection)),
        };
        self.pool.permit(span)?.run(retry, connect, call)
    }

    /// Leaves the connections 0 and 1 idle.
    fn with_two() -> Self {
        let this = Self::new(2);
        this.run(Retry::Never, |_| this.run(Retry::Never, |_| Ok(()))).unwrap();
        this
    }
}

fn refusal(effect: Effect) -> Error {
    let refusal: &Refusal = match effect {
        Effect::NewConnection => {
            &Refusal { code: "FULL", advice: "", effect: Effect::NewConnection, passes: false }
        }
        _ => &Refusal { code: "MOVED", advice: "", effect: Effect::Connection, passes: false },
    };
    Error::new(ErrorKind::Server, refusal.code).because(Reason::Refusal(refusal))
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "closed by the server")
}

#[test]
fn the_connection_used_last_is_used_first() {
    let numbered = Numbered::with_two();
    // The outer call ended last.
    assert_eq!(numbered.run(Retry::Never, Ok).unwrap(), 0);
    assert_eq!(numbered.run(Retry::Never, Ok).unwrap(), 0);
    assert_eq!(numbered.opened.into_inner(), 2);
}

#[test]
fn a_closed_connection_is_replaced() {
    let numbered = Numbered::with_two();
    let number = numbered.run(Retry::Once, |number| if number < 2 { Err(closed()) } else { Ok(number) });
    assert_eq!(number.unwrap(), 2);
}

#[test]
fn connections_as_old_as_a_closed_one_are_closed_too() {
    let (mut idle, now) = (Idle::new(), Instant::now());
    let (old, middle) = (idle.adopt("old"), idle.adopt("middle"));
    thread::sleep(Duration::from_millis(2));
    let young = idle.adopt("young");
    idle.keep(young, now);
    idle.keep(old, now);
    assert!(matches!(idle.after(&middle, &closed(), Retry::Once), After::Retry));
    assert_eq!(idle.take(now).map(|pooled| pooled.connection), Some("young"));
    assert!(idle.take(now).is_none());
}

#[test]
fn an_old_connection_is_not_used() {
    let (mut idle, now) = (Idle::new(), Instant::now());
    let one = idle.adopt("one");
    idle.keep(one, now + MAX_AGE - Duration::from_secs(1));
    let one = idle.take(now + MAX_AGE - Duration::from_secs(1)).unwrap();
    idle.keep(one, now + MAX_AGE);
    assert!(idle.take(now + MAX_AGE + Duration::from_secs(1)).is_none(), "it was used all the time");
    assert_eq!(idle.open(), 0);
}

#[test]
fn connections_to_the_wrong_server_are_replaced_and_the_call_sent_again() {
    let (mut idle, wrong) = (Idle::new(), refusal(Effect::Connection));
    let (mut used, other, idle_one) = (idle.adopt("used"), idle.adopt("other"), idle.adopt("idle"));
    let start = Instant::now();
    idle.keep(idle_one, start);
    assert!(matches!(idle.after(&used, &wrong, Retry::Never), After::Keep), "the name leads there now");
    used.opened = start.checked_sub(SETTLED).unwrap();
    assert!(matches!(idle.after(&used, &wrong, Retry::Never), After::Retry), "the server has done nothing");
    idle.keep(other, start);
    assert!(idle.take(start).is_none(), "all of them lead to the same server");
}

#[test]
fn where_no_more_connections_are_taken_callers_wait_for_those_there_are() {
    let numbered = Numbered { most: 1, ..Numbered::new(3) };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| numbered.run(Retry::Never, Ok))).collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap().unwrap(), 0);
        }
    });
    let error = numbered.run(Retry::Never, |_| numbered.run(Retry::Never, Ok)).unwrap_err();
    assert!(error.to_string().contains("all 1 connections") && !error.is_about_server(), "{error}");
    let none = Numbered { most: 0, ..Numbered::new(3) };
    for _ in 0..3 {
        assert!(none.run(Retry::Never, Ok).unwrap_err().has_effect(Effect::NewConnection));
    }
    assert_eq!(none.opened.into_inner(), 1, "the server is left alone for a while");
}

#[test]
fn a_timeout_while_many_bytes_flow_is_about_the_value() {
    let ran_out_of_time = |bytes, age| {
        let mut fake = Fake { number: 0, flow: Flow::default() };
        fake.flow.add(bytes);
        let now = Instant::now();
        let span = Span { start: now.checked_sub(age).unwrap(), end: now + Duration::from_secs(1) };
        out_of_time(Error::new(ErrorKind::Timeout, "slow"), &fake, span)
    };
    let (early, late) = (Duration::ZERO, Duration::from_secs(2));
    assert!(!ran_out_of_time(LARGE, late).is_about_server());
    assert!(ran_out_of_time(LARGE - 1, late).is_about_server(), "few bytes");
    assert!(ran_out_of_time(LARGE, early).is_about_server(), "they have stopped since");
}

#[test]
fn a_call_that_must_not_run_twice_is_not_retried() {
    let numbered = Numbered::with_two();
    let mut calls = 0;
    let result: Result<(), _> = numbered.run(Retry::Never, |_| {
        calls += 1;
        Err(closed())
    });
    assert_eq!((result.unwrap_err().kind(), calls), (ErrorKind::Unavailable, 1));
}

#[test]
fn a_new_connection_and_a_timeout_are_not_retried() {
    let numbered = Numbered::new(1);
    assert!(numbered.run(Retry::Once, |_| Err::<(), _>(closed())).is_err());
    numbered.run(Retry::Once, |_| Ok(())).unwrap();
    let slow = Error::new(ErrorKind::Timeout, "slow");
    assert!(numbered.run(Retry::Once, |_| Err::<(), _>(slow.clone())).is_err());
    assert_eq!(numbered.run(Retry::Once, Ok).unwrap(), 2, "a slow one is not reused");
}

#[test]
fn a_full_pool_is_waited_for_until_the_deadline() {
    let numbered = Numbered::new(1);
    let error = numbered.run(Retry::Once, |_| numbered.run(Retry::Once, |_| Ok(()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("all 1 connections"), "{error}");
}

#[test]
fn a_permit_goes_to_the_caller_that_waits() {
    let pool = pool::<()>(1);
    let span = || Span { start: Instant::now(), end: Instant::now() + Duration::from_secs(60) };
    let first = pool.permit(span()).unwrap();
    thread::scope(|scope| {
        let (go, gate) = sync_channel::<()>(0);
        let pool = &pool;
        let waiting = scope.spawn(move || {
            let permit = pool.permit(span()).unwrap();
            gate.recv().unwrap();
            drop(permit);
        });
        while lock(&pool.shared().state).waiting == 0 {
            thread::yield_now();
        }
        drop(first);
        assert!(pool.try_permit(span()).is_none());
        let hasty = Span { end: Instant::now() + Duration::from_millis(10), ..span() };
        assert!(pool.permit(hasty).is_err());
        go.send(()).unwrap();
        waiting.join().unwrap();
    });
    assert!(pool.try_permit(span()).is_some());
}

#[test]
fn a_panic_returns_the_permit_and_closes_the_connection() {
    let numbered = Numbered::new(1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        numbered.run(Retry::Once, |_| -> Result<(), Error> { panic!("on purpose") })
    }));
    assert!(panicked.is_err());
    assert_eq!(numbered.run(Retry::Once, Ok).unwrap(), 1);
}
