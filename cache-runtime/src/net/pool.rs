//! Connections that serve one call at a time: how many there are, which is used next, and when a
//! call is redone on a new one.
//!
//! Knows neither what the connections are nor what is said over them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::options::Span;
use crate::config::context::lock;
use crate::error::{Error, ErrorKind};

/// Firewalls and balancers forget quiet connections without telling either end, most after minutes.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// How many connections to one server blocking callers have. They are opened as they are needed; reads that find all of
/// them busy travel together, which is faster than on a connection each.
pub(crate) const USUAL: usize = 16;

/// Whether a call that found its connection closed is done again on a new one.
///
/// A server that restarts closes connections that look alive until they are used, so without this a
/// restart would fail one call per connection. Whether the server had read the request can't be
/// known, so only what may be done twice is redone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Redo {
    Once,
    Never,
}

impl Redo {
    /// Timeouts are not redone: the server is slow, and asking again makes it slower.
    pub(crate) fn applies(self, error: &Error) -> bool {
        self == Self::Once && error.kind() == ErrorKind::Unavailable
    }
}

/// No connection is given less time, and none may be given no time at all.
const SHORTEST_DIAL: Duration = Duration::from_millis(1);

/// The time left until `deadline`, as an I/O error when there is none.
pub(crate) fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Connects to the first address of `host` that answers before `deadline`. One that doesn't answer takes its share of the
/// time and no more.
///
/// Names are looked up each time, so that a server may move.
pub(crate) fn dial(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = no_address();
    for (address, share) in shares(addresses(host, port, deadline)?, deadline) {
        match TcpStream::connect_timeout(&address, share?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// What comes of a name without addresses.
pub(crate) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the host name has no address")
}

/// The addresses, each with its share of the time that is left when it is its turn.
pub(crate) fn shares(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
) -> impl Iterator<Item = (SocketAddr, io::Result<Duration>)> {
    let to_come = (1..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev();
    let share = move |to_come: u32| left(deadline).map(|left| (left / to_come).max(SHORTEST_DIAL));
    addresses.into_iter().zip(to_come).map(move |(address, to_come)| (address, share(to_come)))
}

/// The system's lookup takes no deadline, and a resolver that is down takes many seconds: it has a thread of its own,
/// which the caller leaves behind until it ends by itself.
fn addresses(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    let (sender, receiver) = sync_channel(1);
    let name = host.to_owned();
    let look_up = move || {
        // An error means that the caller is gone.
        let _ = sender.send((&*name, port).to_socket_addrs().map(Vec::from_iter));
    };
    thread::Builder::new().name("cache-lookup".to_owned()).spawn(look_up)?;
    let found = receiver.recv_timeout(left(deadline)?);
    found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A connection and when it was opened.
pub(crate) struct Member<C> {
    pub(crate) connection: C,
    opened: Instant,
    /// When the last call began.
    used: Instant,
}

impl<C> Member<C> {
    pub(crate) fn new(connection: C) -> Self {
        let now = Instant::now();
        Self { connection, opened: now, used: now }
    }
}

/// The connections nobody uses. The last one used goes first, so that those beyond the need stay
/// idle and are closed.
pub(crate) struct Idle<C>(Vec<Member<C>>);

impl<C> Idle<C> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// For a call that begins `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Member<C>> {
        let member = self.0.pop().filter(|member| now < member.used + MAX_IDLE);
        if member.is_none() {
            // The others were used even longer ago.
            self.0.clear();
        }
        member
    }

    /// Keeps a connection on which all went well in the call that began at `start`. After any failure, even one of
    /// time, an answer may still be on its way, and the next caller would take it for its own.
    pub(crate) fn keep(&mut self, mut member: Member<C>, start: Instant) {
        member.used = start;
        if self.0.first().is_some_and(|oldest| oldest.used + MAX_IDLE <= start) {
            self.0.remove(0);
        }
        self.0.push(member);
    }

    /// Closes a connection that the server had closed, and those that are as old: they met the same fate.
    pub(crate) fn forget(&mut self, broken: &Member<C>) {
        self.0.retain(|other| other.opened > broken.opened);
    }
}

/// The connections of blocking callers to one server.
pub(crate) struct Pool<C> {
    state: Mutex<State<C>>,
    freed: Condvar,
    max: usize,
}

struct State<C> {
    idle: Idle<C>,
    /// Slots that are taken, or left to those who wait.
    used: usize,
    waiting: usize,
    /// Slots that are left to those who wait. Who comes later finds them used: else a thread that calls again and again
    /// would mostly be faster than one that has to wake up first.
    left: usize,
}

impl<C> Pool<C> {
    pub(crate) const fn new(max: usize) -> Self {
        let state = State { idle: Idle::new(), used: 0, waiting: 0, left: 0 };
        Self { state: Mutex::new(state), freed: Condvar::new(), max }
    }

    /// A slot, if fewer than `max` calls are under way.
    pub(crate) fn try_slot(&self, span: Span) -> Option<Slot<'_, C>> {
        let mut state = lock(&self.state);
        if state.used == self.max {
            return None;
        }
        state.used += 1;
        Some(self.occupy(state, span))
    }

    /// Waits until fewer than `max` calls are under way.
    pub(crate) fn slot(&self, span: Span) -> Result<Slot<'_, C>, Error> {
        let mut state = lock(&self.state);
        if state.used < self.max {
            state.used += 1;
            return Ok(self.occupy(state, span));
        }
        // A slot that is left now is another's, who came earlier.
        state.waiting += 1;
        loop {
            let Ok(left) = left(span.end) else {
                state.waiting -= 1;
                return Err(self.busy());
            };
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            if state.left > 0 {
                break;
            }
        }
        state.waiting -= 1;
        state.left -= 1;
        Ok(self.occupy(state, span))
    }

    fn occupy(&self, mut state: MutexGuard<'_, State<C>>, span: Span) -> Slot<'_, C> {
        Slot { pool: self, start: span.start, member: state.idle.take(span.start) }
    }

    /// What a call gets that has waited in vain.
    pub(crate) fn busy(&self) -> Error {
        let message = format!("all {} connections stayed busy until the deadline", self.max);
        Error::new(ErrorKind::Timeout, message)
    }
}

/// The right to use one connection, given back on drop, also by a panic.
pub(crate) struct Slot<'p, C> {
    pool: &'p Pool<C>,
    /// When the call began.
    start: Instant,
    /// A connection that is as good as it was, or as new.
    member: Option<Member<C>>,
}

