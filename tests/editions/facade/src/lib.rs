//! Hands the runtime on: its users have no dependency of their own on it.

pub use cache_runtime;
