//! A value to its payload and back.
//!
//! Owns the formats and two promises: a payload is made only of a value that it decodes to again, and decoding is
//! bounded (`depth.rs`). Knows nothing of headers, keys or backends.

pub(crate) mod bounded;
pub(crate) mod byte_seq;
pub(crate) mod canonical;
pub(crate) mod shape;

use std::any::TypeId;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use self::bounded::Budget;
#[cfg(any(feature = "bincode", feature = "postcard"))]
use self::byte_seq::Bulk;
use self::canonical::{Buffer, Order};
use self::shape::Shape;
use crate::error::{Error, ErrorKind};

/// The codec of the plain cache: the first that is compiled in.
#[cfg(feature = "bincode")]
pub(crate) type DefaultCodec = Bincode;
/// The codec of the plain cache: the first that is compiled in.
#[cfg(all(feature = "postcard", not(feature = "bincode")))]
pub(crate) type DefaultCodec = Postcard;
/// The codec of the plain cache: the first that is compiled in.
#[cfg(all(feature = "msgpack", not(any(feature = "bincode", feature = "postcard"))))]
pub(crate) type DefaultCodec = MsgPack;
/// The codec of the plain cache: the first that is compiled in.
#[cfg(all(feature = "json", not(any(feature = "bincode", feature = "postcard", feature = "msgpack"))))]
pub(crate) type DefaultCodec = Json;

/// Room for the payload of a small value, so that writing it allocates once.
pub(crate) const ROOM: usize = 128;

/// A format for values. It only writes and reads; what is common to all is in the functions of this module.
pub trait Codec: 'static {
    /// As the attribute spells it.
    const NAME: &'static str;
    /// As stored entries spell it; never to be given to another format.
    const ID: u8;
    /// Whether the bytes name fields and tell numbers from strings. If not they can be read only by a type of the
    /// shape that wrote them.
    const SELF_DESCRIBING: bool;

    /// Appends `value`.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] where the format can't express the value.
    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Reads the value that `seed` asks for. Bounds are the seed's business.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] where the bytes are not such a value.
    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error>;
}

/// Positional and compact: the default.
#[cfg(feature = "bincode")]
pub struct Bincode;

#[cfg(feature = "bincode")]
impl Codec for Bincode {
    const NAME: &'static str = "bincode";
    const ID: u8 = 1;
    const SELF_DESCRIBING: bool = false;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        use bincode::Options as _;
        bincode::DefaultOptions::new().serialize_into(out, &Bulk(value)).map_err(unwritable)
    }

    /// `DefaultOptions` means varints, no bytes left over, and lengths of strings held against the slice.
    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error> {
        use bincode::Options as _;
        bincode::DefaultOptions::new().deserialize_seed(seed, bytes).map_err(unreadable)
    }
}

/// Positional and compact, with a written specification.
#[cfg(feature = "postcard")]
pub struct Postcard;

#[cfg(feature = "postcard")]
impl Codec for Postcard {
    const NAME: &'static str = "postcard";
    const ID: u8 = 2;
    const SELF_DESCRIBING: bool = false;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        postcard::to_io(&Bulk(value), out).map(drop).map_err(unwritable)
    }

    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error> {
        let mut deserializer = postcard::Deserializer::from_bytes(bytes);
        let value = seed.deserialize(&mut deserializer).map_err(unreadable)?;
        match deserializer.finalize() {
            Ok([]) => Ok(value),
            Ok(_) => Err(Error::new(ErrorKind::Protocol, "bytes left over behind the value")),
            Err(error) => Err(unreadable(error)),
        }
    }
}

/// Self-describing and compact: for untagged, flattened and evolving types.
#[cfg(feature = "msgpack")]
pub struct MsgPack;

#[cfg(feature = "msgpack")]
impl Codec for MsgPack {
    const NAME: &'static str = "msgpack";
    const ID: u8 = 3;
    const SELF_DESCRIBING: bool = true;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        value.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map()).map_err(unwritable)
    }

    /// rmp-serde doesn't tell how far it read; bytes left over are found by the entry's checksum alone.
    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes)).map_err(unreadable)
    }
}

/// Self-describing, readable with the server's own tools.
#[cfg(feature = "json")]
pub struct Json;

#[cfg(feature = "json")]
impl Codec for Json {
    const NAME: &'static str = "json";
    const ID: u8 = 4;
    const SELF_DESCRIBING: bool = true;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        serde_json::to_writer(out, value).map_err(unwritable)
    }

    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = seed.deserialize(&mut deserializer).map_err(unreadable)?;
        deserializer.end().map_err(unreadable)?;
        Ok(value)
    }
}

