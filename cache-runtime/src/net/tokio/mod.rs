//! The connections of async callers, on tokio.

pub(crate) mod per_runtime;
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod pool;
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod stream;
