//! Canonical, injective bytes of any [`Serialize`] value: equal values have equal bytes, different values
//! different ones. They identify a call's arguments, and compare a value with what its stored form decodes
//! to.
//!
//! Owns the byte format below, which is written and compared but never read back. Knows nothing of functions,
//! keys or backends. Every value starts with a one-byte tag, so that `5u64` and `5i64` differ even behind an
//! untagged enum. Its contents have a fixed or stated length, or are values up to [`tag::END`], which starts
//! no value. So no value is a prefix of another, and values can be written one after another.
//!
//! | value | after the tag |
//! |---|---|
//! | number, `bool`, `char` | fixed width, little-endian; floats by their bits |
//! | string, bytes, name | length as [LEB128](https://en.wikipedia.org/wiki/LEB128), then the bytes |
//! | sequence of `u8` | length, then the bytes |
//! | other sequence, tuple | elements, `END` |
//! | hash map, hash set | entries, sorted by their bytes, `END` |
//! | other map | entries, `END` |
//! | struct | name, then per field `FIELD`, name, value, or `SKIP`, name; `END` |
//! | enum variant | enum name, index, variant name, then as the struct, tuple or value in it |
//!
//! What serde doesn't show can't be told apart: skipped fields, and two variants of an untagged enum that
//! look the same. Serde shows hash maps and sets like maps and sequences that keep an order, so they are
//! recognized by their type names. `with` and `flatten` hide that name, and then equal values may have
//! different bytes.

mod buffer;
mod serializer;

use std::any::type_name;

use serde::de::value::Error as SerdeError;
use serde::ser::{Error as _, Serialize};
use smallvec::SmallVec;

pub(crate) use self::buffer::Buffer;

use crate::codec::byte_seq;
use crate::common::catch::catch;
use crate::error::{Error, ErrorKind};

/// The deepest nesting of values, as in serde_json. It keeps deep values from overflowing the stack. Decoding
/// has the same limit (see [`bounded`](super::bounded)), so that what is stored can be read.
pub(crate) const MAX_DEPTH: usize = 128;

/// The order in which elements of sequences and entries of maps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As serialized, but hash maps and sets sorted.
    AsSerialized,
    /// All sorted. Then equal hash maps and sets have equal bytes even where serde hides their type, but so
    /// do lists that differ only in order.
    Sorted,
}

/// Appends the canonical bytes of `value`, an argument, to `out`.
///
/// # Errors
/// [`ErrorKind::Key`] if the value is nested deeper than [`MAX_DEPTH`] or its `Serialize` impl fails or panics.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Buffer) -> Result<(), Error> {
    catch::<T, _>(ErrorKind::Key, || {
        encode_ordered(Order::AsSerialized, value, out)
            .map_err(|error| Error::new(ErrorKind::Key, error.to_string()))
    })
}

/// The same for any value, in a given order and with serde's error.
#[inline]
pub(crate) fn encode_ordered<T: Serialize + ?Sized>(
    order: Order,
    value: &T,
    out: &mut Buffer,
) -> SerdeResult {
    Encoder { out, order, depth_left: MAX_DEPTH, type_name: "" }.value(value)
}

/// The first byte of every value. Changing one changes keys, so `tests::golden` pins them.
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
    pub(super) const BYTE_SEQ: u8 = 34;
}

struct Encoder<'b> {
    out: &'b mut Buffer,
    order: Order,
    /// How many more levels may open.
    depth_left: usize,
    /// The type of the value being written, which tells hash maps and sets. Read only when a map or sequence
    /// opens, so that it costs other values one store.
    type_name: &'static str,
}

type SerdeResult<T = ()> = Result<T, SerdeError>;

