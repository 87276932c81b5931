//! Outages and misbehaving servers: calls still return the right value, in time and without an error.
#![cfg(feature = "servers")]

mod blame;
mod fail_open;
mod protocol;
mod refusals;
mod servers;
