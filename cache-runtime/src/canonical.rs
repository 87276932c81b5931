//! Canonical, injective bytes of any [`Serialize`] value: equal values give equal bytes, different values different
//! ones. They identify a call's arguments, and they compare a value with what its stored form decodes to.
//!
//! Owns the byte format below. It is written and compared, never read back, and knows nothing of functions, keys or
//! backends. Every value opens with a tag of one byte, so that `5u64` and `5i64` differ even behind an untagged enum,
//! and is followed by contents of fixed or stated length, or by values up to [`tag::END`], which opens no value:
//! so no value is a prefix of another, and values can be written one after another.
//!
//! | value | after the tag |
//! |---|---|
//! | number, `bool`, `char` | fixed width, little-endian; floats by their bits |
//! | string, bytes, name | length as [LEB128](https://en.wikipedia.org/wiki/LEB128), then the bytes |
//! | sequence, tuple | elements, `END` |
//! | map, hash set | entries, sorted by their bytes, `END` |
//! | struct | name, then per field `FIELD`, name, value, or `SKIP`, name; `END` |
//! | enum variant | enum name, index, variant name, then as the struct, tuple or value that it holds |
//!
//! What serde does not show can't be told apart: skipped fields, two variants of an untagged enum that look the same,
//! and the order of a map that remembers one. A hash set is known by the name of its type, because serde shows it as a
//! sequence; behind `#[serde(transparent)]` or `with` that name is hidden, and equal sets may then differ in bytes.

use std::any::type_name;

/// Serde's own error that is nothing but its text.
pub(crate) use serde::de::value::Error as Refusal;
use serde::ser::{self, Error as _, Serialize};
use smallvec::SmallVec;

use crate::error::{Error, ErrorKind};

/// Long enough for the arguments of most calls, so that their key is made without allocating.
pub(crate) type Buffer = SmallVec<[u8; 128]>;

/// How many values may lie within one another. Decoding stops at the same depth (`depth.rs`), so that what is stored
/// can be read; both keep a deep value from overflowing the stack.
pub(crate) const MAX_DEPTH: usize = 128;

/// In which order the elements of a sequence are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As serde shows them, hash sets apart.
    Shown,
    /// Sorted. Values equal but for the iteration order of hash sets that serde hides then have equal bytes; lists
    /// that differ in nothing but their order have so, too.
    Any,
}

/// Appends the canonical bytes of `value`, an argument.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Buffer) -> Result<(), Error> {
    encode_in(Order::Shown, value, out).map_err(|refusal| Error::new(ErrorKind::Key, refusal.to_string()))
}

/// The same for a value that need not be an argument.
#[inline]
pub(crate) fn encode_in<T: Serialize + ?Sized>(order: Order, value: &T, out: &mut Buffer) -> Result<(), Refusal> {
    Encoder { out, order, room: MAX_DEPTH, type_name: "" }.value(value)
}

/// The first byte of every value. A change to any of these changes every key: `tests::golden` holds them.
mod tag {
    pub(super) const END: u8 = 0;
    pub(super) const BOOL: u8 = 1;
    pub(super) const U8: u8 = 2;
    pub(super) const U16: u8 = 3;
    pub(super) const U32: u8 = 4;
    pub(super) const U64: u8 = 5;
    pub(super) const U128: u8 = 6;
    pub(super) const I8: u8 = 7;
    pub(super) const I16: u8 = 8;
    pub(super) const I32: u8 = 9;
    pub(super) const I64: u8 = 10;
    pub(super) const I128: u8 = 11;
    pub(super) const F32: u8 = 12;
    pub(super) const F64: u8 = 13;
    pub(super) const CHAR: u8 = 14;
    pub(super) const STR: u8 = 15;
    pub(super) const BYTES: u8 = 16;
    pub(super) const NONE: u8 = 17;
    pub(super) const SOME: u8 = 18;
    pub(super) const UNIT: u8 = 19;
    pub(super) const UNIT_STRUCT: u8 = 20;
    pub(super) const UNIT_VARIANT: u8 = 21;
    pub(super) const NEWTYPE_STRUCT: u8 = 22;
    pub(super) const NEWTYPE_VARIANT: u8 = 23;
    pub(super) const SEQ: u8 = 24;
    pub(super) const SET: u8 = 25;
    pub(super) const TUPLE: u8 = 26;
    pub(super) const TUPLE_STRUCT: u8 = 27;
    pub(super) const TUPLE_VARIANT: u8 = 28;
    pub(super) const MAP: u8 = 29;
    pub(super) const STRUCT: u8 = 30;
    pub(super) const STRUCT_VARIANT: u8 = 31;
    pub(super) const FIELD: u8 = 32;
    pub(super) const SKIP: u8 = 33;
}

