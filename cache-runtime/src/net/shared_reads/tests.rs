use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::net::pool::idle::Retry;
use crate::net::pool::tests::pool;

type Value = Result<Option<Bytes>, Error>;

const LONG: Duration = Duration::from_secs(60);

fn span(time: Duration) -> Span {
    let start = Instant::now();
    Span { start, end: start + time }
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// A server with one connection. It gives keys back as their values, and remembers what was asked together.
struct Server {
    pool: Pool<()>,
    reads: SharedReads<Bytes>,
    batches: Mutex<Vec<Vec<String>>>,
}

impl Server {
    fn new() -> Self {
        Self { pool: pool(1), reads: SharedReads::default(), batches: Mutex::default() }
    }

    fn occupied(&self) -> Permit<'_, ()> {
        self.pool.permit(span(LONG)).unwrap()
    }

    fn get_by(&self, key: &str, time: Duration, answer: impl Fn(&[&[u8]]) -> Answer) -> Value {
        self.reads.get(&self.pool, key.as_bytes(), span(time), |permit, keys| {
            let texts = keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap());
            lock(&self.batches).push(texts.collect());
            permit.run(Retry::Never, || Ok(()), |()| answer(keys))
        })
    }

    fn get(&self, key: &str, time: Duration) -> Value {
        self.get_by(key, time, echo)
    }

    fn batches(&self) -> Vec<Vec<String>> {
        lock(&self.batches).clone()
    }

    /// Returns when the read waits for the connection or for its leader; `waiting` others already do.
    fn join<'s, 'e, T: Send + 's>(
        &self,
        scope: &'s thread::Scope<'s, 'e>,
        waiting: usize,
        get: impl FnOnce() -> T + Send + 's,
    ) -> ScopedJoinHandle<'s, T> {
        let caller = scope.spawn(get);
        until(|| {
            let queue = lock(self.reads.queue());
            usize::from(queue.has_leader) + queue.waiting.len() > waiting || caller.is_finished()
        });
        caller
    }
}

type Answer = Result<Vec<Result<Option<Bytes>, Error>>, Error>;

fn echo(keys: &[&[u8]]) -> Answer {
    Ok(keys.iter().map(|key| Ok(Some(Bytes::copy_from_slice(key)))).collect())
}

fn text(value: Value) -> Result<String, ErrorKind> {
    value.map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()).map_err(|error| error.kind())
}

#[test]
fn reads_that_wait_for_a_connection_share_a_request() {
    let server = &Server::new();
    thread::scope(|scope| {
        let busy = server.occupied();
        let callers: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .enumerate()
            .map(|(n, key)| (key, server.join(scope, n, move || server.get(key, LONG))))
            .collect();
        drop(busy);
        for (key, caller) in callers {
            assert_eq!(text(caller.join().unwrap()).unwrap(), key);
        }
    });
    assert_eq!(server.batches(), [["a", "b", "c", "d"]]);
}

#[test]
fn a_batch_has_a_size() {
    let server = &Server::new();
    thread::scope(|scope| {
        let busy = server.occupied();
        let callers: Vec<_> =
            (0..MAX_BATCH + 2).map(|n| server.join(scope, n, move || server.get("key", LONG))).collect();
        drop(busy);
        for caller in callers {
            assert_eq!(text(caller.join().unwrap()).unwrap(), "key");
        }
    });
    assert_eq!(server.batches().iter().map(Vec::len).collect::<Vec<_>>(), [MAX_BATCH, 2]);
}

#[test]
fn a_read_that_runs_out_of_time_leaves_the_queue() {
    let server = &Server::new();
    thread::scope(|scope| {
        let busy = server.occupied();
        let leader = server.join(scope, 0, move || server.get("leader", LONG));
        let hasty = server.join(scope, 1, move || server.get("hasty", Duration::from_millis(10)));
        let patient = server.join(scope, 2, move || server.get("patient", LONG));
        let error = hasty.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("all 1 connections stayed busy"), "{error}");
        drop(busy);
        assert_eq!(text(leader.join().unwrap()).unwrap(), "leader");
        assert_eq!(text(patient.join().unwrap()).unwrap(), "patient");
    });
    assert_eq!(server.batches(), [["leader", "patient"]]);
}

#[test]
fn when_a_leader_runs_out_of_time_the_next_read_leads() {
    let server = &Server::new();
    thread::scope(|scope| {
        let busy = server.occupied();
        let leaders =
            [0, 1].map(|n| server.join(scope, n, move || server.get("hasty", Duration::from_millis(10))));
        let patient = server.join(scope, 0, move || server.get("patient", LONG));
        for leader in leaders {
            assert_eq!(text(leader.join().unwrap()), Err(ErrorKind::Timeout));
        }
        drop(busy);
        assert_eq!(text(patient.join().unwrap()).unwrap(), "patient");
    });
    assert_eq!(server.batches(), [["patient"]]);
}

#[test]
fn no_read_joins_a_leader_that_has_much_less_time() {
    let server = &Server::new();
    thread::scope(|scope| {
        let busy = server.occupied();
        let slow = |_: &[&[u8]]| Err(Error::new(ErrorKind::Timeout, "slow"));
        let leader = server.join(scope, 0, move || server.get_by("leader", LONG, slow));
        let (longer, shorter) = (LONG * 2, LONG / 2);
        let callers = [
            server.join(scope, 1, move || server.get("longer", longer)),
            server.join(scope, 2, move || server.get("shorter", shorter)),
            server.join(scope, 3, move || server.get("longer too", longer)),
        ];
        drop(busy);
        assert_eq!(text(leader.join().unwrap()), Err(ErrorKind::Timeout));
        let values = callers.map(|caller| text(caller.join().unwrap()));
        assert_eq!(values, [Ok("longer".into()), Err(ErrorKind::Timeout), Ok("longer too".into())]);
    });
    assert_eq!(server.batches(), [["leader", "shorter"], ["longer", "longer too"]]);
}

#[test]
fn the_panic_of_a_leader_is_an_error_for_its_waiters() {
    let server = &Server::new();
    thread::scope(|scope| {
        let busy = server.occupied();
        let leader = server.join(scope, 0, move || {
            catch_unwind(AssertUnwindSafe(|| server.get_by("leader", LONG, |_| panic!("on purpose"))))
        });
        let waiter = server.join(scope, 1, move || server.get("waiter", LONG));
        drop(busy);
        assert!(leader.join().unwrap().is_err());
        assert_eq!(text(waiter.join().unwrap()), Err(ErrorKind::Unavailable));
    });
    assert_eq!(text(server.get("later", LONG)).unwrap(), "later");
}

#[test]
fn too_few_values_are_an_error_for_all() {
    let server = &Server::new();
    thread::scope(|scope| {
        let busy = server.occupied();
        let short = |keys: &[&[u8]]| echo(&keys[1..]);
        let leader = server.join(scope, 0, move || server.get_by("leader", LONG, short));
        let waiter = server.join(scope, 1, move || server.get("waiter", LONG));
        drop(busy);
        for caller in [leader, waiter] {
            assert_eq!(text(caller.join().unwrap()), Err(ErrorKind::Unavailable));
        }
    });
}
