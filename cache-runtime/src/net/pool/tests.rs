use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::*;

impl Connection for usize {
    fn is_open(&mut self) -> bool {
        true
    }
}

impl Connection for () {
    fn is_open(&mut self) -> bool {
        true
    }
}

/// A pool of numbered connections, and how many were opened.
struct Numbered {
    pool: Pool<usize>,
    opened: AtomicUsize,
}

impl Numbered {
    fn new(max: usize) -> Self {
        Self { pool: Pool::new(max), opened: AtomicUsize::new(0) }
    }

    fn run<T>(&self, redo: Retry, call: impl FnMut(&mut usize) -> Result<T, Error>) -> Result<T, Error> {
        let start = Instant::now();
        let span = Span { start, end: start + Duration::from_millis(50) };
        self.pool.permit(span)?.run(redo, || Ok(self.opened.fetch_add(1, Ordering::Relaxed)), call)
    }

    /// Leaves the connections 0 and 1 idle.
    fn with_two() -> Self {
        let this = Self::new(2);
        this.run(Retry::Never, |_| this.run(Retry::Never, |_| Ok(()))).unwrap();
        this
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "closed by the server")
}

#[test]
fn the_connection_used_last_is_used_first() {
    let numbered = Numbered::with_two();
    // The outer call ended last.
    assert_eq!(numbered.run(Retry::Never, |number| Ok(*number)).unwrap(), 0);
    assert_eq!(numbered.run(Retry::Never, |number| Ok(*number)).unwrap(), 0);
    assert_eq!(numbered.opened.into_inner(), 2);
}

#[test]
fn a_closed_connection_is_replaced() {
    let numbered = Numbered::with_two();
    let number = numbered.run(Retry::Once, |number| if *number < 2 { Err(closed()) } else { Ok(*number) });
    assert_eq!(number.unwrap(), 2);
}

#[test]
fn connections_as_old_as_a_closed_one_are_closed_too() {
    let (mut idle, now) = (Idle::new(), Instant::now());
    let (old, middle) = (Pooled::new("old"), Pooled::new("middle"));
    thread::sleep(Duration::from_millis(2));
    let young = Pooled::new("young");
    idle.keep(young, now);
    idle.keep(old, now);
    idle.discard(&middle);
    assert_eq!(idle.take(now).map(|pooled| pooled.connection), Some("young"));
    assert!(idle.take(now).is_none());
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
    assert_eq!(numbered.run(Retry::Once, |number| Ok(*number)).unwrap(), 2, "a slow one is not reused");
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
    let pool = Pool::<()>::new(1);
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
    assert_eq!(numbered.run(Retry::Once, |number| Ok(*number)).unwrap(), 1);
}
