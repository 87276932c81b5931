//! The public traits, derived from [`Service`](super::request::Service): every method is one request.

use bytes::Bytes;

use super::request::Versioned;

/// The bytes of a value, for callers who know no versions.
pub(crate) fn bytes_of(value: Option<Versioned>) -> Option<Bytes> {
    value.map(|value| value.bytes)
}

/// Implements [`Backend`](super::Backend) for a [`Service`].
#[cfg(feature = "memory")]
macro_rules! backend_of_service {
    ($service:ty) => {
        impl $crate::backend::Backend for $service {
            fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
                self.call(Request::Get(key), deadline, Caller::Blocking).wait()?.value().map(bytes_of)
            }

            fn get_many(&self, keys: &[&[u8]], deadline: Instant) -> Result<Vec<Option<Bytes>>, Error> {
                self.call(Request::GetMany(keys), deadline, Caller::Blocking)
                    .wait()?
                    .values()
                    .map(|values| values.into_iter().map(bytes_of).collect())
            }

            fn set(
                &self,
                key: &[u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> Result<(), Error> {
                let request = Request::Set { key, value, options, condition: Condition::Always };
                self.call(request, deadline, Caller::Blocking).wait()?.set().map(drop)
            }

            fn add(
                &self,
                key: &[u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> Result<bool, Error> {
                let request = Request::Set { key, value, options, condition: Condition::Absent };
                self.call(request, deadline, Caller::Blocking).wait()?.set().map(|set| set.is_some())
            }

            fn compare_and_set(
                &self,
                key: &[u8],
                old: &[u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> Result<bool, Error> {
                let request = Request::Set {
                    key,
                    value,
                    options,
                    condition: Condition::Equals { bytes: old, version: Version::UNKNOWN },
                };
                self.call(request, deadline, Caller::Blocking).wait()?.set().map(|set| set.is_some())
            }

            fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
                self.call(Request::Delete(key), deadline, Caller::Blocking).wait()?.done()
            }

            fn set_many(
                &self,
                entries: &[(&[u8], Bytes)],
                options: SetOptions,
                deadline: Instant,
            ) -> Result<Vec<Result<(), Error>>, Error> {
                self.call(Request::SetMany { entries, options }, deadline, Caller::Blocking)
                    .wait()?
                    .set_each()
            }

            fn delete_many(&self, keys: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
                self.call(Request::DeleteMany(keys), deadline, Caller::Blocking).wait()?.count()
            }

            fn contains(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
                self.call(Request::Contains(key), deadline, Caller::Blocking).wait()?.done()
            }

            fn touch(&self, key: &[u8], ttl: Option<Duration>, deadline: Instant) -> Result<bool, Error> {
                self.call(Request::Touch { key, ttl }, deadline, Caller::Blocking).wait()?.done()
            }

            fn incr(&self, key: &[u8], by: i64, deadline: Instant) -> Result<Option<i64>, Error> {
                self.call(Request::Incr { key, by }, deadline, Caller::Blocking).wait()?.number()
            }

            fn ttl(&self, key: &[u8], deadline: Instant) -> Result<Option<Duration>, Error> {
                self.call(Request::Ttl(key), deadline, Caller::Blocking).wait()?.ttl()
            }

            fn max_value_len(&self) -> usize {
                Service::max_value_len(self)
            }

            fn servers(&self) -> usize {
                Service::servers(self)
            }

            fn server_of(&self, key: &[u8]) -> usize {
                Service::server_of(self, key)
            }
        }
    };
}

/// Implements [`AsyncBackend`](super::AsyncBackend) for a [`Service`].
macro_rules! async_backend_of_service {
    ($service:ty) => {
        impl $crate::backend::AsyncBackend for $service {
            fn get<'a>(
                &'a self,
                key: &'a [u8],
                deadline: Instant,
            ) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
                let answer = self.call(Request::Get(key), deadline, Caller::Async);
                Box::pin(async move { answer.await?.value().map(bytes_of) })
            }

            fn get_many<'a>(
                &'a self,
                keys: &'a [&'a [u8]],
                deadline: Instant,
            ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
                let answer = self.call(Request::GetMany(keys), deadline, Caller::Async);
                Box::pin(async move {
                    answer.await?.values().map(|values| values.into_iter().map(bytes_of).collect())
                })
            }

            fn set<'a>(
                &'a self,
                key: &'a [u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<(), Error>> {
                let request = Request::Set { key, value, options, condition: Condition::Always };
                let answer = self.call(request, deadline, Caller::Async);
                Box::pin(async move { answer.await?.set().map(drop) })
            }

            fn add<'a>(
                &'a self,
                key: &'a [u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<bool, Error>> {
                let request = Request::Set { key, value, options, condition: Condition::Absent };
                let answer = self.call(request, deadline, Caller::Async);
                Box::pin(async move { answer.await?.set().map(|set| set.is_some()) })
            }

            fn compare_and_set<'a>(
                &'a self,
                key: &'a [u8],
                old: &'a [u8],
                value: Bytes,
                options: SetOptions,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<bool, Error>> {
                let request = Request::Set {
                    key,
                    value,
                    options,
                    condition: Condition::Equals { bytes: old, version: Version::UNKNOWN },
                };
                let answer = self.call(request, deadline, Caller::Async);
                Box::pin(async move { answer.await?.set().map(|set| set.is_some()) })
            }

            fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
                let answer = self.call(Request::Delete(key), deadline, Caller::Async);
                Box::pin(async move { answer.await?.done() })
            }

            fn set_many<'a>(
                &'a self,
                entries: &'a [(&'a [u8], Bytes)],
                options: SetOptions,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<Vec<Result<(), Error>>, Error>> {
                let answer = self.call(Request::SetMany { entries, options }, deadline, Caller::Async);
                Box::pin(async move { answer.await?.set_each() })
            }

            fn delete_many<'a>(
                &'a self,
                keys: &'a [&'a [u8]],
                deadline: Instant,
            ) -> BoxFuture<'a, Result<usize, Error>> {
                let answer = self.call(Request::DeleteMany(keys), deadline, Caller::Async);
                Box::pin(async move { answer.await?.count() })
            }

            fn contains<'a>(
                &'a self,
                key: &'a [u8],
                deadline: Instant,
            ) -> BoxFuture<'a, Result<bool, Error>> {
                let answer = self.call(Request::Contains(key), deadline, Caller::Async);
                Box::pin(async move { answer.await?.done() })
            }

            fn touch<'a>(
                &'a self,
                key: &'a [u8],
                ttl: Option<Duration>,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<bool, Error>> {
                let answer = self.call(Request::Touch { key, ttl }, deadline, Caller::Async);
                Box::pin(async move { answer.await?.done() })
            }

            fn incr<'a>(
                &'a self,
                key: &'a [u8],
                by: i64,
                deadline: Instant,
            ) -> BoxFuture<'a, Result<Option<i64>, Error>> {
                let answer = self.call(Request::Incr { key, by }, deadline, Caller::Async);
                Box::pin(async move { answer.await?.number() })
            }

            fn ttl<'a>(
                &'a self,
                key: &'a [u8],
                deadline: Instant,
            ) -> BoxFuture<'a, Result<Option<Duration>, Error>> {
                let answer = self.call(Request::Ttl(key), deadline, Caller::Async);
                Box::pin(async move { answer.await?.ttl() })
            }

            fn max_value_len(&self) -> usize {
                Service::max_value_len(self)
            }

            fn servers(&self) -> usize {
                Service::servers(self)
            }

            fn server_of(&self, key: &[u8]) -> usize {
                Service::server_of(self, key)
            }
        }
    };
}

pub(crate) use async_backend_of_service;
#[cfg(feature = "memory")]
pub(crate) use backend_of_service;
