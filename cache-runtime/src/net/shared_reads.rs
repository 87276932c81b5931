//! Blocking reads that find every connection busy travel together.
//!
//! A read that finds a connection free has it for itself, and nothing here concerns it. Of those that don't, the first
//! drives: it waits for a connection, as any call does, and those that come meanwhile wait for it. When it has one, all
//! go as one `get_many`. Connections come free one after the other, many times within a round trip, so that the wait is
//! short, and the more callers there are, the more of them share a trip.
//!
//! A trip ends at the deadline of who drives it, so it takes nobody who has much more time than that: the first who stays
//! behind drives the next trip. Who has less time gives up by itself. Whatever becomes of a driver, somebody drives after
//! it, and its passengers get an answer, if only an error. Knows keys and bytes, no protocol.

use std::iter::once;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use bytes::Bytes;

use super::options::Span;
use super::pool::{Pool, Slot};
use crate::backend::SEATS;
use crate::config::context::lock;
use crate::error::{Error, ErrorKind};

type Value = Result<Option<Bytes>, Error>;

/// The reads of blocking callers that wait for a connection to one server.
#[derive(Default)]
pub(crate) struct Rides(Mutex<Stop>);

/// Where they wait.
#[derive(Default)]
struct Stop {
    /// Somebody waits for a connection, or is told to.
    has_driver: bool,
    /// Those who wait for the driver, in the order they came. Some may have given up.
    waiting: Vec<Passenger>,
}

struct Passenger {
    key: Vec<u8>,
    deadline: Instant,
    /// Takes one piece of news.
    tell: SyncSender<News>,
}

enum News {
    Arrived(Value),
    /// To drive the next trip.
    Drive,
}

impl Rides {
    /// The value under `key`, by a trip with others. If this call comes to drive it, `read` reads the values of all keys,
    /// its own first.
    pub(crate) fn get<C>(
        &self,
        pool: &Pool<C>,
        key: &[u8],
        span: Span,
        read: impl FnOnce(Slot<'_, C>, &[&[u8]]) -> Result<Vec<Option<Bytes>>, Error>,
    ) -> Value {
        let driver = match self.join(key, span.end) {
            Ok(driver) => driver,
            Err(news) => match self.wait(news, span.end) {
                Some(News::Drive) => Driver(self),
                Some(News::Arrived(value)) => return value,
                None => return Err(pool.busy()),
            },
        };
        let slot = pool.slot(span)?;
        let passengers = driver.depart(span.end);
        let keys: Vec<&[u8]> = once(key).chain(passengers.iter().map(|passenger| &*passenger.key)).collect();
        let values = read(slot, &keys);
        arrive(passengers, values)
    }

    /// Who comes first drives; the others hear of it.
    fn join(&self, key: &[u8], deadline: Instant) -> Result<Driver<'_>, Receiver<News>> {
        let mut stop = lock(&self.0);
        if !stop.has_driver {
            stop.has_driver = true;
            return Ok(Driver(self));
        }
        let (tell, news) = sync_channel(1);
        stop.waiting.push(Passenger { key: key.to_vec(), deadline, tell });
        Err(news)
    }

    fn wait(&self, news: Receiver<News>, deadline: Instant) -> Option<News> {
        match news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(came) => Some(came),
            Err(RecvTimeoutError::Disconnected) => Some(News::Arrived(Err(lost()))),
            Err(RecvTimeoutError::Timeout) => {
                // Locked until `news` is gone: else it could be told to drive after it was looked at last.
                let (_stop, news) = (lock(&self.0), news);
                news.try_recv().ok()
            }
        }
    }
}

/// The duty to drive; where it ends, another takes it over.
struct Driver<'r>(&'r Rides);

