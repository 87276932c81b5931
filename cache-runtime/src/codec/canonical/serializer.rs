//! The [`Serializer`](ser::Serializer) of canonical bytes: the tag and the parts of each kind of value.

use std::any::type_name;

use serde::ser::{self, Serialize};
use smallvec::SmallVec;

use crate::codec::byte_seq;

use super::{Encoder, Entries, Order, SerdeError, SerdeResult, is_hash_map, is_hash_set, tag};

impl<'b> Encoder<'b> {
    /// Opens a value that holds others; its tag is written.
    #[inline]
    fn open(&mut self) -> SerdeResult<Compound<'_, 'b>> {
        Ok(Compound { encoder: self, unsorted: None })
    }

    /// Opens a sequence, set or map. Its entries are sorted at the end if it is hashed.
    fn open_collection(&mut self, tag: u8, is_hashed: bool) -> SerdeResult<Compound<'_, 'b>> {
        self.out.push(tag);
        let is_sorted = is_hashed || self.order == Order::Sorted;
        let unsorted = is_sorted.then(|| Entries { start: self.out.len(), ends: SmallVec::new() });
        Ok(Compound { encoder: self, unsorted })
    }

    fn open_sequence(&mut self, is_set: bool) -> SerdeResult<Compound<'_, 'b>> {
        self.open_collection(if is_set { tag::SET } else { tag::SEQ }, is_set)
    }
}

macro_rules! fixed {
    ($($method:ident($type:ty) = $tag:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> SerdeResult {
            self.fixed(tag::$tag, value.to_le_bytes())
        }
    )*};
}

impl<'e, 'b> ser::Serializer for &'e mut Encoder<'b> {
    type Ok = ();
    type Error = SerdeError;
    type SerializeSeq = Compound<'e, 'b>;
    type SerializeTuple = Compound<'e, 'b>;
    type SerializeTupleStruct = Compound<'e, 'b>;
    type SerializeTupleVariant = Compound<'e, 'b>;
    type SerializeMap = Compound<'e, 'b>;
    type SerializeStruct = Compound<'e, 'b>;
    type SerializeStructVariant = Compound<'e, 'b>;

