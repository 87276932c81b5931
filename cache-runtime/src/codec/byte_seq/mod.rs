//! Sequences of bytes, handled as whole slices.
//!
//! Serde passes a `Vec<u8>`, a `[u8]`, and what holds one (`Box`, `Arc`, `Cow`) element by element, which
//! takes 40 times as long as a copy. This module recognizes them at both ends: a `Vec<u8>` before it is
//! serialized, other sequences of `u8` when they are collected, and serde's own visitor of `Vec<u8>` when it
//! deserializes. Positional formats write a sequence of bytes like bytes, so stored bytes are the same either
//! way.
//!
//! Knows serde only. Recognizes types by their `TypeId` without `'static` (crates `typeid` and `castaway`).

#[cfg(any(feature = "bincode", feature = "postcard"))]
mod bulk;

use std::any::{TypeId, type_name};
use std::fmt;

use castaway::cast;
use serde::de::value::Error as SerdeError;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::{Error as _, Impossible, Serialize, Serializer};

#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(crate) use bulk::Bulk;

/// The bytes of `value` if it is a `Vec<u8>`.
#[inline]
pub(crate) fn as_bytes<T: ?Sized>(value: &T) -> Option<&[u8]> {
    cast!(value, &Vec<u8>).ok().map(Vec::as_slice)
}

/// The elements as bytes if they are `u8` or `&u8`, otherwise the elements.
#[inline]
pub(crate) fn collect_bytes<I: IntoIterator>(elements: I) -> Result<Vec<u8>, I>
where
    I::Item: Serialize,
{
    if !is_byte::<I::Item>() {
        return Err(elements);
    }
    // A byte can't fail to serialize.
    Ok(elements.into_iter().map(|element| element.serialize(ByteSerializer).unwrap_or_default()).collect())
}

#[inline]
fn is_byte<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    id == TypeId::of::<u8>() || id == TypeId::of::<&u8>()
}

/// Reads all bytes of a sequence at once if `visitor` is that of serde's impl for `Vec<u8>`.
///
/// # Errors
/// The outer error returns both arguments unused: read the sequence as usual. The inner one is the
/// deserializer's.
#[inline]
pub(crate) fn read_vec<'de, D: Deserializer<'de>, V: Visitor<'de>>(
    deserializer: D,
    visitor: V,
) -> Result<Result<V::Value, D::Error>, (D, V)> {
    if typeid::of::<V::Value>() != TypeId::of::<Vec<u8>>() || !is_serde_vec_visitor(type_name::<V>()) {
        return Err((deserializer, visitor));
    }
    let mut value = None::<V::Value>;
    let Ok(target) = cast!(&mut value, &mut Option<Vec<u8>>) else { return Err((deserializer, visitor)) };
    match deserializer.deserialize_bytes(BytesVisitor) {
        Ok(bytes) => *target = Some(bytes),
        Err(error) => return Ok(Err(error)),
    }
    Ok(value.ok_or_else(|| de::Error::custom("no bytes")))
}

/// Whether this is the visitor in serde's impl for `Vec<u8>`. Other visitors may turn elements into anything.
fn is_serde_vec_visitor(visitor: &str) -> bool {
    let modules =
        ["serde_core::de::impls::", "serde::de::impls::", "<serde_core::de::impls::", "<serde::de::impls::"];
    modules.iter().any(|module| visitor.starts_with(module)) && visitor.ends_with("::VecVisitor<u8>")
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

/// Serializes a `u8` to itself, and refuses everything else.
struct ByteSerializer;

type NotAByte = Impossible<u8, SerdeError>;

macro_rules! refused {
    ($($method:ident($($type:ty),*) -> $output:ty;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<$output, SerdeError> {
            Err(not_a_byte())
        }
    )*};
}

fn not_a_byte() -> SerdeError {
    SerdeError::custom("not a byte")
}

impl Serializer for ByteSerializer {
    type Ok = u8;
    type Error = SerdeError;
    type SerializeSeq = NotAByte;
    type SerializeTuple = NotAByte;
    type SerializeTupleStruct = NotAByte;
    type SerializeTupleVariant = NotAByte;
    type SerializeMap = NotAByte;
    type SerializeStruct = NotAByte;
    type SerializeStructVariant = NotAByte;

    #[inline]
    fn serialize_u8(self, byte: u8) -> Result<u8, SerdeError> {
        Ok(byte)
    }

    refused! {
        serialize_bool(bool) -> u8;
        serialize_i8(i8) -> u8;
        serialize_i16(i16) -> u8;
        serialize_i32(i32) -> u8;
        serialize_i64(i64) -> u8;
        serialize_u16(u16) -> u8;
        serialize_u32(u32) -> u8;
        serialize_u64(u64) -> u8;
        serialize_f32(f32) -> u8;
        serialize_f64(f64) -> u8;
        serialize_char(char) -> u8;
        serialize_str(&str) -> u8;
        serialize_bytes(&[u8]) -> u8;
        serialize_none() -> u8;
        serialize_unit() -> u8;
        serialize_unit_struct(&'static str) -> u8;
        serialize_unit_variant(&'static str, u32, &'static str) -> u8;
        serialize_seq(Option<usize>) -> NotAByte;
        serialize_tuple(usize) -> NotAByte;
        serialize_tuple_struct(&'static str, usize) -> NotAByte;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> NotAByte;
        serialize_map(Option<usize>) -> NotAByte;
        serialize_struct(&'static str, usize) -> NotAByte;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> NotAByte;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<u8, SerdeError> {
        Err(not_a_byte())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<u8, SerdeError> {
        Err(not_a_byte())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<u8, SerdeError> {
        Err(not_a_byte())
    }
}

#[cfg(test)]
mod tests;
