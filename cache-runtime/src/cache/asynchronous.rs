//! The cache for async code.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use super::plain::Plain;
use super::run::Next;
use super::value::{Stored, Value};
use crate::common::wait::Caller;
use crate::error::Error;

/// The [`Cache`](crate::Cache) for async code.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::AsyncCache;
///
/// # async fn example() -> Result<(), cache_runtime::Error> {
/// let cache = AsyncCache::named("redis")?;
/// cache.set("greeting", "hello", Duration::from_secs(60)).await?;
/// let report = cache.get_or_set("report", Duration::from_secs(5), async { 6 * 7 }).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncCache(Plain);

impl AsyncCache {
    /// See [`Cache::named`](crate::Cache::named).
    ///
    /// # Errors
    /// No such backend, or its URL is wrong.
    pub fn named(alias: &str) -> Result<Self, Error> {
        Plain::named(alias, Caller::Async).map(Self)
    }

    /// See [`Cache::from_url`](crate::Cache::from_url).
    ///
    /// # Errors
    /// The URL is wrong.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        Plain::from_url(url, Caller::Async).map(Self)
    }

    /// See [`Cache::within`](crate::Cache::within).
    #[must_use]
    pub fn within(&self, space: &str) -> Self {
        Self(self.0.within(space))
    }

    /// See [`Cache::get`](crate::Cache::get).
    ///
    /// # Errors
    /// The backend failed, or values of this type can't be stored.
    pub async fn get<T: Value>(&self, key: &str) -> Result<Option<T>, Error> {
        self.0.get(key).await
    }

    /// See [`Cache::set`](crate::Cache::set).
    ///
    /// # Errors
    /// The backend failed, or the value can't be encoded so that it decodes to itself. Then nothing is under the key.
    pub async fn set<T: Stored + ?Sized>(
        &self,
        key: &str,
        value: &T,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<(), Error> {
        self.0.set(key, value, ttl.into()).await
    }

    /// See [`Cache::add`](crate::Cache::add).
    ///
    /// # Errors
    /// As [`set`](Self::set). A request without an answer isn't sent again, and may have been performed.
    pub async fn add<T: Stored + ?Sized>(
        &self,
        key: &str,
        value: &T,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<bool, Error> {
        self.0.add(key, value, ttl.into()).await
    }

    /// See [`Cache::delete`](crate::Cache::delete).
    ///
    /// # Errors
    /// The backend failed.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.0.delete(key).await
    }

    /// See [`Cache::contains`](crate::Cache::contains).
    ///
    /// # Errors
    /// The backend failed.
    pub async fn contains(&self, key: &str) -> Result<bool, Error> {
        self.0.contains(key).await
    }

    /// See [`Cache::touch`](crate::Cache::touch).
    ///
    /// # Errors
    /// The backend failed. Then the entry may have either lifetime.
    pub async fn touch(&self, key: &str, ttl: impl Into<Option<Duration>>) -> Result<bool, Error> {
        self.0.touch(key, ttl.into()).await
    }

    /// See [`Cache::expire_at`](crate::Cache::expire_at).
    ///
    /// # Errors
    /// The backend failed.
    pub async fn expire_at(&self, key: &str, time: SystemTime) -> Result<bool, Error> {
        self.0.expire_at(key, time).await
    }

    /// See [`Cache::persist`](crate::Cache::persist).
    ///
    /// # Errors
    /// The backend failed.
    pub async fn persist(&self, key: &str) -> Result<bool, Error> {
        self.0.touch(key, Some(Duration::MAX)).await
    }

    /// See [`Cache::ttl`](crate::Cache::ttl).
    ///
    /// # Errors
    /// The backend failed.
    pub async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        self.0.ttl(key).await
    }

    /// See [`Cache::incr`](crate::Cache::incr).
    ///
    /// # Errors
    /// [`NotANumber`](crate::ErrorKind::NotANumber) if another type is there or the sum is out of range; the backend failed.
    /// A request without an answer isn't sent again, and may have been performed.
    pub async fn incr(&self, key: &str, by: i64) -> Result<Option<i64>, Error> {
        self.0.incr(key, by).await
    }

    /// See [`Cache::get_many`](crate::Cache::get_many).
    ///
    /// # Errors
    /// The backend failed, or values of this type can't be stored.
    pub async fn get_many<'k, T: Value>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<HashMap<&'k str, T>, Error> {
        self.0.get_many(keys.into_iter().collect()).await
    }

    /// See [`Cache::set_many`](crate::Cache::set_many).
    ///
    /// # Errors
    /// Some are not stored, which the message names. Nothing is under their keys.
    pub async fn set_many<'k, 'v, T: Stored + ?Sized + 'v>(
        &self,
        entries: impl IntoIterator<Item = (&'k str, &'v T)>,
        ttl: impl Into<Option<Duration>>,
    ) -> Result<(), Error> {
        self.0.set_many(entries.into_iter().collect(), ttl.into()).await
    }

    /// See [`Cache::delete_many`](crate::Cache::delete_many).
    ///
    /// # Errors
    /// The backend failed.
    pub async fn delete_many<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> Result<usize, Error> {
        self.0.delete_many(keys.into_iter().collect()).await
    }

    /// See [`Cache::clear`](crate::Cache::clear).
    ///
    /// # Errors
    /// The backend failed. Then it is cleared as soon as the server answers, and this process already sees nothing.
    pub async fn clear(&self) -> Result<(), Error> {
        self.0.clear().await
    }

    /// See [`Cache::get_or_set`](crate::Cache::get_or_set). If the caller that runs `make` gives up, another one takes over.
    pub async fn get_or_set<T: Value>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl Future<Output = T>,
    ) -> T {
        let made = self.get_or_try_set(key, ttl, async { Ok::<T, Infallible>(make.await) }).await;
        made.unwrap_or_else(|never| match never {})
    }

    /// See [`Cache::get_or_try_set`](crate::Cache::get_or_try_set).
    ///
    /// # Errors
    /// What `make` returns.
    pub async fn get_or_try_set<T: Value, E>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let run = match self.0.find_or_lead(key).await {
            Next::Answer(value) => return Ok(value),
            Next::Run(run) => run,
        };
        let made = run.inside_async(pin!(make)).await;
        let run = run.after_body();
        match made {
            Ok(made) => Ok(run.finish(made, ttl.into()).await),
            Err(error) => {
                run.fail();
                Err(error)
            }
        }
    }
}
