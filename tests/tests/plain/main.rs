//! The plain cache behaves as the caches of web frameworks do, on every backend, blocking and async.
//!
//! The names of behaviors are those of the list that the API was made from. Some differ by design:
//!
//! - `any_type_get`: a value is read as the type it was stored as. Reading it as another one is a miss, never a wrong value.
//!   `serde_json::Value` with `?codec=json` reads and writes any.
//! - `incr.missing`, `decr.missing`: `None`, which a caller can't overlook in Rust. Nothing is created.
//! - `negative_timeout`: a `Duration` has no sign; zero ends an entry, and so does `expire_at` in the past.
//! - `default_timeout.300`: without a setting, entries stay.
//! - `incr_version`, `decr_version`: spaces have names, not numbers. A value moves by `get`, `set` and `delete`.
//! - `custom_key_func`, `key.warning`, `key.custom_validation`: every text is a key on every backend.
//! - `set_many.empty_on_success`, `set_many.failing`: `Ok`, and an `Err` whose message names the keys.
//! - `close`: dropping the last clone closes its connections.
//! - `zero_cull`: a full memory evicts what was used least recently. Emptying it would be a stampede.
//! - `redis.raw_client`: no client is public, so that it can be replaced. `Backend` reaches the server.
//! - `redis.replicas`, `locations.semicolon`, `locations.unix` and `handler.all` concern backends, not this API.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;
mod rows;
#[cfg(feature = "servers")]
mod servers;