struct Encoder<'b> {
    out: &'b mut Buffer,
    order: Order,
    /// How many more levels may open.
    room: usize,
    /// The type of the value being written: all there is to know a hash set by. Read only where a sequence opens,
    /// so that other values pay for no more than its storing.
    type_name: &'static str,
}

type Done = Result<(), Refusal>;

impl Encoder<'_> {
    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        let Some(room) = self.room.checked_sub(1) else {
            return Err(Refusal::custom(format_args!("more than {MAX_DEPTH} values within one another")));
        };
        self.room = room;
        self.type_name = type_name::<T>();
        value.serialize(&mut *self)?;
        self.room += 1;
        Ok(())
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Done {
        self.out.reserve(1 + N);
        self.out.push(tag);
        for byte in bytes { self.out.push(byte); }
        Ok(())
    }

    #[inline]
    fn counted(&mut self, bytes: &[u8]) {
        let mut rest = bytes.len();
        while rest > 0x7F {
            self.out.push((rest & 0x7F) as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push((rest & 0x7F) as u8);
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn named(&mut self, tag: u8, name: &str) {
        self.out.push(tag);
        self.counted(name.as_bytes());
    }

    /// The enum's name too: an untagged enum may hold two enums whose first variants share index and name.
    fn variant(&mut self, tag: u8, name: &str, index: u32, variant: &str) {
        self.named(tag, name);
        self.out.extend_from_slice(&index.to_le_bytes());
        self.counted(variant.as_bytes());
    }
}

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
        self.named(tag::STR, value);
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.out.push(tag::BYTES);
        self.counted(value);
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
        self.named(tag::UNIT_STRUCT, name);
        Ok(())
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Done {
        self.variant(tag::UNIT_VARIANT, name, index, variant);
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Done {
        self.named(tag::NEWTYPE_STRUCT, name);
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
        let is_set = is_hash_set(self.type_name);
        self.out.push(if is_set { tag::SET } else { tag::SEQ });
        if is_set || self.order == Order::Any { self.open_sorted() } else { self.open() }
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Compound<'e, 'b>, Refusal> {
        self.out.push(tag::TUPLE);
        self.open()
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Compound<'e, 'b>, Refusal> {
        self.named(tag::TUPLE_STRUCT, name);
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
        self.out.push(tag::MAP);
        self.open_sorted()
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Compound<'e, 'b>, Refusal> {
        self.named(tag::STRUCT, name);
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
struct Compound<'e, 'b> {
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
        self.encoder.named(tag::FIELD, name);
        self.encoder.value(value)
    }

    fn skipped(&mut self, name: &str) -> Done {
        self.encoder.named(tag::SKIP, name);
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

/// Where the parts of a set or map lie in the buffer: one after another from `start`, up to each of `ends`.
struct Sorted {
    start: usize,
    ends: SmallVec<[usize; 8]>,
}

impl Sorted {
    /// Sorts the parts. As no value is a prefix of another, entries sorted as a whole are sorted by key.
    fn apply(&self, out: &mut Buffer) {
        if self.ends.len() < 2 {
            return;
        }
        let written = Buffer::from_slice(out.get(self.start..).unwrap_or_default());
        let mut begin = 0;
        let mut parts: SmallVec<[&[u8]; 8]> = SmallVec::with_capacity(self.ends.len());
        for &end in &self.ends {
            parts.extend(written.get(begin..end - self.start));
            begin = end - self.start;
        }
        parts.sort_unstable();
        out.truncate(self.start);
        for part in parts {
            out.extend_from_slice(part);
        }
    }
}

/// Whether a type of this name is a set that iterates in no order of its own. Two sets that are equal would otherwise
/// have different bytes. A set of an unknown name only loses hits; a list taken for a set would share entries, so the
/// names are matched in full.
fn is_hash_set(type_name: &str) -> bool {
    const TRANSPARENT: [&str; 6] =
        ["&mut ", "&", "alloc::boxed::Box<", "alloc::sync::Arc<", "alloc::rc::Rc<", "alloc::borrow::Cow<"];
    let mut name = type_name;
    while let Some(inner) = TRANSPARENT.iter().find_map(|&wrapper| name.strip_prefix(wrapper)) {
        name = inner;
    }
    let path = name.split('<').next().unwrap_or(name);
    matches!(path.rsplit("::").next(), Some("HashSet" | "AHashSet" | "DashSet"))
}

#[cfg(test)]
mod tests;