/// The shape that stored values of `T` have. Where the bytes describe themselves the type's name is enough.
pub(crate) fn shape<C: Codec, T: DeserializeOwned>() -> Result<Shape, Error> {
    if C::SELF_DESCRIBING { Ok(shape::named::<T>(C::NAME)) } else { shape::of::<T>() }
}

/// The value of a payload, whoever wrote it.
pub(crate) fn decode<C: Codec, T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    C::read(bytes, Budget::of(bytes.len(), !C::SELF_DESCRIBING).seed::<T>())
}

/// Appends the payload of `value`, having decoded it and found it to be the value.
///
/// A positional format swaps or shifts fields in silence where `skip_serializing_if` left one out, so nothing less
/// tells. The self-describing formats are held to the same: MessagePack and JSON turn `Some(None)` into `None`, JSON
/// turns `NaN` into `null`, and untagged enums may come back as another variant. It costs a decoding, next to a run
/// of the body and a round trip. Only what can't come back changed is spared it.
///
/// All of that compares what serde shows. `#[serde(skip)]` and lossy conversions leave out what only `equal` sees, where the
/// type has one; what is not equal to itself, such as NaN, is not asked.
///
/// On an error `out` may hold part of the payload.
pub(crate) fn encode_checked<C, T>(
    value: &T,
    equal: Option<fn(&T, &T) -> bool>,
    out: &mut Vec<u8>,
) -> Result<(), Error>
where
    C: Codec,
    T: Serialize + DeserializeOwned,
{
    // In a positional format it is its bits, or its length and its bytes: nothing is left out, and nothing nested.
    if !C::SELF_DESCRIBING && is_plain::<T>() {
        return C::write(value, out);
    }
    // First, because its limit of depth keeps the formats, which have none, from overflowing the stack.
    let shown = canonical_bytes(Order::Shown, value)?;
    let start = out.len();
    C::write(value, out)?;
    let decoded: T = decode::<C, T>(out.get(start..).unwrap_or_default())
        .map_err(|error| changed::<C>().with_source(error))?;
    let same = shown == canonical_bytes(Order::Shown, &decoded)? || same_unordered(value, &decoded)?;
    if !same {
        return Err(changed::<C>());
    }
    match equal.is_none_or(|equal| equal(&decoded, value) || !equal(value, value)) {
        true => Ok(()),
        false => Err(unequal()),
    }
}

/// Whether values of this type are a number, text or bytes, and nothing of the user's decides how they are written.
fn is_plain<T>() -> bool {
    macro_rules! is_one_of {
        ($($ty:ty),*) => { [$(TypeId::of::<$ty>()),*].contains(&typeid::of::<T>()) };
    }
    is_one_of! {
        bool, u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize, f32, f64, char,
        String, Box<str>, Arc<str>, Vec<u8>, Box<[u8]>, Arc<[u8]>, Bytes
    }
}

/// Whether two values are the same but for the order of elements, as hash sets out of `canonical`'s sight are.
///
/// A payload with a field left out can't pass for this: decoding it has to read the field, so the decoded value, had
/// it the same elements in any order, would have taken more bytes than were written.
fn same_unordered<T: Serialize>(value: &T, decoded: &T) -> Result<bool, Error> {
    Ok(canonical_bytes(Order::Any, value)? == canonical_bytes(Order::Any, decoded)?)
}

fn canonical_bytes<T: Serialize>(order: Order, value: &T) -> Result<Buffer, Error> {
    let mut bytes = Buffer::new();
    canonical::encode_in(order, value, &mut bytes)
        .map_err(|refusal| Error::new(ErrorKind::Encode, refusal.to_string()))?;
    Ok(bytes)
}

fn changed<C: Codec>() -> Error {
    let (cause, other) = if C::SELF_DESCRIBING {
        ("nested options, NaN in JSON, or an untagged enum may be why", "bincode")
    } else {
        ("a field left out by `skip_serializing_if` may be why", "msgpack")
    };
    let name = C::NAME;
    Error::new(
        ErrorKind::Encode,
        format!("its {name} bytes don't decode to it; {cause}: try `codec = \"{other}\"`"),
    )
}

fn unequal() -> Error {
    let why = "`#[serde(skip)]` or a lossy conversion may be why";
    let way_out = "serialise all that its `PartialEq` compares";
    Error::new(ErrorKind::Encode, format!("what its bytes decode to is not equal to it; {why}: {way_out}"))
}

#[cfg(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json"))]
fn unwritable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Encode, "the format can't express it").with_source(error)
}

#[cfg(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json"))]
fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Protocol, "the payload doesn't decode").with_source(error)
}

#[cfg(test)]
mod tests;
