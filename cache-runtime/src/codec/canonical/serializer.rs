//! The [`Serializer`](ser::Serializer) of canonical bytes: which tag and which parts each kind of value has.

use std::any::type_name;

use serde::ser::{self, Serialize};
use smallvec::SmallVec;

use crate::codec::byte_seq;

use super::{Done, Encoder, Order, Refusal, Sorted, is_hash_map, is_hash_set, tag};

impl<'b> Encoder<'b> {
    /// Opens a value that holds others, after its tag.
    #[inline]
    fn open(&mut self) -> Result<Compound<'_, 'b>, Refusal> {
        Ok(Compound { encoder: self, sorted: None })
    }

    /// The same for contents whose order means nothing.
    fn open_sorted(&mut self) -> Result<Compound<'_, 'b>, Refusal> {
        let sorted = Some(Sorted { start: self.out.len(), ends: SmallVec::new() });
        Ok(Compound { encoder: self, sorted })
    }

    fn open_sequence(&mut self, is_set: bool) -> Result<Compound<'_, 'b>, Refusal> {
        self.open_in_order(if is_set { tag::SET } else { tag::SEQ }, is_set)
    }

    fn open_map(&mut self, is_hashed: bool) -> Result<Compound<'_, 'b>, Refusal> {
        self.open_in_order(tag::MAP, is_hashed)
    }

    /// Opens what has an order of its own unless it is hashed.
    fn open_in_order(&mut self, tag: u8, is_hashed: bool) -> Result<Compound<'_, 'b>, Refusal> {
        self.out.push(tag);
        if is_hashed || self.order == Order::Any { self.open_sorted() } else { self.open() }
    }
}

macro_rules! fixed {
    ($($method:ident($type:ty) = $tag:ident;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Done {
            self.fixed(tag::$tag, value.to_le_bytes())
        }
    )*};
}

impl<'e, 'b> ser::Serializer for &'e mut Encoder<'b> {
    type Ok = ();
    type Error = Refusal;
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
    fn serialize_bool(self, value: bool) -> Done {
        self.fixed(tag::BOOL, [value.into()])
    }

    #[inline]
    fn serialize_char(self, value: char) -> Done {
        self.fixed(tag::CHAR, u32::from(value).to_le_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Done {
        self.counted(tag::STR, value.as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.counted(tag::BYTES, value);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Done {
        self.fixed(tag::NONE, [])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.out.push(tag::SOME);
        self.value(value)
    }

    #[inline]
    fn serialize_unit(self) -> Done {
        self.fixed(tag::UNIT, [])
    }

    fn serialize_unit_struct(self, name: &'static str) -> Done {
        self.counted(tag::UNIT_STRUCT, name.as_bytes());
        Ok(())
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Done {
        self.variant(tag::UNIT_VARIANT, name, index, variant);
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Done {
        self.counted(tag::NEWTYPE_STRUCT, name.as_bytes());
        self.value(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.variant(tag::NEWTYPE_VARIANT, name, index, variant);
        self.value(value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'e, 'b>, Refusal> {
        self.open_sequence(is_hash_set(self.type_name))
    }

    fn collect_seq<I: IntoIterator>(self, elements: I) -> Done
    where
        I::Item: Serialize,
    {
        // The type that holds the elements may lie behind `#[serde(transparent)]` or a lock.
        let is_set = is_hash_set(type_name::<I>()) || is_hash_set(self.type_name);
        let keeps_order = self.order == Order::Shown && !is_set;
        let elements = match if keeps_order { byte_seq::collect(elements) } else { Err(elements) } {
            Ok(bytes) => {
                self.counted(tag::OCTETS, &bytes);
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
    fn serialize_tuple(self, _: usize) -> Result<Compound<'e, 'b>, Refusal> {
        self.out.push(tag::TUPLE);
        self.open()
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Compound<'e, 'b>, Refusal> {
        self.counted(tag::TUPLE_STRUCT, name.as_bytes());
        self.open()
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'e, 'b>, Refusal> {
        self.variant(tag::TUPLE_VARIANT, name, index, variant);
        self.open()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'e, 'b>, Refusal> {
        self.open_map(is_hash_map(self.type_name))
    }

    fn collect_map<K: Serialize, V: Serialize, I: IntoIterator<Item = (K, V)>>(self, entries: I) -> Done {
        let mut map = self.open_map(is_hash_map(type_name::<I>()) || is_hash_map(self.type_name))?;
        for (key, value) in entries {
            map.encoder.value(&key)?;
            map.element(&value)?;
        }
        map.finish()
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Compound<'e, 'b>, Refusal> {
        self.counted(tag::STRUCT, name.as_bytes());
        self.open()
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'e, 'b>, Refusal> {
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
    sorted: Option<Sorted>,
}

impl Compound<'_, '_> {
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.encoder.value(value)?;
        if let Some(sorted) = &mut self.sorted {
            sorted.ends.push(self.encoder.out.len());
        }
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Done {
        self.encoder.counted(tag::FIELD, name.as_bytes());
        self.encoder.value(value)
    }

    fn skipped(&mut self, name: &str) -> Done {
        self.encoder.counted(tag::SKIP, name.as_bytes());
        Ok(())
    }

    #[inline]
    fn finish(self) -> Done {
        if let Some(sorted) = self.sorted {
            sorted.apply(self.encoder.out);
        }
        self.encoder.fixed(tag::END, [])
    }
}

macro_rules! compound {
    ($($trait:ident { $($item:tt)* })*) => {$(
        impl ser::$trait for Compound<'_, '_> {
            type Ok = ();
            type Error = Refusal;

            compound!(@item $($item)*);

            #[inline]
            fn end(self) -> Done {
                self.finish()
            }
        }
    )*};
    (@item element $method:ident) => {
        #[inline]
        fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
            self.element(value)
        }
    };
    (@item fields) => {
        #[inline]
        fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Done {
            self.field(name, value)
        }

        fn skip_field(&mut self, name: &'static str) -> Done {
            self.skipped(name)
        }
    };
    (@item entries) => {
        fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
            self.encoder.value(key)
        }

        /// A value ends its entry.
        fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
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
