//! Turns values into payload bytes and back.
//!
//! Owns the trait of formats and two promises: a payload is made only of a value that it decodes to again,
//! and decoding is bounded (see [`bounded`]). Knows nothing of envelopes, keys or backends.

pub(crate) mod bounded;
pub(crate) mod byte_seq;
pub(crate) mod canonical;
mod formats;
#[cfg(all(
    any(test, fuzzing),
    any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json")
))]
pub(crate) mod fuzz;
pub(crate) mod shape;

use std::any::TypeId;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use self::bounded::Budget;
use self::canonical::{Buffer, Order};
#[cfg(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json"))]
pub use self::formats::*;
pub(crate) use self::formats::{ChosenCodec, DefaultCodec, with_codec};
use self::shape::Shape;
use crate::common::catch::catch;
use crate::error::{Error, ErrorKind};

/// Initial capacity in bytes of a payload's buffer: a small value is written with one allocation.
pub(crate) const INITIAL_CAPACITY: usize = 128;

/// A format of values. It only writes and reads; this module's functions do what all formats have in common.
pub trait Codec: 'static {
    /// The name in the attribute, such as `codec = "json"`.
    const NAME: &'static str;
    /// The number in stored entries. Never reuse it for another format.
    const ID: u8;
    /// Whether the bytes name fields and tell numbers from strings. If not, only a type of the shape that
    /// wrote them can read them.
    const SELF_DESCRIBING: bool;

    /// Appends `value` to `out`.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if the format can't express the value. `out` may then hold part of it.
    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Reads the value that `seed` asks for, which bounds the decoding.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the bytes are not such a value.
    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error>;
}

/// The shape of stored values of `T`. For a self-describing format the type's name is enough.
///
/// # Errors
/// [`ErrorKind::Encode`] if a positional format can't store the type.
pub(crate) fn shape<C: Codec, T: DeserializeOwned>() -> Result<Shape, Error> {
    if C::SELF_DESCRIBING { Ok(shape::named::<T>(C::NAME)) } else { shape::of::<T>() }
}

/// Decodes a payload from any source, within bounded time, memory and depth.
///
/// # Errors
/// [`ErrorKind::Protocol`] if the bytes are not a `T` or exceed a bound, or if the code of `T` panics.
pub(crate) fn decode<C: Codec, T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let budget = Budget::for_input(bytes.len(), !C::SELF_DESCRIBING);
    catch::<T, _>(ErrorKind::Protocol, || C::read(bytes, budget.seed::<T>()))
}

/// Appends the payload of `value` to `out`, and checks that it decodes to `value` again.
///
/// Only decoding reveals a change. Positional formats silently swap or shift fields where
/// `skip_serializing_if` omits one. MessagePack and JSON turn `Some(None)` into `None`, JSON turns `NaN` into
/// `null`, and an untagged enum may come back as another variant. The check costs one decoding, next to a run
/// of the body and a round trip. Values that can't change skip it.
///
/// The check compares what serde serializes. What `#[serde(skip)]` or a lossy conversion drops shows only in
/// `equal`, the type's `PartialEq` if it has one. `equal` doesn't count for a value that is not equal to
/// itself, such as NaN.
///
/// # Errors
/// [`ErrorKind::Encode`] if the format can't express the value, the value is too deep, its code panics, or it would come back
/// changed. `out` may then hold part of the payload.
pub(crate) fn encode_checked<C, T>(
    value: &T,
    equal: Option<fn(&T, &T) -> bool>,
    out: &mut Vec<u8>,
) -> Result<(), Error>
where
    C: Codec,
    T: Serialize + DeserializeOwned,
{
    // Positional formats write the bits, or a length and the bytes: nothing is omitted or nested.
    if !C::SELF_DESCRIBING && is_scalar_or_bytes::<T>() {
        return C::write(value, out);
    }
    catch::<T, _>(ErrorKind::Encode, || {
        let decoded = encode_and_compare::<C, T, T>(value, out)?;
        if equal.is_some_and(|equal| !equal(&decoded, value) && equal(value, value)) {
            return Err(unequal());
        }
        Ok(())
    })
}

/// [`encode_checked`] for a value that decodes to the owned form `T` of its type, such as `&str` to `String`.
pub(crate) fn encode_borrowed<C, S, T>(value: &S, out: &mut Vec<u8>) -> Result<(), Error>
where
    C: Codec,
    S: Serialize,
    T: Serialize + DeserializeOwned,
{
    if !C::SELF_DESCRIBING && is_scalar_or_bytes::<T>() {
        return C::write(value, out);
    }
    catch::<T, _>(ErrorKind::Encode, || encode_and_compare::<C, S, T>(value, out).map(drop))
}

/// Appends the payload of `value`, and returns the value that it decodes to.
fn encode_and_compare<C: Codec, S: Serialize, T: Serialize + DeserializeOwned>(
    value: &S,
    out: &mut Vec<u8>,
) -> Result<T, Error> {
    // First, because its depth limit keeps the formats from overflowing the stack: they have none when
    // writing.
    let expected = canonical_bytes(Order::AsSerialized, value)?;
    let start = out.len();
    C::write(value, out)?;
    let decoded: T = decode::<C, T>(out.get(start..).unwrap_or_default())
        .map_err(|error| changed::<C>().with_source(error))?;
    if expected != canonical_bytes(Order::AsSerialized, &decoded)? && !same_unordered(value, &decoded)? {
        return Err(changed::<C>());
    }
    Ok(decoded)
}

/// Whether `T` is a number, text or bytes, and no code of the user decides how it is written.
fn is_scalar_or_bytes<T>() -> bool {
    macro_rules! is_one_of {
        ($($ty:ty),*) => { [$(TypeId::of::<$ty>()),*].contains(&typeid::of::<T>()) };
    }
    is_one_of! {
        bool, u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize, f32, f64, char,
        String, Box<str>, Arc<str>, Vec<u8>, Box<[u8]>, Arc<[u8]>, Bytes
    }
}

/// Whether two values are the same up to the order of elements. So are equal hash sets that [`canonical`]
/// doesn't recognize.
///
/// A payload that omits a field can't pass: decoding has to read that field, so a decoded value with the same
/// elements in any order would have taken more bytes than were written.
fn same_unordered(value: &impl Serialize, decoded: &impl Serialize) -> Result<bool, Error> {
    Ok(canonical_bytes(Order::Sorted, value)? == canonical_bytes(Order::Sorted, decoded)?)
}

fn canonical_bytes<T: Serialize>(order: Order, value: &T) -> Result<Buffer, Error> {
    let mut bytes = Buffer::new();
    canonical::encode_ordered(order, value, &mut bytes)
        .map_err(|error| Error::new(ErrorKind::Encode, error.to_string()))?;
    Ok(bytes)
}

fn changed<C: Codec>() -> Error {
    let (cause, other) = if C::SELF_DESCRIBING {
        ("nested options, NaN in JSON, or an untagged enum", "bincode")
    } else {
        ("a field omitted by `skip_serializing_if`", "msgpack")
    };
    let name = C::NAME;
    Error::new(
        ErrorKind::Encode,
        format!("{name} would return a changed value, perhaps because of {cause}: try `codec = \"{other}\"`"),
    )
}

fn unequal() -> Error {
    let cause = "`#[serde(skip)]` or a lossy conversion";
    let way_out = "serialize everything that its `PartialEq` compares";
    Error::new(
        ErrorKind::Encode,
        format!("the decoded value would not equal the original, perhaps because of {cause}: {way_out}"),
    )
}

#[cfg(test)]
mod tests;
