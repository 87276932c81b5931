//! Sequences of bytes, taken as bytes.
//!
//! Serde shows a `Vec<u8>`, a `[u8]` and what holds one (`Box`, `Arc`, `Cow`) element by element, which takes 40 times
//! as long as a copy. Both ends of that are caught here: a `Vec<u8>` before it is shown, what else is collected into a
//! sequence of `u8`, and serde's own visitor of `Vec<u8>`. Positional formats write a sequence of bytes like bytes, so
//! nothing stored looks different.
//!
//! Knows serde only. That a generic type is `Vec<u8>` is told by its identity, which needs no `'static`.

#[cfg(any(feature = "bincode", feature = "postcard"))]
mod bulk;

use std::any::{TypeId, type_name};
use std::fmt;

use castaway::cast;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::{Error as _, Impossible, Serialize, Serializer};

use crate::codec::canonical::Refusal;

#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(crate) use bulk::Bulk;

/// The bytes of a `Vec<u8>`, which are at hand.
#[inline]
pub(crate) fn of<T: ?Sized>(value: &T) -> Option<&[u8]> {
    cast!(value, &Vec<u8>).ok().map(Vec::as_slice)
}

/// The elements of a sequence, if they are bytes.
#[inline]
pub(crate) fn collect<I: IntoIterator>(elements: I) -> Result<Vec<u8>, I>
where
    I::Item: Serialize,
{
    if !is_byte::<I::Item>() {
        return Err(elements);
    }
    // None is refused: they are bytes.
    Ok(elements.into_iter().map(|element| element.serialize(Byte).unwrap_or_default()).collect())
}

#[inline]
fn is_byte<T: ?Sized>() -> bool {
    let id = typeid::of::<T>();
    id == TypeId::of::<u8>() || id == TypeId::of::<&u8>()
}

/// Reads the bytes that `visitor` would be shown one by one, if they are to become a `Vec<u8>` by serde's own rules.
///
/// # Errors
/// Those of the deserializer; outside, both arguments, for the usual way.
#[inline]
pub(crate) fn read<'de, D: Deserializer<'de>, V: Visitor<'de>>(
    deserializer: D,
    visitor: V,
) -> Result<Result<V::Value, D::Error>, (D, V)> {
    if typeid::of::<V::Value>() != TypeId::of::<Vec<u8>>() || !is_serdes_own(type_name::<V>()) {
        return Err((deserializer, visitor));
    }
    let mut value = None::<V::Value>;
    let Ok(place) = cast!(&mut value, &mut Option<Vec<u8>>) else { return Err((deserializer, visitor)) };
    match deserializer.deserialize_bytes(Whole) {
        Ok(bytes) => *place = Some(bytes),
        Err(error) => return Ok(Err(error)),
    }
    Ok(value.ok_or_else(|| de::Error::custom("no bytes")))
}

/// Whether this is the visitor of the `Deserialize` impl of `Vec`: others may make of elements what they like.
fn is_serdes_own(visitor: &str) -> bool {
    let home =
        ["serde_core::de::impls::", "serde::de::impls::", "<serde_core::de::impls::", "<serde::de::impls::"];
    home.iter().any(|home| visitor.starts_with(home)) && visitor.ends_with("::VecVisitor<u8>")
}

/// Takes bytes as they are.
struct Whole;

impl Visitor<'_> for Whole {
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

/// A serializer of one byte to itself.
struct Byte;

type Never = Impossible<u8, Refusal>;

macro_rules! refused {
    ($($method:ident($($type:ty),*) -> $output:ty;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<$output, Refusal> {
            Err(no_byte())
        }
    )*};
}

fn no_byte() -> Refusal {
    Refusal::custom("not a byte")
}

