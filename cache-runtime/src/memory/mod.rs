//! The typed store of this process.

mod shard;
mod store;
mod sweep;

pub(crate) use self::store::{Entry, Life, New, Store};

/// The bound of a store. With both, neither is passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bound {
    /// The most entries; 10,000 if neither is given, and `u64::MAX` is no bound.
    pub capacity: Option<u64>,
    /// The most bytes, of keys and values.
    pub max_bytes: Option<u64>,
}

/// Entries a store holds unless told otherwise.
pub(crate) const DEFAULT_CAPACITY: u64 = 10_000;
