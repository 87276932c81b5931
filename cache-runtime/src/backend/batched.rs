//! Reads that arrive together travel together.
//!
//! The first task that asks opens a trip and lets the other tasks that are ready run, once; those that ask meanwhile
//! board it, and all go with one `get_many`. A lone call waits for nobody: its turn comes back at once.
//!
//! A trip of several is a task of its own. So a passenger that gives up takes nothing from the others, nor does one
//! whose future is kept and not polled for a while. A trip ends at the deadline of who opened it, and only calls that
//! have as much time board it. It goes to one server, so that one that is down holds up no other's reads, and stays within
//! one runtime, whose end ends its connections. Knows keys and bytes, no functions.
//!
//! A task that blocks its thread in the poll in which it boarded holds up the trip: the thread has the trip's task.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;

use crate::backend::{AsyncBackend, BoxFuture, SEATS};
use crate::config::context::lock;
use crate::error::{Error, ErrorKind};
use crate::net::tokio::per_runtime::PerRuntime;

/// How many passengers are made room for at once.
const CROWD: usize = 64;

/// How much more or less time than its trip a passenger may have.
const SLACK: Duration = Duration::from_millis(5);

type Reply<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// A backend whose reads, where tasks make them at the same time, go out as one
/// [`get_many`](AsyncBackend::get_many). All else passes through.
///
/// Redis and Memcached come with it when they are named by URL. It is of use where `get_many` is one round trip.
///
/// ```
/// use std::time::{Duration, Instant};
/// use cache_runtime::{AsyncBackend, Batched, Memory};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let backend = Batched::new(Memory::default());
/// let soon = Instant::now() + Duration::from_millis(100);
/// assert_eq!(backend.get(b"ann", soon).await?, None);
/// # Ok::<(), cache_runtime::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Batched {
    backend: Arc<dyn AsyncBackend>,
    gates: PerRuntime<Gates>,
}

impl fmt::Debug for Batched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batched").finish_non_exhaustive()
    }
}

/// The trip that may still be boarded, for each server.
type Gates = Vec<Weak<Trip>>;

impl Batched {
    /// The same backend, with its reads made together.
    pub fn new(backend: impl AsyncBackend) -> Self {
        Self::over(Arc::new(backend))
    }

    pub(crate) fn over(backend: Arc<dyn AsyncBackend>) -> Self {
        Self { backend, gates: PerRuntime::new() }
    }

    /// Boards the trip to the server of `key`, or opens one.
    fn board(&self, key: &[u8], deadline: Instant, waker: &Waker) -> Result<Passenger, Error> {
        let make = || (0..self.backend.servers().max(1)).map(|_| Weak::new()).collect();
        self.gates.with(make, |gates| {
            let gate = match gates.as_mut_slice() {
                [only] => only,
                gates => &mut gates[self.backend.server_of(key).min(gates.len() - 1)],
            };
            let boarded = gate.upgrade().and_then(|trip| trip.board(key, deadline, waker));
            boarded.unwrap_or_else(|| {
                let first = Trip::open(self.backend.clone(), key, deadline, waker);
                *gate = Arc::downgrade(&first.trip);
                first
            })
        })
    }
}

impl AsyncBackend for Batched {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, Option<Bytes>> {
        Box::pin(Fetch { batched: self, key, deadline, stage: Stage::Home })
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]], deadline: Instant) -> Reply<'a, Vec<Option<Bytes>>> {
        self.backend.get_many(keys, deadline)
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, ()> {
        self.backend.set(key, value, ttl, deadline)
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        self.backend.add(key, value, ttl, deadline)
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        self.backend.replace(key, old, new, ttl, deadline)
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, bool> {
        self.backend.delete(key, deadline)
    }

    fn max_value_len(&self) -> usize {
        self.backend.max_value_len()
    }

    fn servers(&self) -> usize {
        self.backend.servers()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        self.backend.server_of(key)
    }
}