impl Serializer for Byte {
    type Ok = u8;
    type Error = Refusal;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    #[inline]
    fn serialize_u8(self, byte: u8) -> Result<u8, Refusal> {
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
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct(&'static str, usize) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<u8, Refusal> {
        Err(no_byte())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<u8, Refusal> {
        Err(no_byte())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<u8, Refusal> {
        Err(no_byte())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::{BTreeSet, VecDeque};
    use std::sync::Arc;

    use serde::de::{DeserializeOwned, SeqAccess};
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::codec::{self, Codec};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Page {
        status: u16,
        body: Vec<u8>,
        parts: Vec<Option<Vec<u8>>>,
        shared: Arc<[u8]>,
        boxed: Box<[u8]>,
        lent: Cow<'static, [u8]>,
        queue: VecDeque<u8>,
        set: BTreeSet<u8>,
        signed: Vec<i8>,
        four: [u8; 4],
    }

    fn page() -> Page {
        let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
        Page {
            status: 200,
            body: bytes.clone(),
            parts: vec![None, Some(vec![]), Some(vec![1, 2, 3])],
            shared: bytes.clone().into(),
            boxed: Box::new([0xff; 300]),
            lent: Cow::Owned(bytes),
            queue: [7; 200].into(),
            set: [200, 1, 100].into(),
            signed: vec![-1; 300],
            four: [1, 2, 3, 250],
        }
    }

    /// The bytes of the format and ours are the same, and each reads the other's.
    fn agrees<C: Codec, T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: &T, plain: &[u8]) {
        let mut bytes = Vec::new();
        codec::encode_checked::<C, T>(value, None, &mut bytes).unwrap();
        assert_eq!(bytes, plain);
        assert_eq!(&codec::decode::<C, T>(plain).unwrap(), value);
        for end in 0..plain.len().min(400) {
            assert!(codec::decode::<C, T>(&plain[..end]).is_err());
        }
    }

    #[test]
    #[cfg(feature = "bincode")]
    fn stored_bytes_are_bincodes_own() {
        use bincode::Options as _;
        let plain = bincode::DefaultOptions::new().serialize(&page()).unwrap();
        agrees::<codec::Bincode, _>(&page(), &plain);
        let plain = bincode::DefaultOptions::new().serialize(&page().body).unwrap();
        agrees::<codec::Bincode, _>(&page().body, &plain);
    }

    #[test]
    #[cfg(feature = "postcard")]
    fn stored_bytes_are_postcards_own() {
        agrees::<codec::Postcard, _>(&page(), &postcard::to_stdvec(&page()).unwrap());
    }

    /// Whether serde's visitor is still known: without it all works, and slowly.
    #[test]
    fn serdes_visitor_is_known() {
        struct Spy;
        impl<'de> Deserializer<'de> for Spy {
            type Error = Refusal;
            fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
                Err(de::Error::custom(type_name::<V>()))
            }
            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
                unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
            }
        }
        for name in [Vec::<u8>::deserialize(Spy).unwrap_err(), Arc::<[u8]>::deserialize(Spy).unwrap_err()] {
            assert!(is_serdes_own(&name.to_string()), "{name}");
        }
        let other = Vec::<u16>::deserialize(Spy).unwrap_err();
        assert!(!is_serdes_own(&other.to_string()), "{other}");
    }

    /// Stored doubled, and halved when read.
    #[derive(Debug, PartialEq)]
    struct Halves(Vec<u8>);

    impl Serialize for Halves {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().map(|byte| byte * 2))
        }
    }

    impl<'de> Deserialize<'de> for Halves {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Halving;
            impl<'de> Visitor<'de> for Halving {
                type Value = Vec<u8>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
                    let mut bytes = Vec::new();
                    while let Some(byte) = sequence.next_element::<u8>()? {
                        bytes.push(byte / 2);
                    }
                    Ok(bytes)
                }
            }
            deserializer.deserialize_seq(Halving).map(Halves)
        }
    }

    #[test]
    #[cfg(feature = "bincode")]
    fn other_visitors_see_each_element() {
        agrees::<codec::Bincode, _>(&Halves(vec![1, 2, 3]), &[3, 2, 4, 6]);
    }

    #[test]
    fn only_bytes_are_taken() {
        assert_eq!(collect(&[1_u8, 2]).unwrap(), [1, 2]);
        assert_eq!(collect(vec![1_u8, 2]).unwrap(), [1, 2]);
        assert!(collect(&[1_i8]).is_err());
        assert!(collect(&[true]).is_err());
        assert!(collect(&[Some(1_u8)]).is_err());
    }
}