impl Driver<'_> {
    /// The passengers of a trip that ends at `end`: none who would lose over a third of its time if that came to nothing.
    /// Who is left, and who comes now, takes the next one.
    fn depart(self, end: Instant) -> Vec<Passenger> {
        let now = Instant::now();
        let loss = end.saturating_duration_since(now) / 2;
        let mut stop = lock(&self.0.0);
        let fits = |passenger: &mut Passenger| {
            passenger.deadline > now && passenger.deadline.saturating_duration_since(end) <= loss
        };
        stop.waiting.extract_if(.., fits).take(SEATS - 1).collect()
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        let mut stop = lock(&self.0.0);
        stop.has_driver = loop {
            if stop.waiting.is_empty() {
                break false;
            }
            // An error means that it has given up.
            if stop.waiting.remove(0).tell.try_send(News::Drive).is_ok() {
                break true;
            }
        };
    }
}

/// Gives each passenger its value, and returns the driver's.
fn arrive(passengers: Vec<Passenger>, values: Result<Vec<Option<Bytes>>, Error>) -> Value {
    let mut values = values.and_then(|values| match values.len() == 1 + passengers.len() {
        true => Ok(values.into_iter()),
        false => Err(lost()),
    });
    let mut next = || match &mut values {
        Ok(values) => Ok(values.next().flatten()),
        Err(error) => Err(error.clone()),
    };
    let own = next();
    for passenger in passengers {
        // An error means that it has given up.
        let _ = passenger.tell.try_send(News::Arrived(next()));
    }
    own
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the read that was to bring the value came to nothing")
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread::{self, ScopedJoinHandle};
    use std::time::Duration;

    use super::super::pool::Redo;
    use super::*;

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
        rides: Rides,
        trips: Mutex<Vec<Vec<String>>>,
    }

    impl Server {
        fn new() -> Self {
            Self { pool: Pool::new(1), rides: Rides::default(), trips: Mutex::default() }
        }

        fn occupied(&self) -> Slot<'_, ()> {
            self.pool.slot(span(LONG)).unwrap()
        }

        fn get_by(&self, key: &str, time: Duration, answer: impl Fn(&[&[u8]]) -> Answer) -> Value {
            self.rides.get(&self.pool, key.as_bytes(), span(time), |slot, keys| {
                let texts = keys.iter().map(|key| String::from_utf8(key.to_vec()).unwrap());
                lock(&self.trips).push(texts.collect());
                slot.run(Redo::Never, || Ok(()), |()| answer(keys))
            })
        }

        fn get(&self, key: &str, time: Duration) -> Value {
            self.get_by(key, time, echo)
        }

        fn trips(&self) -> Vec<Vec<String>> {
            lock(&self.trips).clone()
        }

        /// Returns when the read waits for the connection, or for who does; `waiting` others do that already.
        fn board<'s, 'e, T: Send + 's>(
            &self,
            scope: &'s thread::Scope<'s, 'e>,
            waiting: usize,
            get: impl FnOnce() -> T + Send + 's,
        ) -> ScopedJoinHandle<'s, T> {
            let caller = scope.spawn(get);
            until(|| {
                let stop = lock(&self.rides.0);
                usize::from(stop.has_driver) + stop.waiting.len() > waiting || caller.is_finished()
            });
            caller
        }
    }

    type Answer = Result<Vec<Option<Bytes>>, Error>;

    fn echo(keys: &[&[u8]]) -> Answer {
        Ok(keys.iter().map(|key| Some(Bytes::copy_from_slice(key))).collect())
    }

    fn text(value: Value) -> Result<String, ErrorKind> {
        value.map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()).map_err(|error| error.kind())
    }

    #[test]
    fn those_who_wait_for_a_connection_travel_together() {
        let server = &Server::new();
        thread::scope(|scope| {
            let busy = server.occupied();
            let callers: Vec<_> = ["a", "b", "c", "d"]
                .into_iter()
                .enumerate()
                .map(|(n, key)| (key, server.board(scope, n, move || server.get(key, LONG))))
                .collect();
            drop(busy);
            for (key, caller) in callers {
                assert_eq!(text(caller.join().unwrap()).unwrap(), key);
            }
        });
        assert_eq!(server.trips(), [["a", "b", "c", "d"]]);
    }

    #[test]
    fn a_trip_has_so_many_seats() {
        let server = &Server::new();
        thread::scope(|scope| {
            let busy = server.occupied();
            let callers: Vec<_> =
                (0..SEATS + 2).map(|n| server.board(scope, n, move || server.get("key", LONG))).collect();
            drop(busy);
            for caller in callers {
                assert_eq!(text(caller.join().unwrap()).unwrap(), "key");
            }
        });
        assert_eq!(server.trips().iter().map(Vec::len).collect::<Vec<_>>(), [SEATS, 2]);
    }

    #[test]
    fn who_runs_out_of_time_leaves_and_is_not_read_for() {
        let server = &Server::new();
        thread::scope(|scope| {
            let busy = server.occupied();
            let driver = server.board(scope, 0, move || server.get("driver", LONG));
            let hasty = server.board(scope, 1, move || server.get("hasty", Duration::from_millis(10)));
            let patient = server.board(scope, 2, move || server.get("patient", LONG));
            let error = hasty.join().unwrap().unwrap_err();
            assert!(error.to_string().contains("all 1 connections stayed busy"), "{error}");
            drop(busy);
            assert_eq!(text(driver.join().unwrap()).unwrap(), "driver");
            assert_eq!(text(patient.join().unwrap()).unwrap(), "patient");
        });
        assert_eq!(server.trips(), [["driver", "patient"]]);
    }

    #[test]
    fn where_a_driver_runs_out_of_time_the_next_drives() {
        let server = &Server::new();
        thread::scope(|scope| {
            let busy = server.occupied();
            let drivers = [0, 1]
                .map(|n| server.board(scope, n, move || server.get("hasty", Duration::from_millis(10))));
            let patient = server.board(scope, 0, move || server.get("patient", LONG));
            for driver in drivers {
                assert_eq!(text(driver.join().unwrap()), Err(ErrorKind::Timeout));
            }
            drop(busy);
            assert_eq!(text(patient.join().unwrap()).unwrap(), "patient");
        });
        assert_eq!(server.trips(), [["patient"]]);
    }

    #[test]
    fn nobody_travels_with_a_driver_who_has_much_less_time() {
        let server = &Server::new();
        thread::scope(|scope| {
            let busy = server.occupied();
            let slow = |_: &[&[u8]]| Err(Error::new(ErrorKind::Timeout, "slow"));
            let driver = server.board(scope, 0, move || server.get_by("driver", LONG, slow));
            let (longer, shorter) = (LONG * 2, LONG / 2);
            let callers = [
                server.board(scope, 1, move || server.get("longer", longer)),
                server.board(scope, 2, move || server.get("shorter", shorter)),
                server.board(scope, 3, move || server.get("longer too", longer)),
            ];
            drop(busy);
            assert_eq!(text(driver.join().unwrap()), Err(ErrorKind::Timeout));
            let values = callers.map(|caller| text(caller.join().unwrap()));
            assert_eq!(values, [Ok("longer".into()), Err(ErrorKind::Timeout), Ok("longer too".into())]);
        });
        assert_eq!(server.trips(), [["driver", "shorter"], ["longer", "longer too"]]);
    }

    #[test]
    fn the_panic_of_a_driver_is_an_error_to_its_passengers() {
        let server = &Server::new();
        thread::scope(|scope| {
            let busy = server.occupied();
            let driver = server.board(scope, 0, move || {
                catch_unwind(AssertUnwindSafe(|| server.get_by("driver", LONG, |_| panic!("on purpose"))))
            });
            let passenger = server.board(scope, 1, move || server.get("passenger", LONG));
            drop(busy);
            assert!(driver.join().unwrap().is_err());
            assert_eq!(text(passenger.join().unwrap()), Err(ErrorKind::Unavailable));
        });
        assert_eq!(text(server.get("later", LONG)).unwrap(), "later");
    }

    #[test]
    fn values_that_are_too_few_are_nobodys() {
        let server = &Server::new();
        thread::scope(|scope| {
            let busy = server.occupied();
            let short = |keys: &[&[u8]]| echo(&keys[1..]);
            let driver = server.board(scope, 0, move || server.get_by("driver", LONG, short));
            let passenger = server.board(scope, 1, move || server.get("passenger", LONG));
            drop(busy);
            for caller in [driver, passenger] {
                assert_eq!(text(caller.join().unwrap()), Err(ErrorKind::Unavailable));
            }
        });
    }
}
