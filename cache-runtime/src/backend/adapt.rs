//! Adaptors: one kind of backend presented as the other.
//!
//! Calls speak to [`AsyncBackend`] only. For a blocking caller the futures are [`Inline`]: the work
//! is done while they are polled, and they are ready at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{AsyncBackend, Backend, BoxFuture};
use crate::common::wait::block_on;
use crate::error::{Error, ErrorKind};

type Reply<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// A backend for blocking callers, who get their hits without a future.
pub(crate) trait Prompt: AsyncBackend {
    /// As [`AsyncBackend::get`].
    fn get_now(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error>;
}

/// A blocking backend for blocking callers: ready futures.
pub(crate) struct Inline<B: ?Sized>(pub(crate) Arc<B>);

/// A blocking backend for async callers: the runtime's blocking threads do the work.
pub(crate) struct Spawned(pub(crate) Arc<dyn Backend>);

impl<B: Backend + ?Sized> Prompt for Inline<B> {
    fn get_now(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        self.0.get(key, deadline)
    }
}

impl<B: Backend + ?Sized> AsyncBackend for Inline<B> {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, Option<Bytes>> {
        Box::pin(async move { self.0.get(key, deadline) })
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]], deadline: Instant) -> Reply<'a, Vec<Option<Bytes>>> {
        Box::pin(async move { self.0.get_many(keys, deadline) })
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, ()> {
        Box::pin(async move { self.0.set(key, value, ttl, deadline) })
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        Box::pin(async move { self.0.add(key, value, ttl, deadline) })
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        Box::pin(async move { self.0.replace(key, old, new, ttl, deadline) })
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, bool> {
        Box::pin(async move { self.0.delete(key, deadline) })
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

impl Spawned {
    /// `work` on a blocking thread; its result is awaited until `deadline`.
    #[cfg(feature = "tokio")]
    fn run<'a, T: Send + 'static>(
        &'a self,
        deadline: Instant,
        work: impl FnOnce(&dyn Backend) -> Result<T, Error> + Send + 'static,
    ) -> Reply<'a, T> {
        let backend = self.0.clone();
        Box::pin(async move {
            let runtime = tokio::runtime::Handle::try_current().map_err(no_runtime)?;
            let work = runtime.spawn_blocking(move || work(&*backend));
            match tokio::time::timeout_at(deadline.into(), work).await {
                Ok(Ok(result)) => result,
                Ok(Err(died)) => {
                    Err(Error::new(ErrorKind::Unavailable, "the backend panicked").with_source(died))
                }
                Err(_) => Err(late()),
            }
        })
    }

    #[cfg(not(feature = "tokio"))]
    fn run<'a, T: Send + 'static>(
        &'a self,
        _deadline: Instant,
        _work: impl FnOnce(&dyn Backend) -> Result<T, Error> + Send + 'static,
    ) -> Reply<'a, T> {
        Box::pin(std::future::ready(Err(needs_tokio("a blocking backend under an async caller"))))
    }
}

