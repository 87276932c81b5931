//! Cache functions with one attribute, in memory, Redis or Memcached.
//!
//! ```
//! use cache_runtime::cached;
//!
//! #[cached(ttl = 60)]
//! fn paths(grid: u32) -> u64 {
//!     if grid < 2 { 1 } else { paths(grid - 1) + paths(grid - 2) }
//! }
//!
//! assert_eq!(paths(80), 37_889_062_373_143_906);
//! ```
//!
//! The body runs only on a miss. [`cached`] lists the options, and the companions: functions such as `paths::invalidate(80)`
//! that stand beside the cached one.
//!
//! # A short guide
//!
//! - **Start.** Annotate a blocking or `async` function. Values in memory need `Clone`, arguments need `serde::Serialize`.
//! - **Keys.** All arguments identify a call, unless `skip(db)` leaves some out or `key = …` replaces them: [`guide::keys`].
//! - **Values.** Only `Some` and `Ok` are stored, unless told otherwise: [`guide::values`].
//! - **Backends.** `backend = "redis"` moves the entries to a server, and variables say where that is: [`guide::backends`].
//! - **Freshness.** `ttl`, and what may be served after it while the body runs or fails: [`guide::freshness`].
//! - **Invalidation.** `user::invalidate(id)?` after a write. It wins over runs under way, also in other processes: nobody who
//!   calls after it has returned `Ok` gets an older value.
//! - **Outages.** A server that is down costs a call at most its timeout, and soon nothing. An `Err` of `invalidate` means that
//!   the server doesn't know yet; it is retried in the background.
//! - **One run per key.** [`guide::single_flight`]. **Methods, traits, generics.** [`guide::companions`], [`guide::generics`].
//! - **Testing.** [`testing::Scope`] gives each test its own entries and a clock.
//!
//! # Promises, in this order
//!
//! 1. **Never a wrong answer.** No two functions, arguments or value shapes share an entry. Bytes that this function didn't
//!    write in this shape are a miss ([`codec`](guide::values#codec) explains shapes).
//! 2. **Never worse than no cache.** A cache that is down costs a bounded delay, never an error, a panic or a lost result.
//! 3. **Never a stampede.** One run of the body per key at a time in a process, through panics and cancellations.
//!
//! # Backends
//!
//! | backend | feature | URL |
//! |---|---|---|
//! | memory, typed values | always | none needed |
//! | Redis | `redis` | `redis://[user:password@]host[:port][/db]`, `unix:///path/to.sock[?db=1]` |
//! | Redis Cluster | `redis` | `redis+cluster://[user:password@]host[:port][,host[:port]…]` |
//! | Redis, named by sentinels | `redis` | `redis+sentinel://[user:password@]host[:port][,host[:port]…]/name[/db]` |
//! | Memcached | `memcached` | `memcached://[user:password@]host[:port][,host[:port]…]`, `memcached+unix:///path/to.sock` |
//! | the same over TLS | `tls` too | `rediss://`, `rediss+cluster://`, `rediss+sentinel://`, `memcacheds://` |
//! | memory, as a backend of bytes | `memory`, which each server and value format enables | `memory://` |
//! | [your own](Backend) | always | [`Config::backend`], [`Config::async_backend`] |
//!
//! Async functions on a remote backend need the feature `tokio`. All URLs take `?timeout=100ms`, `?ttl=5m` and
//! `?prefix=app:`. Redis and Memcached also take `?pool=32` and `?max_value=1MiB`, and memory takes `?capacity=1000` and
//! `?max_bytes=64MiB`. [`Config::from_env`] lists the variables that hold URLs.
//!
//! # Beyond the attribute
//!
//! [`Cache`] and [`AsyncCache`] are the plain get / set-with-timeout API. [`testing`] isolates unit tests. [`check`] reports
//! wrong settings at start-up, and [`stats`] shows what the caches do.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod cache;
mod codec;
mod common;
mod config;
mod error;
mod flight;
mod freshness;
mod function;
pub mod guide;
mod key;
mod memory;
mod net;
mod remote;
mod stats;
pub mod testing;
mod value;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
#[doc(hidden)]
pub mod private;

pub use bytes::Bytes;
#[doc = include_str!("../docs/cached.md")]
#[doc(alias = "memoize", alias = "once", alias = "io_cached")]
pub use cache_macros::cached;

#[cfg(feature = "tokio")]
pub use crate::backend::batched::Batched;
#[cfg(feature = "memcached")]
pub use crate::backend::memcached::Memcached;
#[cfg(feature = "memory")]
pub use crate::backend::memory::Memory;
#[cfg(feature = "redis")]
pub use crate::backend::redis::Redis;
pub use crate::backend::{AsyncBackend, Backend, SetOptions};
pub use crate::cache::{AsyncCache, Cache, Stored, Value};
pub use crate::common::wait::BoxFuture;
pub use crate::config::Config;
pub use crate::error::{Error, ErrorKind};
pub use crate::freshness::Origin;
pub use crate::function::world::{CheckError, check, stats};
pub use crate::memory::Bound;
pub use crate::stats::{AllStats, Stats};
