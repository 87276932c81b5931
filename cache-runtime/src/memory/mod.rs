//! The typed store of this process.

mod number_table;
mod store;

pub(crate) use self::number_table::Life;
pub(crate) use self::store::{New, Slot, Store};

/// The bound of a store. With both, neither is passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bound {
    /// The most entries; 10,000 if neither is given.
    pub capacity: Option<u64>,
    /// The most bytes, of keys and values.
    pub max_bytes: Option<u64>,
}