impl AsyncBackend for Spawned {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, Option<Bytes>> {
        let key = key.to_vec();
        self.run(deadline, move |backend| backend.get(&key, deadline))
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]], deadline: Instant) -> Reply<'a, Vec<Option<Bytes>>> {
        let keys = owned(keys);
        self.run(deadline, move |backend| backend.get_many(&borrowed(&keys), deadline))
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, ()> {
        let key = key.to_vec();
        self.run(deadline, move |backend| backend.set(&key, value, ttl, deadline))
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        let key = key.to_vec();
        self.run(deadline, move |backend| backend.add(&key, value, ttl, deadline))
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        let (key, old) = (key.to_vec(), old.to_vec());
        self.run(deadline, move |backend| backend.replace(&key, &old, new, ttl, deadline))
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, bool> {
        let key = key.to_vec();
        self.run(deadline, move |backend| backend.delete(&key, deadline))
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

/// An async backend for blocking callers: one background runtime for the whole process does the
/// work, so that the caller may itself be inside a runtime.
pub(crate) struct Bridged(pub(crate) Arc<dyn AsyncBackend>);

impl Bridged {
    #[cfg(feature = "tokio")]
    fn run<'a, T: Send + 'static, F>(
        &'a self,
        deadline: Instant,
        work: impl FnOnce(Arc<dyn AsyncBackend>) -> F,
    ) -> Reply<'a, T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let result = background().and_then(|runtime| {
            let (sender, receiver) = std::sync::mpsc::sync_channel(1);
            let work = work(self.0.clone());
            runtime.spawn(async move {
                // The caller may have given up; then nobody wants the answer.
                let _ = sender.send(work.await);
            });
            let left = deadline.saturating_duration_since(Instant::now());
            receiver.recv_timeout(left).unwrap_or_else(|_| Err(late()))
        });
        Box::pin(std::future::ready(result))
    }

    #[cfg(not(feature = "tokio"))]
    fn run<'a, T: Send + 'static, F>(
        &'a self,
        _deadline: Instant,
        _work: impl FnOnce(Arc<dyn AsyncBackend>) -> F,
    ) -> Reply<'a, T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        Box::pin(std::future::ready(Err(needs_tokio("an async backend under a blocking caller"))))
    }
}

impl Prompt for Bridged {
    fn get_now(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        block_on(self.get(key, deadline).as_mut())
    }
}

impl AsyncBackend for Bridged {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, Option<Bytes>> {
        let key = key.to_vec();
        self.run(deadline, |backend| async move { backend.get(&key, deadline).await })
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]], deadline: Instant) -> Reply<'a, Vec<Option<Bytes>>> {
        let keys = owned(keys);
        self.run(deadline, |backend| async move { backend.get_many(&borrowed(&keys), deadline).await })
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, ()> {
        let key = key.to_vec();
        self.run(deadline, |backend| async move { backend.set(&key, value, ttl, deadline).await })
    }

    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        let key = key.to_vec();
        self.run(deadline, |backend| async move { backend.add(&key, value, ttl, deadline).await })
    }

    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Reply<'a, bool> {
        let (key, old) = (key.to_vec(), old.to_vec());
        self.run(deadline, |backend| async move { backend.replace(&key, &old, new, ttl, deadline).await })
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> Reply<'a, bool> {
        let key = key.to_vec();
        self.run(deadline, |backend| async move { backend.delete(&key, deadline).await })
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

/// The background runtime: one thread, started at first use.
#[cfg(feature = "tokio")]
fn background() -> Result<&'static tokio::runtime::Handle, Error> {
    use std::sync::OnceLock;
    static HANDLE: OnceLock<Result<tokio::runtime::Handle, Error>> = OnceLock::new();
    let start = || -> std::io::Result<tokio::runtime::Handle> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("cache-runtime".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(handle)
    };
    let handle = HANDLE.get_or_init(|| {
        start().map_err(|error| {
            Error::new(ErrorKind::Unavailable, "can't start the background runtime").with_source(error)
        })
    });
    handle.as_ref().map_err(Clone::clone)
}

#[cfg(feature = "tokio")]
fn no_runtime(error: tokio::runtime::TryCurrentError) -> Error {
    Error::new(ErrorKind::Unavailable, "async calls to a remote backend need a tokio runtime")
        .with_source(error)
}

#[cfg(feature = "tokio")]
fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the backend did not answer within the call's time")
}

#[cfg(not(feature = "tokio"))]
fn needs_tokio(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{what} needs the feature `tokio` of cache-runtime"))
}

fn owned(keys: &[&[u8]]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.to_vec()).collect()
}

fn borrowed(keys: &[Vec<u8>]) -> Vec<&[u8]> {
    keys.iter().map(Vec::as_slice).collect()
}