/// One read.
struct Fetch<'a> {
    batched: &'a Batched,
    key: &'a [u8],
    deadline: Instant,
    stage: Stage<'a>,
}

enum Stage<'a> {
    Home,
    Travelling(Passenger),
    /// Nobody has boarded the trip that this one opened.
    Alone(Reply<'a, Option<Bytes>>),
}

impl Future for Fetch<'_> {
    type Output = Result<Option<Bytes>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Home = self.stage {
            let passenger = self.batched.board(self.key, self.deadline, context.waker())?;
            passenger.depart();
            self.stage = Stage::Travelling(passenger);
            return Poll::Pending;
        }
        if let Stage::Travelling(passenger) = &mut self.stage {
            match passenger.look(context.waker()) {
                Sight::Value(value) => return Poll::Ready(value),
                Sight::OnTheWay => return Poll::Pending,
                Sight::NobodyElse => {
                    self.stage = Stage::Alone(self.batched.backend.get(self.key, self.deadline));
                }
            }
        }
        match &mut self.stage {
            Stage::Alone(read) => read.as_mut().poll(context),
            Stage::Home | Stage::Travelling(_) => Poll::Pending,
        }
    }
}

/// One `get_many`, from the first passenger's arrival until each has its value.
struct Trip {
    backend: Arc<dyn AsyncBackend>,
    deadline: Instant,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// Of those who still travel, by seat; empty once they have arrived.
    passengers: Vec<Option<Waker>>,
    /// The task that drives a trip of several, and its runtime.
    driver: Option<(AbortHandle, Id)>,
}

enum Phase {
    Boarding(Keys),
    Away,
    Arrived(Values),
}

type Values = Result<Vec<Option<Bytes>>, Error>;

/// The keys, one behind the other, and where each ends.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// Makes room for so many keys of about that length.
    fn reserve(&mut self, count: usize, len: usize) {
        self.bytes.reserve(count * len);
        self.ends.reserve(count);
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// Reads the value of each.
    async fn read(self, backend: Arc<dyn AsyncBackend>, deadline: Instant) -> Values {
        let keys: Vec<&[u8]> = self.iter().collect();
        let values = match keys.as_slice() {
            [key] => vec![backend.get(key, deadline).await?],
            keys => backend.get_many(keys, deadline).await?,
        };
        match values.len() == keys.len() {
            true => Ok(values),
            false => Err(Error::new(
                ErrorKind::Protocol,
                "the backend gave more or fewer values than were asked for",
            )),
        }
    }
}

impl Trip {
    /// A new trip and its first passenger, who comes back when the tasks that are ready now have run.
    fn open(backend: Arc<dyn AsyncBackend>, key: &[u8], deadline: Instant, waker: &Waker) -> Passenger {
        let mut keys = Keys::default();
        keys.push(key);
        let passengers = vec![Some(waker.clone())];
        let state = Mutex::new(State { phase: Phase::Boarding(keys), passengers, driver: None });
        waker.wake_by_ref();
        Passenger { trip: Arc::new(Self { backend, deadline, state }), seat: 0, has_arrived: false }
    }

    /// A seat in the trip, if it hasn't left and fits `deadline`.
    fn board(self: Arc<Self>, key: &[u8], deadline: Instant, waker: &Waker) -> Option<Passenger> {
        // Not by their difference, which takes as long as all the rest.
        if deadline > self.deadline + SLACK || self.deadline > deadline + SLACK {
            return None;
        }
        let mut state = lock(&self.state);
        let State { phase: Phase::Boarding(keys), passengers, .. } = &mut *state else { return None };
        if passengers.len() == SEATS {
            return None;
        }
        if passengers.len() == 1 {
            // Where there are two there are mostly many.
            passengers.reserve(CROWD);
            keys.reserve(CROWD, key.len());
        }
        keys.push(key);
        passengers.push(Some(waker.clone()));
        let seat = passengers.len() - 1;
        drop(state);
        Some(Passenger { trip: self, seat, has_arrived: false })
    }

