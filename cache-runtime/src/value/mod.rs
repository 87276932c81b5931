//! Values on their way in and out of a cache: typed in memory, encoded on servers.

mod errors;
mod mode;
mod number;
pub(crate) mod outcome;

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::canonical::{self, Buffer};
use crate::codec::shape::Shape;
use crate::error::Error;

pub(crate) use self::errors::ShareErr;
pub(crate) use self::errors::SharedErr;
pub use self::errors::{ErrFallback, ErrProbe};
pub(crate) use self::mode::{Encoded, Mode, Pack, Typed};
pub use self::mode::{EqFallback, EqProbe};

/// A value of a function's own type, cheap to clone.
///
/// A number is kept inline, so that a hit saves one memory access. Its type is not recorded: a store belongs to one
/// function, and keys tell the instantiations of a generic function apart.
#[derive(Clone)]
pub enum Value {
    /// The bits of a number.
    Number(u64),
    /// Anything else.
    Shared(Arc<dyn Any + Send + Sync>),
}

impl Value {
    #[inline]
    pub(crate) fn new<S: Clone + Send + Sync + 'static>(value: &S) -> Self {
        number::bits(value).map_or_else(|| Self::Shared(Arc::new(value.clone())), Self::Number)
    }

    /// A copy of it, if it is an `S`.
    #[inline]
    pub(crate) fn copy<S: Clone + 'static>(&self) -> Option<S> {
        match self {
            Self::Number(bits) => number::of_bits(*bits),
            Self::Shared(value) => value.downcast_ref().cloned(),
        }
    }
}

/// A value as a store keeps it; cheap to clone.
#[derive(Clone)]
pub enum Packed {
    /// A value of the function's own type, with its size in bytes where the store is bounded by bytes, and 0 elsewhere.
    Typed(Value, u64),
    /// A codec's bytes.
    Encoded(Bytes),
}

/// What a run hands to the calls that wait for it.
#[derive(Clone)]
pub(crate) enum Shared {
    /// A value, packed as entries are.
    Value(Packed),
    /// A `None` that isn't stored, by its number; see [`Outcome::none`](outcome::Outcome::none).
    None(u8),
    /// An error that isn't stored.
    Err(SharedErr),
}

/// The format of encoded values: the codec's number and the shape of the type.
pub(crate) struct Format {
    pub(crate) codec: u8,
    pub(crate) shape: Shape,
}

/// Makes the format of one type; its address tells the instantiations of a generic function apart.
pub(crate) type MakeFormat = fn() -> Result<Format, Error>;

/// About how many bytes a value occupies in memory: its own size and what it points to.
pub(crate) fn weigh<S: Serialize>(value: &S) -> u64 {
    let mut bytes = Buffer::new();
    // A value nested too deeply to measure counts as the largest possible, so that it is not stored.
    match canonical::encode(value, &mut bytes) {
        Ok(()) => (size_of::<S>() + bytes.len()) as u64,
        Err(_) => u64::MAX,
    }
}

// What a cached value must implement. The traits are implemented for whatever meets their bounds, and exist for their
// messages: `do_not_recommend` makes the compiler report the trait, and not the bound that fails.

/// A value in memory can be cloned.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be cached in memory, because it isn't `Clone`",
    label = "each hit returns a clone of the stored value",
    note = "derive `Clone` for it, or return an `Arc` of it; a type parameter needs `Clone + Send + Sync + 'static`",
    note = "in a method or a generic function: if this is an alias of `Result` or `Option`, write it out"
)]
pub trait ClonedOnHit: Clone {}

#[diagnostic::do_not_recommend]
impl<S: Clone> ClonedOnHit for S {}

/// A value in memory can be used by all threads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be cached in memory, because it isn't `Send + Sync`",
    label = "all threads share the stored value",
    note = "use `Arc` instead of `Rc`, and `Mutex` instead of `RefCell`; a type parameter needs `Clone + Send + Sync + 'static`",
    note = "in a method or a generic function: if this is an alias of `Result` or `Option`, write it out"
)]
pub trait SharedByThreads: Send + Sync {}

#[diagnostic::do_not_recommend]
impl<S: Send + Sync> SharedByThreads for S {}

/// A value on a server can be written and read by serde.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be stored on a server, because it isn't `serde::Serialize + serde::de::DeserializeOwned`",
    label = "a server stores the bytes of the value",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; a type of another crate may have a feature `serde`",
    note = "in a method or a generic function: if this is an alias of `Result` or `Option`, write it out"
)]
pub trait StoredOnServer: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<S: Serialize + DeserializeOwned> StoredOnServer for S {}
