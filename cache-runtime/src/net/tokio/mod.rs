//! The connections of async callers, who use tokio.

pub(crate) mod per_runtime;
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod pool;
