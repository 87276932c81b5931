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
//! | sequence of `u8` | length, then the bytes |
//! | other sequence, tuple | elements, `END` |
//! | hash map, hash set | entries, sorted by their bytes, `END` |
//! | other map | entries, `END` |
//! | struct | name, then per field `FIELD`, name, value, or `SKIP`, name; `END` |
//! | enum variant | enum name, index, variant name, then as the struct, tuple or value that it holds |
//!
//! What serde does not show can't be told apart: skipped fields, and two variants of an untagged enum that look the same.
//! Hash maps and sets are known by the names of their types, because serde shows them as it shows maps and sequences that
//! remember an order. Behind `with` or `flatten` that name is hidden, and what is equal may then differ in bytes.

mod buffer;
mod serializer;

use std::any::type_name;

pub(crate) use self::buffer::Buffer;

/// Serde's own error that is nothing but its text.
pub(crate) use serde::de::value::Error as Refusal;
use serde::ser::{Error as _, Serialize};
use smallvec::SmallVec;

use crate::codec::byte_seq;
use crate::error::{Error, ErrorKind};

/// How many values may lie within one another. Decoding stops at the same depth (`depth.rs`), so that what is stored
/// can be read; both keep a deep value from overflowing the stack.
pub(crate) const MAX_DEPTH: usize = 128;

/// In which order the elements of a sequence or map are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As serde shows them, hash maps and sets apart.
    Shown,
    /// Sorted, and so are the entries of a map. Values equal but for the iteration order of hash maps and sets that serde
    /// hides then have equal bytes; lists that differ in nothing but their order have so, too.
    Any,
}

/// Appends the canonical bytes of `value`, an argument.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Buffer) -> Result<(), Error> {
    encode_in(Order::Shown, value, out).map_err(|refusal| Error::new(ErrorKind::Key, refusal.to_string()))
}

/// The same for a value that need not be an argument.
#[inline]
pub(crate) fn encode_in<T: Serialize + ?Sized>(
    order: Order,
    value: &T,
    out: &mut Buffer,
) -> Result<(), Refusal> {
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
    pub(super) const OCTETS: u8 = 34;
}

struct Encoder<'b> {
    out: &'b mut Buffer,
    order: Order,
    /// How many more levels may open.
    room: usize,
    /// The type of the value being written, to know a hash map or set by. Read only where a map or sequence opens, so
    /// that other values pay for no more than its storing.
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
        match byte_seq::of(value) {
            Some(bytes) if self.order == Order::Shown => self.counted(tag::OCTETS, bytes),
            _ => value.serialize(&mut *self)?,
        }
        self.room += 1;
        Ok(())
    }

    /// Tag and bytes, in one write if they fit one.
    #[inline]
    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Done {
        let mut word = [0; size_of::<u64>()];
        word[0] = tag;
        match word.get_mut(1..=N) {
            Some(room) => {
                room.copy_from_slice(&bytes);
                self.out.append(u64::from_le_bytes(word), 1 + N);
            }
            None => {
                self.out.push(tag);
                let (words, rest) = bytes.as_chunks();
                words.iter().for_each(|word| self.out.append(u64::from_le_bytes(*word), 8));
                debug_assert!(rest.is_empty(), "numbers are of whole words, or of less than one");
            }
        }
        Ok(())
    }

    /// Bytes behind a tag and their length.
    #[inline]
    fn counted(&mut self, tag: u8, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(len @ ..0x80) => self.out.append_with(u64::from(len) << 8 | u64::from(tag), 2, bytes),
            _ => many(self.out, tag, bytes),
        }
    }

    /// The enum's name too: an untagged enum may hold two enums whose first variants share index and name.
    fn variant(&mut self, tag: u8, name: &str, index: u32, variant: &str) {
        self.counted(tag, name.as_bytes());
        self.out.extend_from_slice(&index.to_le_bytes());
        length(self.out, variant.len());
        self.out.extend_from_slice(variant.as_bytes());
    }
}

/// The same where the length takes more than a byte.
#[inline(never)]
fn many(out: &mut Buffer, tag: u8, bytes: &[u8]) {
    out.push(tag);
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Not a method: an encoder that is lent to nobody lives in registers, and its buffer is where the key is wanted.
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
    is_one_of(&["HashSet", "AHashSet", "DashSet"], type_name)
}

/// The same for maps.
fn is_hash_map(type_name: &str) -> bool {
    is_one_of(&["HashMap", "AHashMap", "DashMap"], type_name)
}

fn is_one_of(names: &[&str], type_name: &str) -> bool {
    const TRANSPARENT: [&str; 6] =
        ["&mut ", "&", "alloc::boxed::Box<", "alloc::sync::Arc<", "alloc::rc::Rc<", "alloc::borrow::Cow<"];
    let mut name = type_name;
    while let Some(inner) = TRANSPARENT.iter().find_map(|&wrapper| name.strip_prefix(wrapper)) {
        name = inner;
    }
    let path = name.split('<').next().unwrap_or(name);
    // Not split at every `::`: searching for text costs more than writing a short sequence.
    let is =
        |name: &&str| path.strip_suffix(*name).is_some_and(|home| home.is_empty() || home.ends_with("::"));
    names.iter().any(is)
}

#[cfg(test)]
mod tests;
