//! The plain cache: the API that web frameworks have, the same on every backend.
//!
//! A value is bound to the type it was stored as. Reading it as another type is a miss. [`plain`] has what both kinds of
//! callers share, [`many`] the calls for many keys, [`run`] the runs of `get_or_set`, and [`value`] the bytes.

mod asynchronous;
mod here;
mod many;
mod plain;
mod run;
mod value;

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, SystemTime};

pub use self::asynchronous::AsyncCache;
use self::plain::Plain;
use self::run::Next;
pub use self::value::{Stored, Value};
use crate::common::wait::{Caller, block_on};
use crate::error::Error;

#[doc = include_str!("../../docs/plain_cache.md")]
#[derive(Clone, Debug)]
pub struct Cache(Plain);

impl Cache {
    /// The backend named `alias`: `redis`, `memcached`, `memory`, or one that is configured.
    ///
    /// # Errors
    /// No such backend, or its URL is wrong.
    pub fn named(alias: &str) -> Result<Self, Error> {
        Plain::named(alias, Caller::Blocking).map(Self)
    }

    /// The backend at `url`. Nothing connects yet. Where remote functions use memory (in a
    /// [`Scope`](crate::testing::Scope), or with `CACHE_BACKEND=memory`), so does this.
    ///
    /// # Errors
    /// The URL is wrong.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Plain::from_url(url, Caller::Blocking).map(Self)
    }

    /// The space named `space` within this one: a tenant, or a version. Its keys are its own, and [`clear`](Self::clear)
    /// of this space ends it too. Asks no server.
    #[must_use]
    pub fn within(&self, space: &str) -> Self {
        Self(self.0.within(space))
    }

    /// The value under `key`, unless it has expired or is of another type.
    ///
    /// # Errors
    /// The backend failed, or values of this type can't be stored.
    pub fn get<T: Value>(&self, key: &str) -> Result<Option<T>, Error> {
        block_on(pin!(self.0.get(key)))
    }

    /// Stores `value` under `key` for `ttl`, and replaces what is there.
    ///
    /// # Errors
    /// The backend failed, or the value can't be encoded so that it decodes to itself. Then nothing is under the key.
    pub fn set<T: Stored + ?Sized>(
        &self,
        key: &str,
        value: &T,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<(), Error> {
        block_on(pin!(self.0.set(key, value, ttl.into())))
    }

    /// Stores `value` only if nothing is under `key`; returns whether it did. Of many callers at once one succeeds. With a
    /// `ttl` of zero it only says whether the key was free.
    ///
    /// # Errors
    /// As [`set`](Self::set). A request without an answer isn't sent again, and may have been performed.
    pub fn add<T: Stored + ?Sized>(
        &self,
        key: &str,
        value: &T,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<bool, Error> {
        block_on(pin!(self.0.add(key, value, ttl.into())))
    }

    /// Removes what is under `key`; returns whether anything was.
    ///
    /// # Errors
    /// The backend failed.
    pub fn delete(&self, key: &str) -> Result<bool, Error> {
        block_on(pin!(self.0.delete(key)))
    }

    /// Whether anything is under `key`, whatever its type.
    ///
    /// # Errors
    /// The backend failed.
    pub fn contains(&self, key: &str) -> Result<bool, Error> {
        block_on(pin!(self.0.contains(key)))
    }

    /// Gives the entry under `key` a new lifetime from now on; returns whether there is one. Zero removes it.
    ///
    /// # Errors
    /// The backend failed. Then the entry may have either lifetime.
    pub fn touch(&self, key: &str, ttl: impl Into<Option<Duration>>) -> Result<bool, Error> {
        block_on(pin!(self.0.touch(key, ttl.into())))
    }

    /// [`touch`](Self::touch) with a point in time. One in the past removes the entry.
    ///
    /// # Errors
    /// The backend failed.
    pub fn expire_at(&self, key: &str, time: SystemTime) -> Result<bool, Error> {
        block_on(pin!(self.0.expire_at(key, time)))
    }

    /// Makes the entry under `key` stay; returns whether there is one.
    ///
    /// # Errors
    /// The backend failed.
    pub fn persist(&self, key: &str) -> Result<bool, Error> {
        block_on(pin!(self.0.touch(key, Some(Duration::MAX))))
    }

    /// How long the entry under `key` will be kept: [`Duration::MAX`] if it stays, `None` if there is none.
    ///
    /// # Errors
    /// The backend failed.
    pub fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        block_on(pin!(self.0.ttl(key)))
    }

    /// Adds `by`, which may be negative, to the `i64` under `key`, and returns the sum; `None` if nothing is there, and then
    /// nothing is created. The lifetime stays.
    ///
    /// # Errors
    /// [`NotANumber`](crate::ErrorKind::NotANumber) if another type is there or the sum is out of range; the backend failed.
    /// A request without an answer isn't sent again, and may have been performed.
    pub fn incr(&self, key: &str, by: i64) -> Result<Option<i64>, Error> {
        block_on(pin!(self.0.incr(key, by)))
    }

    /// The values under those of `keys` that have one, in one round trip.
    ///
    /// # Errors
    /// The backend failed, or values of this type can't be stored.
    pub fn get_many<'k, T: Value>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<HashMap<&'k str, T>, Error> {
        block_on(pin!(self.0.get_many(keys.into_iter().collect())))
    }

    /// Stores all `entries` for `ttl`, in one round trip.
    ///
    /// # Errors
    /// Some are not stored, which the message names. Nothing is under their keys.
    pub fn set_many<'k, 'v, T: Stored + ?Sized + 'v>(
        &self,
        entries: impl IntoIterator<Item = (&'k str, &'v T)>,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<(), Error> {
        block_on(pin!(self.0.set_many(entries.into_iter().collect(), ttl.into())))
    }

    /// Removes what is under `keys`, in one round trip; returns how many were there.
    ///
    /// # Errors
    /// The backend failed.
    pub fn delete_many<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> Result<usize, Error> {
        block_on(pin!(self.0.delete_many(keys.into_iter().collect())))
    }

    /// Ends all entries of this space and of those within it, however many. Other processes notice within half a second.
    /// Nothing else on the server is touched.
    ///
    /// # Errors
    /// The backend failed. Then it is cleared as soon as the server answers, and this process already sees nothing.
    pub fn clear(&self) -> Result<(), Error> {
        block_on(pin!(self.0.clear()))
    }

    /// The value under `key`. If there is none, or the backend fails, the result of `make`, which is stored for `ttl`.
    ///
    /// Of the callers in this process that miss at the same time, one runs `make`, and the others wait for its result. It is
    /// stored only if nothing is there by then: if another value is, that one is returned. While the server is down, results
    /// stay in the process for some seconds.
    pub fn get_or_set<T: Value>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl FnOnce() -> T,
    ) -> T {
        let made = self.get_or_try_set(key, ttl, || Ok::<T, Infallible>(make()));
        made.unwrap_or_else(|never| match never {})
    }

    /// [`get_or_set`](Self::get_or_set) for a `make` that may fail. A failure isn't stored, and callers that waited run
    /// their own `make`.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn get_or_try_set<T: Value, E>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let run = match block_on(pin!(self.0.find_or_lead(key))) {
            Next::Answer(value) => return Ok(value),
            Next::Run(run) => run,
        };
        let made = run.inside(make);
        let run = run.after_body();
        match made {
            Ok(made) => Ok(block_on(pin!(run.finish(made, ttl.into())))),
            Err(error) => {
                run.fail();
                Err(error)
            }
        }
    }
}
