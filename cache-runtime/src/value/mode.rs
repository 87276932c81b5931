//! How values are packed for a store: kept as they are, or encoded by a codec.

use std::marker::PhantomData;
use std::mem::needs_drop;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Format, Packed, Value, number};
use crate::codec::{self, Codec};
use crate::common::catch::{catch, catch_option};
use crate::error::{Error, ErrorKind};

/// Packs and unpacks values of type `S`: [`Typed`] or [`Encoded`].
pub(crate) trait Mode<S> {
    /// The format on a server.
    ///
    /// # Errors
    /// The codec can't serve the type, or values stay typed.
    fn format() -> Result<Format, Error>;

    /// Packs a value; `weigh` measures its size.
    ///
    /// # Errors
    /// The value can't be encoded so that it decodes to itself.
    fn pack(value: &S, weigh: Option<fn(&S) -> u64>) -> Result<Packed, Error>;

    /// A copy of a stored value, if values stay typed and this one is an `S`.
    fn copy(value: &Value) -> Option<S> {
        let _ = value;
        None
    }

    /// Makes an `S` from the bits of a number, where `S` may be a number.
    const NUMBER: Option<fn(u64) -> Option<S>> = None;

    /// Unpacks what [`pack`](Self::pack) packed.
    ///
    /// # Errors
    /// `packed` holds a value of another type.
    fn unpack(packed: &Packed) -> Result<S, Error>;
}

/// Values stay as they are, in memory.
pub(crate) struct Typed;

impl<S: Clone + Send + Sync + 'static> Mode<S> for Typed {
    const NUMBER: Option<fn(u64) -> Option<S>> =
        if size_of::<S>() > size_of::<u64>() || needs_drop::<S>() { None } else { Some(number::of_bits) };

    fn format() -> Result<Format, Error> {
        Err(mismatch())
    }

    #[inline]
    fn pack(value: &S, weigh: Option<fn(&S) -> u64>) -> Result<Packed, Error> {
        catch::<S, _>(ErrorKind::Encode, || {
            let size = weigh.map_or(0, |weigh| weigh(value));
            Ok(Packed::Typed(Value::new(value), size))
        })
    }

    #[inline]
    fn copy(value: &Value) -> Option<S> {
        // The look-up that follows unpacks it again, and reports the panic.
        catch_option(|| value.copy())
    }

    #[inline]
    fn unpack(packed: &Packed) -> Result<S, Error> {
        match packed {
            Packed::Typed(value, _) => {
                catch::<S, _>(ErrorKind::Protocol, || value.copy().ok_or_else(mismatch))
            }
            Packed::Encoded(_) => Err(mismatch()),
        }
    }
}

/// Values are encoded by `C`, for a server.
pub(crate) struct Encoded<C>(PhantomData<C>);

impl<C: Codec, S: Serialize + DeserializeOwned> Mode<S> for Encoded<C> {
    fn format() -> Result<Format, Error> {
        codec::shape::<C, S>().map(|shape| Format { codec: C::ID, shape })
    }

    fn pack(value: &S, _weigh: Option<fn(&S) -> u64>) -> Result<Packed, Error> {
        encoded::<C, S>(value, None)
    }

    fn unpack(packed: &Packed) -> Result<S, Error> {
        match packed {
            Packed::Encoded(bytes) => codec::decode::<C, S>(bytes),
            Packed::Typed(..) => Err(mismatch()),
        }
    }
}

fn encoded<C: Codec, S: Serialize + DeserializeOwned>(
    value: &S,
    equal: Option<fn(&S, &S) -> bool>,
) -> Result<Packed, Error> {
    let mut bytes = Vec::with_capacity(codec::INITIAL_CAPACITY);
    codec::encode_checked::<C, S>(value, equal, &mut bytes)?;
    Ok(Packed::Encoded(bytes.into()))
}

fn mismatch() -> Error {
    Error::new(ErrorKind::Protocol, "the entry holds a value of another type")
}

/// The type of [`Mode::pack`].
pub(crate) type Pack<S> = fn(&S, Option<fn(&S) -> u64>) -> Result<Packed, Error>;

/// Finds out whether `S` implements `PartialEq`: the inherent constant shadows the one of [`EqFallback`].
pub struct EqProbe<C, S>(PhantomData<(C, S)>);

impl<C: Codec, S: Serialize + DeserializeOwned + PartialEq> EqProbe<C, S> {
    /// Packs as usual, and checks by `PartialEq` that the bytes decode to the value.
    pub const PACK: Option<Pack<S>> = Some(|value, _| encoded::<C, S>(value, Some(S::eq)));
}

/// Provides the constant where `S` has no `PartialEq`. It has no bounds, because a value that can't be encoded is
/// reported elsewhere.
pub trait EqFallback<S> {
    /// Values are packed as usual.
    const PACK: Option<Pack<S>> = None;
}

impl<C, S> EqFallback<S> for EqProbe<C, S> {}