    /// The keys to be read, if there still is anybody for whom.
    fn leave(&self) -> Option<Keys> {
        let mut state = lock(&self.state);
        match mem::replace(&mut state.phase, Phase::Away) {
            Phase::Boarding(keys) if state.passengers.iter().any(Option::is_some) => Some(keys),
            _ => None,
        }
    }

    /// Ends the trip, and tells all who travel.
    fn arrive(&self, values: Values) {
        let mut state = lock(&self.state);
        state.phase = Phase::Arrived(values);
        let passengers = mem::take(&mut state.passengers);
        drop(state);
        passengers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// A trip of several on its way, which ends with this, also when it is broken off.
struct Drive(Arc<Trip>);

impl Drive {
    /// Makes the trip, when the tasks that are ready now have run.
    async fn go(self) {
        let mut has_waited = false;
        poll_fn(|context| match mem::replace(&mut has_waited, true) {
            true => Poll::Ready(()),
            false => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
        if let Some(keys) = self.0.leave() {
            let values = keys.read(self.0.backend.clone(), self.0.deadline).await;
            self.0.arrive(values);
        }
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        if !matches!(lock(&self.0.state).phase, Phase::Arrived(_)) {
            let why = if thread::panicking() { "the backend panicked" } else { "the runtime has ended" };
            self.0.arrive(Err(Error::new(ErrorKind::Unavailable, why)));
        }
    }
}

/// A seat.
struct Passenger {
    trip: Arc<Trip>,
    seat: usize,
    has_arrived: bool,
}

/// What a passenger sees.
enum Sight {
    Value(Result<Option<Bytes>, Error>),
    OnTheWay,
    /// Nobody else here.
    NobodyElse,
}

impl Passenger {
    /// Has the trip made, if this is the second passenger. The first comes back anyway, and might go alone.
    fn depart(&self) {
        if self.seat == 1 {
            // On a runtime that is ending the task is dropped at once, which ends the trip.
            let runtime = Handle::current();
            let driver = runtime.spawn(Drive(self.trip.clone()).go()).abort_handle();
            lock(&self.trip.state).driver = Some((driver, runtime.id()));
        }
    }

    fn look(&mut self, waker: &Waker) -> Sight {
        let mut state = lock(&self.trip.state);
        if let Phase::Arrived(values) = &mut state.phase {
            self.has_arrived = true;
            return Sight::Value(match values {
                Ok(values) => Ok(values[self.seat].take()),
                Err(error) => Err(error.clone()),
            });
        }
        if state.passengers.len() == 1 {
            self.has_arrived = true;
            state.phase = Phase::Away;
            return Sight::NobodyElse;
        }
        // Its own runtime may be one that nobody drives any more.
        let is_elsewhere =
            |(_, runtime): &(_, Id)| Handle::try_current().is_ok_and(|here| here.id() != *runtime);
        if state.driver.as_ref().is_some_and(is_elsewhere) {
            return Sight::NobodyElse;
        }
        if let Some(Some(own)) = state.passengers.get_mut(self.seat) {
            own.clone_from(waker);
        }
        Sight::OnTheWay
    }
}

/// Leaves the trip to the others; without any, ends it.
impl Drop for Passenger {
    fn drop(&mut self) {
        if self.has_arrived {
            return;
        }
        let mut state = lock(&self.trip.state);
        if matches!(state.phase, Phase::Arrived(_)) {
            return;
        }
        state.passengers[self.seat] = None;
        if state.passengers.iter().any(Option::is_some) {
            return;
        }
        // Nobody may board any more.
        state.phase = Phase::Away;
        let driver = state.driver.take();
        drop(state);
        if let Some((driver, _)) = driver {
            driver.abort();
        }
    }
}
