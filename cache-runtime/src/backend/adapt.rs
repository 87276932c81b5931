//! Users' backends as services: [`Backend`] and [`AsyncBackend`], each for both kinds of callers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

#[cfg(feature = "tokio")]
use super::request::Lists;
use super::request::{Answer, Condition, Reply, Request, Service, Version, Versioned};
use super::{AsyncBackend, Backend};
use crate::common::wait::{Caller, MaybeReady};
#[cfg(feature = "tokio")]
use crate::error::Reason;
use crate::error::{Error, ErrorKind};

/// A blocking backend. For async callers the runtime's blocking threads do the work.
pub(crate) struct FromBackend(pub(crate) Arc<dyn Backend>);

/// An async backend. For blocking callers a background runtime does the work, so that the caller may itself be inside a
/// runtime.
pub(crate) struct FromAsyncBackend(pub(crate) Arc<dyn AsyncBackend>);

impl Service for FromBackend {
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        match caller {
            Caller::Blocking => MaybeReady::done(call_backend(&*self.0, request, deadline)),
            Caller::Async => on_blocking_pool(self.0.clone(), request, deadline),
        }
    }

    fn max_value_len(&self) -> usize {
        self.0.max_value_len()
    }

    fn servers(&self) -> usize {
        self.0.servers()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        self.0.server_of(key)
    }
}

impl Service for FromAsyncBackend {
    fn call<'a>(&'a self, request: Request<'a>, deadline: Instant, caller: Caller) -> Answer<'a> {
        match caller {
            Caller::Blocking => MaybeReady::done(on_background_runtime(self.0.clone(), request, deadline)),
            Caller::Async => MaybeReady::Later(Box::pin(call_async_backend(&*self.0, request, deadline))),
        }
    }

    fn max_value_len(&self) -> usize {
        self.0.max_value_len()
    }

    fn servers(&self) -> usize {
        self.0.servers()
    }

    fn server_of(&self, key: &[u8]) -> usize {
        self.0.server_of(key)
    }
}

fn call_backend(backend: &dyn Backend, request: Request<'_>, deadline: Instant) -> Result<Reply, Error> {
    match request {
        Request::Get(key) => backend.get(key, deadline).map(value),
        Request::GetMany(keys) => backend.get_many(keys, deadline).map(values),
        Request::Set { key, value, options, condition } => match condition {
            Condition::Always => backend.set(key, value, options, deadline).map(|()| set(true)),
            Condition::Absent => backend.add(key, value, options, deadline).map(set),
            Condition::Equals { bytes, .. } => {
                backend.compare_and_set(key, bytes, value, options, deadline).map(set)
            }
        },
        Request::SetMany { entries, options } => {
            backend.set_many(entries, options, deadline).map(Reply::SetEach)
        }
        Request::Delete(key) => backend.delete(key, deadline).map(Reply::Done),
        Request::DeleteMany(keys) => backend.delete_many(keys, deadline).map(Reply::Count),
        Request::Contains(key) => backend.contains(key, deadline).map(Reply::Done),
        Request::Touch { key, ttl } => backend.touch(key, ttl, deadline).map(Reply::Done),
        Request::Incr { key, by } => backend.incr(key, by, deadline).map(Reply::Number),
        Request::Ttl(key) => backend.ttl(key, deadline).map(Reply::Ttl),
    }
}

async fn call_async_backend(
    backend: &dyn AsyncBackend,
    request: Request<'_>,
    deadline: Instant,
) -> Result<Reply, Error> {
    match request {
        Request::Get(key) => backend.get(key, deadline).await.map(value),
        Request::GetMany(keys) => backend.get_many(keys, deadline).await.map(values),
        Request::Set { key, value, options, condition } => match condition {
            Condition::Always => backend.set(key, value, options, deadline).await.map(|()| set(true)),
            Condition::Absent => backend.add(key, value, options, deadline).await.map(set),
            Condition::Equals { bytes, .. } => {
                backend.compare_and_set(key, bytes, value, options, deadline).await.map(set)
            }
        },
        Request::SetMany { entries, options } => {
            backend.set_many(entries, options, deadline).await.map(Reply::SetEach)
        }
        Request::Delete(key) => backend.delete(key, deadline).await.map(Reply::Done),
        Request::DeleteMany(keys) => backend.delete_many(keys, deadline).await.map(Reply::Count),
        Request::Contains(key) => backend.contains(key, deadline).await.map(Reply::Done),
        Request::Touch { key, ttl } => backend.touch(key, ttl, deadline).await.map(Reply::Done),
        Request::Incr { key, by } => backend.incr(key, by, deadline).await.map(Reply::Number),
        Request::Ttl(key) => backend.ttl(key, deadline).await.map(Reply::Ttl),
    }
}

