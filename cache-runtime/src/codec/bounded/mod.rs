//! Bounds on decoding in any format: on a value's depth, on its elements, and on memory allocated before it
//! is read. With them hostile bytes end in an error, in time and memory bounded by their length, and never
//! overflow the stack.
//!
//! Owns one wrapper around every piece of serde that decoding passes through, and knows nothing of any
//! format. The formats need it. bincode and postcard have no depth limit. The limits of MessagePack and JSON
//! don't count options, so `struct List(Option<Box<List>>)` recurses forever on one byte. MessagePack's
//! doesn't count enums either. And a `Vec<()>` of `u64::MAX` elements takes no more bytes than its length.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use crate::codec::byte_seq;
use crate::codec::canonical::MAX_DEPTH;

/// How many elements one value may have beyond one per byte of input. Only elements of size zero need it.
const MAX_FREE_ELEMENTS: usize = 1 << 16;

/// What decoding one value may still use.
pub(crate) struct Budget {
    /// Elements of sequences and entries of maps. Each takes at least one byte of its own unless its size is
    /// zero.
    elements_left: Cell<usize>,
    /// Elements for which collections may still allocate before reading them. Serde's do so, by the size
    /// hint.
    preallocation_left: Cell<usize>,
    /// Whether the format writes sequences of bytes like bytes, so that they can be read at once.
    positional: bool,
}

impl Budget {
    /// The budget of a value encoded in `len` bytes.
    pub(crate) fn for_input(len: usize, positional: bool) -> Self {
        Self {
            elements_left: Cell::new(len.saturating_add(MAX_FREE_ELEMENTS)),
            preallocation_left: Cell::new(len),
            positional,
        }
    }

    /// Decodes a `T` within this budget.
    pub(crate) fn seed<T>(&self) -> Bounded<'_, PhantomData<T>> {
        Bounded {
            inner: PhantomData,
            limits: Limits { depth_left: MAX_DEPTH, elements_below: false, budget: self },
        }
    }
}

/// The bounds at one level of a value.
#[derive(Clone, Copy)]
struct Limits<'b> {
    depth_left: usize,
    /// Whether the values directly below are elements, whose number is in the bytes. The type fixes the
    /// number of fields and tuple parts, so these aren't counted.
    elements_below: bool,
    budget: &'b Budget,
}

impl Limits<'_> {
    fn elements_below(self, elements_below: bool) -> Self {
        Self { elements_below, ..self }
    }

    /// The limits inside the next value.
    #[inline]
    fn enter<E: de::Error>(self) -> Result<Self, E> {
        let depth_left =
            self.depth_left.checked_sub(1).ok_or_else(|| E::custom("the value is nested too deep"))?;
        if self.elements_below {
            let left = self.budget.elements_left.get().checked_sub(1);
            let left =
                left.ok_or_else(|| E::custom("the value has more elements than its bytes can hold"))?;
            self.budget.elements_left.set(left);
        }
        Ok(Self { depth_left, elements_below: false, ..self })
    }

    /// How many of `claimed` elements a collection may allocate for before reading them.
    fn preallocate(self, claimed: usize) -> usize {
        let left = self.budget.preallocation_left.get();
        let granted = claimed.min(left);
        self.budget.preallocation_left.set(left - granted);
        granted
    }
}

/// A piece of serde with the limits that hold there.
pub(crate) struct Bounded<'b, X> {
    inner: X,
    limits: Limits<'b>,
}

impl<'b, X> Bounded<'b, X> {
    /// Another piece under the same limits.
    #[inline]
    fn with<Y>(&self, inner: Y) -> Bounded<'b, Y> {
        Bounded { inner, limits: self.limits }
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let limits = self.limits.enter()?;
        self.inner.deserialize(Bounded { inner: deserializer, limits })
    }
}

/// Forwards with `elements_below` set to the literal.
macro_rules! deserializer {
    ($elements_below:literal: $($method:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let limits = self.limits.elements_below($elements_below);
            self.inner.$method($($arg,)* Bounded { inner: visitor, limits })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    deserializer! { true:
        deserialize_any();
        deserialize_ignored_any();
        deserialize_map();
    }

    deserializer! { false:
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_identifier();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let limits = self.limits.elements_below(true);
        let (inner, visitor) = if self.limits.budget.positional {
            match byte_seq::read_vec(self.inner, visitor) {
                Ok(result) => return result,
                Err(unread) => unread,
            }
        } else {
            (self.inner, visitor)
        };
        inner.deserialize_seq(Bounded { inner: visitor, limits })
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visitor {
    (leaves $($method:ident($type:ty);)*) => {$(
        #[inline]
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
    (inner $($method:ident;)*) => {$(
        #[inline]
        fn $method<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
            let limits = self.limits.enter()?;
            self.inner.$method(Bounded { inner: deserializer, limits })
        }
    )*};
    (parts $($method:ident($access:ident);)*) => {$(
        #[inline]
        fn $method<A: de::$access<'de>>(self, access: A) -> Result<V::Value, A::Error> {
            let access = self.with(access);
            self.inner.$method(access)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visitor! { leaves
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    visitor! { inner visit_some; visit_newtype_struct; }
    visitor! { parts visit_seq(SeqAccess); visit_map(MapAccess); visit_enum(EnumAccess); }

    #[inline]
    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }
}

impl<'de, A: de::SeqAccess<'de>> de::SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_element_seed(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|claimed| self.limits.preallocate(claimed))
    }
}

impl<'de, A: de::MapAccess<'de>> de::MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_key_seed(seed)
    }

    /// Doesn't count the value: the key has counted the entry.
    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let limits = self.limits.elements_below(false);
        self.inner.next_value_seed(Bounded { inner: seed, limits })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|claimed| self.limits.preallocate(claimed))
    }
}

impl<'de, 'b, A: de::EnumAccess<'de>> de::EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    /// Doesn't wrap the seed: a variant's name is not a level.
    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (variant, contents) = self.inner.variant_seed(seed)?;
        Ok((variant, Bounded { inner: contents, limits: self.limits }))
    }
}

impl<'de, A: de::VariantAccess<'de>> de::VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

#[cfg(test)]
mod tests;
