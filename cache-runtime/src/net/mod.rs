//! Connections to servers: addresses, deadlines, pools, and reads that travel together. Knows no protocol.

#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod options;
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod pool;
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod read_buffer;
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod shared_reads;
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod stream;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;
pub(crate) mod url;