impl Encoder<'_> {
    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> SerdeResult {
        let Some(depth_left) = self.depth_left.checked_sub(1) else {
            return Err(SerdeError::custom(format_args!("nested more than {MAX_DEPTH} levels deep")));
        };
        self.depth_left = depth_left;
        self.type_name = type_name::<T>();
        match byte_seq::as_bytes(value) {
            Some(bytes) if self.order == Order::AsSerialized => self.length_prefixed(tag::BYTE_SEQ, bytes),
            _ => value.serialize(&mut *self)?,
        }
        self.depth_left += 1;
        Ok(())
    }

    /// Writes tag and bytes, in one step if they fit a word.
    #[inline]
    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> SerdeResult {
        let mut word = [0; size_of::<u64>()];
        word[0] = tag;
        match word.get_mut(1..=N) {
            Some(target) => {
                target.copy_from_slice(&bytes);
                self.out.append(u64::from_le_bytes(word), 1 + N);
            }
            None => {
                self.out.push(tag);
                let (words, rest) = bytes.as_chunks();
                words.iter().for_each(|word| self.out.append(u64::from_le_bytes(*word), 8));
                debug_assert!(rest.is_empty(), "a number has whole words or less than one");
            }
        }
        Ok(())
    }

    /// Writes tag, length and bytes.
    #[inline]
    fn length_prefixed(&mut self, tag: u8, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(len @ ..0x80) => self.out.append_with(u64::from(len) << 8 | u64::from(tag), 2, bytes),
            _ => long(self.out, tag, bytes),
        }
    }

    /// Writes the enum's name too: an untagged enum may hold two enums whose first variants share index and
    /// name.
    fn variant(&mut self, tag: u8, name: &str, index: u32, variant: &str) {
        self.length_prefixed(tag, name.as_bytes());
        self.out.extend_from_slice(&index.to_le_bytes());
        length(self.out, variant.len());
        self.out.extend_from_slice(variant.as_bytes());
    }
}

/// [`Encoder::length_prefixed`] where the length takes more than one byte.
#[inline(never)]
fn long(out: &mut Buffer, tag: u8, bytes: &[u8]) {
    out.push(tag);
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes a length as LEB128. Not a method: the optimizer keeps an encoder in registers only if no call
/// borrows it.
#[inline(never)]
fn length(out: &mut Buffer, mut rest: usize) {
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// The entries of a set or map in the buffer: one after another from `start`, each up to one of `ends`.
struct Entries {
    start: usize,
    ends: SmallVec<[usize; 8]>,
}

impl Entries {
    /// Sorts the entries. No value is a prefix of another, so sorting whole entries sorts by key.
    fn sort(&self, out: &mut Buffer) {
        if self.ends.len() < 2 {
            return;
        }
        let written = Buffer::from_slice(out.get(self.start..).unwrap_or_default());
        let mut begin = 0;
        let mut entries: SmallVec<[&[u8]; 8]> = SmallVec::with_capacity(self.ends.len());
        for &end in &self.ends {
            entries.extend(written.get(begin..end - self.start));
            begin = end - self.start;
        }
        entries.sort_unstable();
        out.truncate(self.start);
        for entry in entries {
            out.extend_from_slice(entry);
        }
    }
}

/// Whether the type name is that of a set without an order, so that equal sets may iterate differently.
/// Matches full names: an unknown set only loses hits, but a list taken for a set would share entries.
fn is_hash_set(type_name: &str) -> bool {
    is_named(&["HashSet", "AHashSet", "DashSet"], type_name)
}

/// The same for maps.
fn is_hash_map(type_name: &str) -> bool {
    is_named(&["HashMap", "AHashMap", "DashMap"], type_name)
}

fn is_named(names: &[&str], type_name: &str) -> bool {
    const TRANSPARENT: [&str; 6] =
        ["&mut ", "&", "alloc::boxed::Box<", "alloc::sync::Arc<", "alloc::rc::Rc<", "alloc::borrow::Cow<"];
    let mut name = type_name;
    while let Some(inner) = TRANSPARENT.iter().find_map(|&wrapper| name.strip_prefix(wrapper)) {
        name = inner;
    }
    let path = name.split('<').next().unwrap_or(name);
    // Not split at every `::`: searching costs more than writing a short sequence.
    names.iter().any(|&name| {
        path.strip_suffix(name).is_some_and(|module| module.is_empty() || module.ends_with("::"))
    })
}

#[cfg(test)]
mod tests;