impl<C> Slot<'_, C> {
    /// Runs `call` on an idle connection, else on a new one.
    pub(crate) fn run<T>(
        mut self,
        redo: Redo,
        connect: impl FnOnce() -> Result<C, Error>,
        mut call: impl FnMut(&mut C) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(mut member) = self.member.take() {
            match call(&mut member.connection) {
                Err(error) if redo.applies(&error) => lock(&self.pool.state).idle.forget(&member),
                result => return self.settle(member, result),
            }
        }
        let mut member = Member::new(connect()?);
        let result = call(&mut member.connection);
        self.settle(member, result)
    }

    fn settle<T>(&mut self, member: Member<C>, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_ok() {
            self.member = Some(member);
        }
        result
    }
}

impl<C> Drop for Slot<'_, C> {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        if let Some(member) = self.member.take() {
            state.idle.keep(member, self.start);
        }
        if state.left == state.waiting {
            state.used -= 1;
            return;
        }
        state.left += 1;
        drop(state);
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A pool of numbered connections, and how many were opened.
    struct Numbered {
        pool: Pool<usize>,
        opened: AtomicUsize,
    }

    impl Numbered {
        fn new(max: usize) -> Self {
            Self { pool: Pool::new(max), opened: AtomicUsize::new(0) }
        }

        fn run<T>(&self, redo: Redo, call: impl FnMut(&mut usize) -> Result<T, Error>) -> Result<T, Error> {
            let start = Instant::now();
            let span = Span { start, end: start + Duration::from_millis(50) };
            self.pool.slot(span)?.run(redo, || Ok(self.opened.fetch_add(1, Ordering::Relaxed)), call)
        }

        /// Leaves the connections 0 and 1 idle.
        fn with_two() -> Self {
            let this = Self::new(2);
            this.run(Redo::Never, |_| this.run(Redo::Never, |_| Ok(()))).unwrap();
            this
        }
    }

    #[test]
    fn names_and_addresses_are_dialled() {
        let soon = || Instant::now() + Duration::from_secs(10);
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(dial(host, port, soon()).unwrap().peer_addr().unwrap().port(), port);
        }
        assert!(dial("no-such-host.invalid", port, soon()).is_err());
        let late = dial("no-such-host.invalid", port, Instant::now()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    fn closed() -> Error {
        Error::new(ErrorKind::Unavailable, "closed by the server")
    }

    #[test]
    fn the_last_one_used_goes_first() {
        let numbered = Numbered::with_two();
        // The outer call ended last.
        assert_eq!(numbered.run(Redo::Never, |number| Ok(*number)).unwrap(), 0);
        assert_eq!(numbered.run(Redo::Never, |number| Ok(*number)).unwrap(), 0);
        assert_eq!(numbered.opened.into_inner(), 2);
    }

    #[test]
    fn a_closed_connection_is_replaced() {
        let numbered = Numbered::with_two();
        let number = numbered.run(Redo::Once, |number| if *number < 2 { Err(closed()) } else { Ok(*number) });
        assert_eq!(number.unwrap(), 2);
    }

    #[test]
    fn those_as_old_as_a_closed_one_are_closed_too() {
        let (mut idle, now) = (Idle::new(), Instant::now());
        let (old, middle) = (Member::new("old"), Member::new("middle"));
        thread::sleep(Duration::from_millis(2));
        let young = Member::new("young");
        idle.keep(young, now);
        idle.keep(old, now);
        idle.forget(&middle);
        assert_eq!(idle.take(now).map(|member| member.connection), Some("young"));
        assert!(idle.take(now).is_none());
    }

    #[test]
    fn what_may_not_be_done_twice_is_not() {
        let numbered = Numbered::with_two();
        let mut calls = 0;
        let result: Result<(), _> = numbered.run(Redo::Never, |_| {
            calls += 1;
            Err(closed())
        });
        assert_eq!((result.unwrap_err().kind(), calls), (ErrorKind::Unavailable, 1));
    }

    #[test]
    fn a_new_connection_and_a_timeout_are_not_retried() {
        let numbered = Numbered::new(1);
        assert!(numbered.run(Redo::Once, |_| Err::<(), _>(closed())).is_err());
        numbered.run(Redo::Once, |_| Ok(())).unwrap();
        let slow = Error::new(ErrorKind::Timeout, "slow");
        assert!(numbered.run(Redo::Once, |_| Err::<(), _>(slow.clone())).is_err());
        assert_eq!(numbered.run(Redo::Once, |number| Ok(*number)).unwrap(), 2, "a slow one is not reused");
    }

    #[test]
    fn a_full_pool_is_waited_for_until_the_deadline() {
        let numbered = Numbered::new(1);
        let error = numbered.run(Redo::Once, |_| numbered.run(Redo::Once, |_| Ok(()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("all 1 connections"), "{error}");
    }

    #[test]
    fn a_slot_is_left_to_who_waits() {
        let pool = Pool::<()>::new(1);
        let span = || Span { start: Instant::now(), end: Instant::now() + Duration::from_secs(60) };
        let first = pool.slot(span()).unwrap();
        thread::scope(|scope| {
            let (go, gate) = sync_channel::<()>(0);
            let pool = &pool;
            let waiting = scope.spawn(move || {
                let slot = pool.slot(span()).unwrap();
                gate.recv().unwrap();
                drop(slot);
            });
            while lock(&pool.state).waiting == 0 {
                thread::yield_now();
            }
            drop(first);
            assert!(pool.try_slot(span()).is_none());
            let hasty = Span { end: Instant::now() + Duration::from_millis(10), ..span() };
            assert!(pool.slot(hasty).is_err());
            go.send(()).unwrap();
            waiting.join().unwrap();
        });
        assert!(pool.try_slot(span()).is_some());
    }

    #[test]
    fn a_panic_gives_the_slot_back_and_closes_the_connection() {
        let numbered = Numbered::new(1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            numbered.run(Redo::Once, |_| -> Result<(), Error> { panic!("on purpose") })
        }));
        assert!(panicked.is_err());
        assert_eq!(numbered.run(Redo::Once, |number| Ok(*number)).unwrap(), 1);
    }
}
