//! One run of the body per key at a time, within a process and across processes.

#[cfg(all(feature = "servers", target_os = "linux"))]
mod cluster;
#[cfg(feature = "servers")]
mod detached;
mod single_flight;