    fixed! {
        serialize_u8(u8) = U8;
        serialize_u16(u16) = U16;
        serialize_u32(u32) = U32;
        serialize_u64(u64) = U64;
        serialize_u128(u128) = U128;
        serialize_i8(i8) = I8;
        serialize_i16(i16) = I16;
        serialize_i32(i32) = I32;
        serialize_i64(i64) = I64;
        serialize_i128(i128) = I128;
        serialize_f32(f32) = F32;
        serialize_f64(f64) = F64;
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> SerdeResult {
        self.fixed(tag::BOOL, [value.into()])
    }

    #[inline]
    fn serialize_char(self, value: char) -> SerdeResult {
        self.fixed(tag::CHAR, u32::from(value).to_le_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> SerdeResult {
        self.length_prefixed(tag::STR, value.as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> SerdeResult {
        self.length_prefixed(tag::BYTES, value);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> SerdeResult {
        self.fixed(tag::NONE, [])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> SerdeResult {
        self.out.push(tag::SOME);
        self.value(value)
    }

    #[inline]
    fn serialize_unit(self) -> SerdeResult {
        self.fixed(tag::UNIT, [])
    }

    fn serialize_unit_struct(self, name: &'static str) -> SerdeResult {
        self.length_prefixed(tag::UNIT_STRUCT, name.as_bytes());
        Ok(())
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> SerdeResult {
        self.variant(tag::UNIT_VARIANT, name, index, variant);
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> SerdeResult {
        self.length_prefixed(tag::NEWTYPE_STRUCT, name.as_bytes());
        self.value(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> SerdeResult {
        self.variant(tag::NEWTYPE_VARIANT, name, index, variant);
        self.value(value)
    }

    fn serialize_seq(self, _: Option<usize>) -> SerdeResult<Compound<'e, 'b>> {
        self.open_sequence(is_hash_set(self.type_name))
    }

    fn collect_seq<I: IntoIterator>(self, elements: I) -> SerdeResult
    where
        I::Item: Serialize,
    {
        // `#[serde(transparent)]` or a lock may hide the type that holds the elements.
        let is_set = is_hash_set(type_name::<I>()) || is_hash_set(self.type_name);
        let keeps_order = self.order == Order::AsSerialized && !is_set;
        let collected = if keeps_order { byte_seq::collect_bytes(elements) } else { Err(elements) };
        let elements = match collected {
            Ok(bytes) => {
                self.length_prefixed(tag::BYTE_SEQ, &bytes);
                return Ok(());
            }
            Err(elements) => elements,
        };
        let mut sequence = self.open_sequence(is_set)?;
        for element in elements {
            sequence.element(&element)?;
        }
        sequence.finish()
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> SerdeResult<Compound<'e, 'b>> {
        self.out.push(tag::TUPLE);
        self.open()
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> SerdeResult<Compound<'e, 'b>> {
        self.length_prefixed(tag::TUPLE_STRUCT, name.as_bytes());
        self.open()
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> SerdeResult<Compound<'e, 'b>> {
        self.variant(tag::TUPLE_VARIANT, name, index, variant);
        self.open()
    }

    fn serialize_map(self, _: Option<usize>) -> SerdeResult<Compound<'e, 'b>> {
        self.open_collection(tag::MAP, is_hash_map(self.type_name))
    }

    fn collect_map<K: Serialize, V: Serialize, I: IntoIterator<Item = (K, V)>>(
        self,
        entries: I,
    ) -> SerdeResult {
        let is_hashed = is_hash_map(type_name::<I>()) || is_hash_map(self.type_name);
        let mut map = self.open_collection(tag::MAP, is_hashed)?;
        for (key, value) in entries {
            map.encoder.value(&key)?;
            map.element(&value)?;
        }
        map.finish()
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> SerdeResult<Compound<'e, 'b>> {
        self.length_prefixed(tag::STRUCT, name.as_bytes());
        self.open()
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> SerdeResult<Compound<'e, 'b>> {
        self.variant(tag::STRUCT_VARIANT, name, index, variant);
        self.open()
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// A value that holds others, from its tag to its `END`.
pub(super) struct Compound<'e, 'b> {
    encoder: &'e mut Encoder<'b>,
    /// The entries to sort at the end, if their order has no meaning.
    unsorted: Option<Entries>,
}

impl Compound<'_, '_> {
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> SerdeResult {
        self.encoder.value(value)?;
        if let Some(entries) = &mut self.unsorted {
            entries.ends.push(self.encoder.out.len());
        }
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> SerdeResult {
        self.encoder.length_prefixed(tag::FIELD, name.as_bytes());
        self.encoder.value(value)
    }

    fn skipped(&mut self, name: &str) -> SerdeResult {
        self.encoder.length_prefixed(tag::SKIP, name.as_bytes());
        Ok(())
    }

    #[inline]
    fn finish(self) -> SerdeResult {
        if let Some(entries) = self.unsorted {
            entries.sort(self.encoder.out);
        }
        self.encoder.fixed(tag::END, [])
    }
}

macro_rules! compound {
    ($($trait:ident { $($item:tt)* })*) => {$(
        impl ser::$trait for Compound<'_, '_> {
            type Ok = ();
            type Error = SerdeError;

            compound!(@item $($item)*);

            #[inline]
            fn end(self) -> SerdeResult {
                self.finish()
            }
        }
    )*};
    (@item element $method:ident) => {
        #[inline]
        fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> SerdeResult {
            self.element(value)
        }
    };
    (@item fields) => {
        #[inline]
        fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> SerdeResult {
            self.field(name, value)
        }

        fn skip_field(&mut self, name: &'static str) -> SerdeResult {
            self.skipped(name)
        }
    };
    (@item entries) => {
        fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> SerdeResult {
            self.encoder.value(key)
        }

        /// Ends the entry.
        fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> SerdeResult {
            self.element(value)
        }
    };
}

compound! {
    SerializeSeq { element serialize_element }
    SerializeTuple { element serialize_element }
    SerializeTupleStruct { element serialize_field }
    SerializeTupleVariant { element serialize_field }
    SerializeStruct { fields }
    SerializeStructVariant { fields }
    SerializeMap { entries }
}
