//! Reads that arrive together travel together.
//!
//! The first task that asks opens a trip and lets the other tasks that are ready run, once; those that ask meanwhile
//! board it, and all go with one `get_many`. A lone call waits for nobody: its turn comes back at once.
//!
//! Nobody owns a trip: whoever of its passengers is polled drives it on, so a passenger that gives up takes nothing from
//! the others. A trip ends at the deadline of who opened it, and only calls that have as much time board it. It goes to
//! one server, so that one that is down holds up no other's reads, and stays within one runtime, whose end ends its
//! connections. Knows keys and bytes, no functions.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backend::per_runtime::PerRuntime;
use crate::backend::{AsyncBackend, BoxFuture, SEATS};
use crate::context::lock;
use crate::error::{Error, ErrorKind};

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
        Box::pin(Fetch { batched: self, key, deadline, passenger: None })
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
    passenger: Option<Passenger>,
}

impl Future for Fetch<'_> {
    type Output = Result<Option<Bytes>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(passenger) = &mut self.passenger {
            return passenger.poll(context);
        }
        self.passenger = Some(self.batched.board(self.key, self.deadline, context.waker())?);
        Poll::Pending
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
    /// The trip was to be driven on while it was driven.
    woken: bool,
}

enum Phase {
    Boarding(Keys),
    /// The read that is under way; `None` while it is polled.
    Away(Option<BoxFuture<'static, Values>>),
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
    /// A new trip and its first passenger, who comes back to drive it when the tasks that are ready now have run.
    fn open(backend: Arc<dyn AsyncBackend>, key: &[u8], deadline: Instant, waker: &Waker) -> Passenger {
        let mut keys = Keys::default();
        keys.push(key);
        let passengers = vec![Some(waker.clone())];
        let state = Mutex::new(State { phase: Phase::Boarding(keys), passengers, woken: false });
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
}

/// What drives the trip wakes one of its passengers.
impl Wake for Trip {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.state);
        state.woken = true;
        let driver = match state.phase {
            // Its driver looks again.
            Phase::Away(None) => None,
            _ => state.anyone(),
        };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl State {
    fn anyone(&self) -> Option<Waker> {
        self.passengers.iter().flatten().next().cloned()
    }
}

/// A seat.
struct Passenger {
    trip: Arc<Trip>,
    seat: usize,
    has_arrived: bool,
}

impl Passenger {
    /// The value, if the trip has arrived. Drives it if nobody else does.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let polled = self.drive(context);
        self.has_arrived = polled.is_ready();
        polled
    }

    fn drive(&self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let mut state = lock(&self.trip.state);
        if let Some(Some(waker)) = state.passengers.get_mut(self.seat) {
            waker.clone_from(context.waker());
        }
        if let Phase::Boarding(keys) = &mut state.phase {
            let read = mem::take(keys).read(self.trip.backend.clone(), self.trip.deadline);
            state.phase = Phase::Away(Some(Box::pin(read)));
        }
        loop {
            let mut read = match &mut state.phase {
                Phase::Arrived(Ok(values)) => return Poll::Ready(Ok(values[self.seat].take())),
                Phase::Arrived(Err(error)) => return Poll::Ready(Err(error.clone())),
                Phase::Away(read) => match read.take() {
                    Some(read) => read,
                    None => return Poll::Pending,
                },
                Phase::Boarding(_) => return Poll::Pending,
            };
            state.woken = false;
            drop(state);
            let waker = Waker::from(self.trip.clone());
            let polled =
                catch_unwind(AssertUnwindSafe(|| read.as_mut().poll(&mut Context::from_waker(&waker))));
            state = lock(&self.trip.state);
            match polled {
                Ok(Poll::Pending) => {
                    state.phase = Phase::Away(Some(read));
                    if !state.woken {
                        return Poll::Pending;
                    }
                }
                Ok(Poll::Ready(values)) => state = self.arrive(state, values),
                Err(panic) => {
                    let values = Err(Error::new(ErrorKind::Unavailable, "the backend panicked"));
                    drop(self.arrive(state, values));
                    resume_unwind(panic);
                }
            }
        }
    }

    /// Ends the trip, and tells the others.
    fn arrive<'s>(&'s self, mut state: MutexGuard<'s, State>, values: Values) -> MutexGuard<'s, State> {
        state.phase = Phase::Arrived(values);
        let mut passengers = mem::take(&mut state.passengers);
        passengers[self.seat] = None;
        drop(state);
        for waker in passengers.into_iter().flatten() {
            waker.wake();
        }
        lock(&self.trip.state)
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
        let driver = state.anyone();
        // The read holds the trip, as whom to wake, and would hold it for ever.
        let unwanted =
            driver.is_none().then(|| mem::replace(&mut state.phase, Phase::Arrived(Ok(Vec::new()))));
        drop(state);
        drop(unwanted);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}
