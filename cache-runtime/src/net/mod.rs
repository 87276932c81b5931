//! Connections to servers: addresses, deadlines, pools, and reads that share a request. Knows no protocol.

#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod dial;
#[cfg(all(any(test, fuzzing), any(feature = "redis", feature = "memcached")))]
pub(crate) mod fuzz;
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod line;
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
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(crate) mod tls;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;
pub(crate) mod url;

/// The most keys that are read with one request. More would not make it cheaper, and the first caller waits for the last
/// one's value.
#[cfg(any(feature = "redis", feature = "memcached", feature = "tokio"))]
pub(crate) const MAX_BATCH: usize = 128;