/// The error of an operation that a backend doesn't have.
pub(super) fn lacks(operation: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the backend has no `{operation}`"))
}

fn value(value: Option<Bytes>) -> Reply {
    Reply::Value(value.map(Versioned::from))
}

fn values(values: Vec<Option<Bytes>>) -> Reply {
    Reply::Values(values.into_iter().map(|value| value.map(Versioned::from)).collect())
}

fn set(is_set: bool) -> Reply {
    Reply::Set(is_set.then_some(Version::UNKNOWN))
}

/// Performs `request` on a blocking thread of the current runtime, and waits for it until `deadline`.
#[cfg(feature = "tokio")]
fn on_blocking_pool<'a>(backend: Arc<dyn Backend>, request: Request<'a>, deadline: Instant) -> Answer<'a> {
    let request = request.into_owned();
    let work = move || call_backend(&*backend, request.borrow(&mut Lists::default()), deadline);
    MaybeReady::Later(Box::pin(async move {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            let message = "async calls to a remote backend need a tokio runtime";
            Error::new(ErrorKind::Config, message).with_source(error).because(Reason::Process)
        })?;
        match tokio::time::timeout_at(deadline.into(), runtime.spawn_blocking(work)).await {
            Ok(Ok(result)) => result,
            Ok(Err(panicked)) => {
                Err(Error::new(ErrorKind::Unavailable, "the backend panicked").with_source(panicked))
            }
            Err(_) => Err(timed_out()),
        }
    }))
}

/// Performs `request` on the background runtime, and waits for it until `deadline`.
#[cfg(feature = "tokio")]
fn on_background_runtime(
    backend: Arc<dyn AsyncBackend>,
    request: Request<'_>,
    deadline: Instant,
) -> Result<Reply, Error> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let request = request.into_owned();
    background_runtime()?.spawn(async move {
        let mut lists = Lists::default();
        let answer = call_async_backend(&*backend, request.borrow(&mut lists), deadline).await;
        // An error means that the caller has given up.
        let _ = sender.send(answer);
    });
    let left = deadline.saturating_duration_since(Instant::now());
    receiver.recv_timeout(left).unwrap_or_else(|_| Err(timed_out()))
}

/// The background runtime: one thread, started at first use in each process.
#[cfg(feature = "tokio")]
fn background_runtime() -> Result<&'static tokio::runtime::Handle, Error> {
    use crate::common::process::PerProcess;
    use std::sync::OnceLock;
    use tokio::runtime::{Builder, Handle};

    static HANDLE: PerProcess<OnceLock<Result<Handle, Error>>> = PerProcess::new();
    let start = || -> std::io::Result<Handle> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("cache-runtime".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(handle)
    };
    let handle = HANDLE.get(|_| OnceLock::new()).get_or_init(|| {
        start().map_err(|error| {
            Error::new(ErrorKind::Unavailable, "can't start the background runtime").with_source(error)
        })
    });
    handle.as_ref().map_err(Clone::clone)
}

#[cfg(feature = "tokio")]
fn timed_out() -> Error {
    Error::new(ErrorKind::Timeout, "the backend did not answer within the call's time")
}

#[cfg(not(feature = "tokio"))]
fn on_blocking_pool<'a>(_: Arc<dyn Backend>, _: Request<'a>, _: Instant) -> Answer<'a> {
    MaybeReady::done(Err(needs_tokio("an async caller of a blocking backend")))
}

#[cfg(not(feature = "tokio"))]
fn on_background_runtime(_: Arc<dyn AsyncBackend>, _: Request<'_>, _: Instant) -> Result<Reply, Error> {
    Err(needs_tokio("a blocking caller of an async backend"))
}

#[cfg(not(feature = "tokio"))]
pub(super) fn needs_tokio(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{what} needs the feature `tokio` of cache-runtime"))
}
