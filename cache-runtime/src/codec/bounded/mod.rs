//! Bounds on decoding, whatever the format: how deep values may lie, how many elements may be visited, and how much
//! may be allocated ahead of reading. With them hostile bytes end in an error, in time and memory that their length
//! bounds, and never in an overflowing stack.
//!
//! Owns one wrapper, put around every piece of serde that decoding passes through. It knows nothing of any format. The
//! formats need it: bincode and postcard have no limit of depth, MessagePack counts neither enums nor options (a
//! `struct List(Option<Box<List>>)` recurses on one byte forever, in JSON too), and a `Vec<()>` of `u64::MAX`
//! elements takes no more bytes than its length.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use crate::codec::byte_seq;
use crate::codec::canonical::MAX_DEPTH;

/// Elements without a byte of their own, of which one value may have this many; all others are paid for by the input.
const ZERO_SIZED: usize = 1 << 16;

/// What one value may still use.
pub(crate) struct Budget {
    /// Elements of sequences and entries of maps. Each takes at least one byte that belongs to no other, unless it
    /// is of zero size.
    elements: Cell<usize>,
    /// Elements that a collection may allocate for before it has read them.
    ahead: Cell<usize>,
    /// Whether sequences of bytes are written like bytes, and so can be read at once.
    positional: bool,
}

impl Budget {
    /// The budget of a value stored in so many bytes of a positional format or of another.
    pub(crate) fn of(bytes: usize, positional: bool) -> Self {
        Self { elements: Cell::new(bytes.saturating_add(ZERO_SIZED)), ahead: Cell::new(bytes), positional }
    }

    /// Decodes a `T` within this budget.
    pub(crate) fn seed<T>(&self) -> Bounded<'_, PhantomData<T>> {
        Bounded { inner: PhantomData, limits: Limits { room: MAX_DEPTH, counted: false, budget: self } }
    }
}

#[derive(Clone, Copy)]
struct Limits<'b> {
    /// How many more levels may open.
    room: usize,
    /// Whether the values directly below are elements, of which the bytes say how many there are. Those of structs
    /// and tuples are as many as the type says.
    counted: bool,
    budget: &'b Budget,
}

impl Limits<'_> {
    fn counted(self, counted: bool) -> Self {
        Self { counted, ..self }
    }

    /// The limits inside the next value.
    #[inline]
    fn enter<E: de::Error>(self) -> Result<Self, E> {
        let room =
            self.room.checked_sub(1).ok_or_else(|| E::custom("values lie too deep within one another"))?;
        if self.counted {
            let left = self.budget.elements.get().checked_sub(1);
            self.budget.elements.set(left.ok_or_else(|| E::custom("more elements than the bytes can hold"))?);
        }
        Ok(Self { room, counted: false, ..self })
    }

    /// As much of a claimed length as may be allocated for at once.
    fn ahead(self, claimed: usize) -> usize {
        let left = self.budget.ahead.get();
        let granted = claimed.min(left);
        self.budget.ahead.set(left - granted);
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

macro_rules! deserializer {
    ($($method:ident($($arg:ident: $type:ty),*) counted $counted:literal;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let limits = self.limits.counted($counted);
            self.inner.$method($($arg,)* Bounded { inner: visitor, limits })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    deserializer! {
        deserialize_any() counted true;
        deserialize_ignored_any() counted true;
        deserialize_map() counted true;
        deserialize_bool() counted false;
        deserialize_i8() counted false;
        deserialize_i16() counted false;
        deserialize_i32() counted false;
        deserialize_i64() counted false;
        deserialize_i128() counted false;
        deserialize_u8() counted false;
        deserialize_u16() counted false;
        deserialize_u32() counted false;
        deserialize_u64() counted false;
        deserialize_u128() counted false;
        deserialize_f32() counted false;
        deserialize_f64() counted false;
        deserialize_char() counted false;
        deserialize_str() counted false;
        deserialize_string() counted false;
        deserialize_bytes() counted false;
        deserialize_byte_buf() counted false;
        deserialize_option() counted false;
        deserialize_unit() counted false;
        deserialize_identifier() counted false;
        deserialize_unit_struct(name: &'static str) counted false;
        deserialize_newtype_struct(name: &'static str) counted false;
        deserialize_tuple(len: usize) counted false;
        deserialize_tuple_struct(name: &'static str, len: usize) counted false;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) counted false;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) counted false;
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let limits = self.limits.counted(true);
        let (inner, visitor) = match self.limits.budget.positional {
            true => match byte_seq::read(self.inner, visitor) {
                Ok(value) => return value,
                Err(usual) => usual,
            },
            false => (self.inner, visitor),
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
        self.inner.size_hint().map(|claimed| self.limits.ahead(claimed))
    }
}

impl<'de, A: de::MapAccess<'de>> de::MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_key_seed(seed)
    }

    /// The key has paid for the entry.
    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let limits = self.limits.counted(false);
        self.inner.next_value_seed(Bounded { inner: seed, limits })
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|claimed| self.limits.ahead(claimed))
    }
}

impl<'de, 'b, A: de::EnumAccess<'de>> de::EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    /// The seed is left bare: a variant's name is no level of its own.
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
