//! What the tests share: servers to talk to, good and bad ones, and the suite that every backend passes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod conformance;
pub mod fakes;
pub mod proxy;
pub mod servers;
