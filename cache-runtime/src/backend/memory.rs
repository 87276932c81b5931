//! Memory as a backend of bytes, over a [`Store`].

use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use super::SetOptions;
use super::request::{
    Answer, Condition, Reply, Request, Service, Version, Versioned, async_backend_of_service,
    backend_of_service, bytes_of,
};
use crate::common::clock::{Clock, nanos};
use crate::common::process::PerProcess;
use crate::common::wait::{BoxFuture, Caller, MaybeReady};
use crate::error::{Error, ErrorKind};
use crate::memory::{Bound, New, Slot, Store};
use crate::net::url::Url;
use crate::value::Value;

/// Memory as a backend of bytes: for aliases at `memory://` and for `CACHE_BACKEND=memory`.
///
/// Functions with `backend = "memory"` don't use it: their values stay typed.
///
/// ```
/// use cache_runtime::{Cache, Config, Memory};
///
/// Config::from_env().url("scratch", "memory://?capacity=100&max_bytes=1MiB").install()?;
/// Cache::named("scratch")?.set("key", &"value".to_owned(), None)?;
/// # Ok::<(), cache_runtime::Error>(())
/// ```
pub struct Memory {
    store: PerProcess<Store>,
    bound: Bound,
    clock: Clock,
}

impl Memory {
    /// An empty store within `bound`.
    pub fn new(bound: Bound) -> Self {
        Self { store: PerProcess::new(), bound, clock: Clock::system() }
    }

    fn store(&self) -> &Store {
        self.store.get(|parent| parent.map_or_else(|| Store::new(self.bound, 0), Store::in_child))
    }

    pub(crate) fn open(mut url: Url) -> Result<Self, Error> {
        let capacity = url.take("capacity", "a number of entries")?;
        let max_bytes = url.take_size("max_bytes")?;
        url.finish()?;
        Ok(Self::new(Bound { capacity, max_bytes }))
    }

    fn perform(&self, request: Request<'_>, deadline: Instant) -> Result<Reply, Error> {
        if deadline <= Instant::now() {
            let message = "the call's time was used up before it reached the backend";
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        let (store, now) = (self.store(), self.clock.monotonic());
        let get =
            |key: &[u8]| store.get(key, now).and_then(|slot| slot.value.copy::<Bytes>()).map(Versioned::from);
        match request {
            Request::Get(key) => Ok(Reply::Value(get(key))),
            Request::GetMany(keys) => Ok(Reply::Values(keys.iter().map(|key| get(key)).collect())),
            Request::Set { key, value, options, condition } => {
                let new = entry(value, options, now, store.generation());
                match condition {
                    Condition::Always => store.set(key, new, now).map(|()| true),
                    Condition::Absent => store.add(key, new, now),
                    Condition::Equals { bytes, .. } => {
                        let is_old =
                            |slot: &Slot| slot.value.copy::<Bytes>().is_some_and(|value| value == bytes);
                        store.replace(key, is_old, new, now)
                    }
                }
                .map(|is_set| Reply::Set(is_set.then_some(Version::UNKNOWN)))
            }
            Request::Delete(key) => Ok(Reply::Done(store.delete(key, now))),
        }
    }
}

fn entry(value: Bytes, options: SetOptions, now: u64, generation: u64) -> New {
    let deadline = options.ttl.map_or(u64::MAX, |ttl| now.saturating_add(nanos(ttl)));
    let size = value.len() as u64;
    let slot = Slot { value: Value::new(&value), deadline, cost: 0 };
    New { slot, generation, size }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Bound::default())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl Service for Memory {
    /// Nothing here waits, so an async caller gets its answer at once too.
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, _: Caller) -> Answer<'a> {
        MaybeReady::done(self.perform(request, deadline))
    }

    fn max_value_len(&self) -> usize {
        usize::MAX
    }
}

backend_of_service!(Memory);
async_backend_of_service!(Memory);
