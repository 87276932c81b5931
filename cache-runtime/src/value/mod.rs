//! Values on their way in and out of a cache: typed in memory, encoded elsewhere.

pub(crate) mod outcome;

use std::any::Any;
use std::marker::PhantomData;
use std::mem::needs_drop;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::canonical::{self, Buffer};
use crate::codec::shape::Shape;
use crate::codec::{self, Codec};
use crate::error::{Error, ErrorKind};

/// A value of a function's own type, cheap to clone.
///
/// A number lies in the entry itself, and is found without another look into memory. What type it has is not kept: a
/// store belongs to one function, and keys tell the instantiations of a generic one apart.
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

/// Numbers as bits, and back: for the types that are numbers, which the compiler finds out.
mod number {
    use std::any::Any;

    macro_rules! numbers {
        ($($ty:ty: $to_bits:expr, $of_bits:expr;)*) => {
            #[inline]
            pub(super) fn bits<S: 'static>(value: &S) -> Option<u64> {
                let value: &dyn Any = value;
                $(if let Some(number) = value.downcast_ref::<$ty>() {
                    return Some($to_bits(*number));
                })*
                None
            }

            #[inline]
            pub(super) fn of_bits<S: Clone + 'static>(bits: u64) -> Option<S> {
                $(let number: $ty = $of_bits(bits);
                if let Some(value) = (&number as &dyn Any).downcast_ref::<S>() {
                    return Some(value.clone());
                })*
                None
            }
        };
    }

    numbers! {
        u64: |n| n, |bits| bits;
        i64: i64::cast_unsigned, u64::cast_signed;
        u32: u64::from, low;
        i32: |n: i32| u64::from(n.cast_unsigned()), |bits| low(bits).cast_signed();
        f64: f64::to_bits, f64::from_bits;
        bool: u64::from, |bits| bits != 0;
    }

    /// What is in the lower half.
    fn low(bits: u64) -> u32 {
        let [a, b, c, d, ..] = bits.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    #[cfg(test)]
    mod tests {
        use super::{bits, of_bits};

        fn comes_back<S: Clone + PartialEq + std::fmt::Debug + 'static>(values: &[S]) {
            for value in values {
                assert_eq!(bits(value).and_then(of_bits::<S>).as_ref(), Some(value));
            }
        }

        #[test]
        fn numbers_come_back_as_they_were() {
            comes_back(&[0_u64, 1, u64::MAX]);
            comes_back(&[0_i64, -1, i64::MIN, i64::MAX]);
            comes_back(&[0_u32, 1, u32::MAX]);
            comes_back(&[0_i32, -1, i32::MIN, i32::MAX]);
            comes_back(&[0.0, -0.5, f64::MIN_POSITIVE, f64::INFINITY]);
            comes_back(&[true, false]);
            assert_eq!(bits(&-0.0).and_then(of_bits::<f64>).map(f64::to_bits), Some((-0.0_f64).to_bits()));
        }

        #[test]
        fn nothing_else_is_a_number() {
            assert_eq!(bits(&"text"), None);
            assert_eq!(bits(&Some(7_u64)), None);
            assert_eq!(of_bits::<Option<u64>>(7), None);
            assert_eq!(of_bits::<u16>(7), None);
        }
    }
}

/// A value as a store keeps it; cheap to clone.
#[derive(Clone)]
pub enum Packed {
    /// A value of the function's own type, and its size in bytes if it is for a store that wants it.
    Typed(Value, u64),
    /// A codec's bytes.
    Encoded(Bytes),
}

/// How encoded values look: the codec's number and the shape of the type.
pub struct Format {
    pub(crate) codec: u8,
    pub(crate) shape: Shape,
}

/// Makes the format of one type; its address tells the instantiations of a generic function apart.
pub(crate) type MakeFormat = fn() -> Result<Format, Error>;

/// How values of type `S` are packed: [`Memory`] or [`Remote`].
pub trait Mode<S> {
    /// The format on a server.
    ///
    /// # Errors
    /// The codec can't serve the type, or values stay typed.
    fn format() -> Result<Format, Error>;

    /// Packs a value; `weigh` tells its size.
    ///
    /// # Errors
    /// It can't be encoded so that it decodes to itself.
    fn pack(value: &S, weigh: Option<fn(&S) -> u64>) -> Result<Packed, Error>;

    /// A copy of a value in the store, if values stay typed and it is one of these.
    fn copy(value: &Value) -> Option<S> {
        let _ = value;
        None
    }

    /// The same of a number, from its bits, where `S` may be one.
    const NUMBER: Option<fn(u64) -> Option<S>> = None;

    /// Unpacks what [`pack`](Self::pack) packed.
    ///
    /// # Errors
    /// It is not such a value.
    fn unpack(packed: &Packed) -> Result<S, Error>;
}

/// Values stay typed: they need `Clone + Send + Sync + 'static` only.
pub struct Memory;

impl<S: Clone + Send + Sync + 'static> Mode<S> for Memory {
    const NUMBER: Option<fn(u64) -> Option<S>> =
        if size_of::<S>() > size_of::<u64>() || needs_drop::<S>() { None } else { Some(number::of_bits) };

    fn format() -> Result<Format, Error> {
        Err(mismatch())
    }

    #[inline]
    fn pack(value: &S, weigh: Option<fn(&S) -> u64>) -> Result<Packed, Error> {
        let size = weigh.map_or(0, |weigh| weigh(value));
        Ok(Packed::Typed(Value::new(value), size))
    }

    #[inline]
    fn copy(value: &Value) -> Option<S> {
        value.copy()
    }

    #[inline]
    fn unpack(packed: &Packed) -> Result<S, Error> {
        match packed {
            Packed::Typed(value, _) => value.copy(),
            Packed::Encoded(_) => None,
        }
        .ok_or_else(mismatch)
    }
}

/// Values are encoded by `C`.
pub struct Remote<C>(PhantomData<C>);

impl<C: Codec, S: Serialize + DeserializeOwned> Mode<S> for Remote<C> {
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

/// What [`Mode::pack`] is.
pub(crate) type Pack<S> = fn(&S, Option<fn(&S) -> u64>) -> Result<Packed, Error>;

/// Packs an `S` for a server with its own `PartialEq` watching, if it has one. An inherent constant is found before the
/// one of the trait [`Uncompared`], as that of [`Probe`](crate::value::outcome::Probe) is.
pub struct Compared<C, S>(PhantomData<(C, S)>);

impl<C: Codec, S: Serialize + DeserializeOwned + PartialEq> Compared<C, S> {
    /// Instead of [`Remote`]'s.
    pub const PACK: Option<Pack<S>> = Some(|value, _| encoded::<C, S>(value, Some(S::eq)));
}

/// The fallback that the inherent constant shadows. Without bounds: that a value can't be encoded is said once, where the
/// mode is named.
pub trait Uncompared<S> {
    /// Instead of [`Remote`]'s.
    const PACK: Option<Pack<S>> = None;
}

impl<C, S> Uncompared<S> for Compared<C, S> {}

/// The bytes that a value in memory occupies, about: what it holds by value and what it points to.
pub fn weigh<S: Serialize>(value: &S) -> u64 {
    let mut bytes = Buffer::new();
    // A value too deep to measure counts as the largest: it is not stored.
    match canonical::encode(value, &mut bytes) {
        Ok(()) => (size_of::<S>() + bytes.len()) as u64,
        Err(_) => u64::MAX,
    }
}

fn mismatch() -> Error {
    Error::new(ErrorKind::Protocol, "the entry holds a value of another type")
}
