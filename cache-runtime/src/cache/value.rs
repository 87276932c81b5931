//! What a plain cache stores, and its form as bytes.
//!
//! A number is its decimal text, which servers can add to. Every other value is in an envelope that binds it to its key,
//! type and codec. Neither holds a lifetime: that is the server's, so that `touch` needs no value.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::number_of;
use crate::codec::{self, ChosenCodec, Codec, with_codec};
use crate::common::process::PerProcess;
use crate::common::sync::lock;
use crate::error::{Error, ErrorKind};
use crate::remote::envelope::{self, Binding, Header};

/// A value that a plain cache gives back: everything that serde writes and reads.
pub trait Value: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Value for T {}

/// A value that a plain cache stores: every [`Value`], and text and slices, which come back as [`String`] and [`Vec`].
pub trait Stored: Serialize {
    /// What comes back.
    type Owned: Value;

    /// The value, if it is an `i64`.
    #[doc(hidden)]
    fn number(&self) -> Option<i64> {
        None
    }
}

impl<T: Value> Stored for T {
    type Owned = T;

    fn number(&self) -> Option<i64> {
        (self as &dyn Any).downcast_ref().copied()
    }
}

impl Stored for str {
    type Owned = String;
}

impl<T: Value> Stored for [T] {
    type Owned = Vec<T>;
}

/// How values of one type are written and read.
#[derive(Clone, Copy)]
pub(super) struct Form {
    codec: ChosenCodec,
    shape: u64,
}

impl Form {
    /// # Errors
    /// The codec can't store values of this type.
    pub(super) fn of<T: Value>(codec: ChosenCodec) -> Result<Self, Error> {
        if is_number::<T>() {
            return Ok(Self { codec, shape: 0 });
        }
        shape_of::<T>(codec).map(|shape| Self { codec, shape }).map_err(|error| name_codec(&error))
    }

    fn binding<'a>(&self, text: &'a [u8]) -> Binding<'a> {
        Binding { key: text, shape: self.shape, codec: with_codec!(self.codec, C => C::ID) }
    }

    /// The value without its envelope, after the fingerprint of its type: what runs share.
    pub(super) fn pack<V: Stored + ?Sized>(&self, value: &V) -> Result<Bytes, Error> {
        let mut out = self.shape.to_le_bytes().to_vec();
        self.write(value, &mut out)?;
        Ok(out.into())
    }

    /// The value in what a run shares, if it is of this type.
    pub(super) fn unpack<T: Value>(&self, packed: &[u8]) -> Option<T> {
        let (shape, payload) = packed.split_first_chunk()?;
        if u64::from_le_bytes(*shape) == self.shape { self.read(payload) } else { None }
    }

    /// The value as it is stored under `text`.
    pub(super) fn seal<V: Stored + ?Sized>(
        &self,
        text: &[u8],
        value: &V,
        now_ms: u64,
    ) -> Result<Bytes, Error> {
        if let Some(number) = value.number() {
            return Ok(number.to_string().into());
        }
        let header = Header { created_ms: now_ms, ..Header::default() };
        let payload = |out: &mut Vec<u8>| self.write(value, out);
        envelope::seal(&self.binding(text), &header, codec::INITIAL_CAPACITY, payload).map(Bytes::from)
    }

    /// The value in what is stored under `text`. Bytes that are no value of this type under this key are a miss.
    pub(super) fn open<T: Value>(&self, text: &[u8], bytes: Bytes) -> Option<T> {
        if is_number::<T>() {
            return self.read(&bytes);
        }
        let (_, payload) = envelope::open(&self.binding(text), bytes).ok()?;
        self.read(&payload)
    }

    fn write<V: Stored + ?Sized>(&self, value: &V, out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(number) = value.number() {
            out.extend_from_slice(number.to_string().as_bytes());
            return Ok(());
        }
        with_codec!(self.codec, C => codec::encode_borrowed::<C, &V, V::Owned>(&value, out))
            .map_err(|error| name_codec(&error))
    }

    fn read<T: Value>(&self, payload: &[u8]) -> Option<T> {
        if is_number::<T>() {
            let mut number = number_of(payload);
            return (&mut number as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take);
        }
        with_codec!(self.codec, C => codec::decode::<C, T>(payload).ok())
    }
}

fn is_number<T: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<i64>()
}

/// Says where the codec of a plain cache is chosen.
fn name_codec(error: &Error) -> Error {
    if error.kind() != ErrorKind::Encode {
        return error.clone();
    }
    let message = format!("{}; a plain cache has its codec in its URL: `?codec=msgpack`", error.message());
    Error::new(ErrorKind::Encode, message).with_source(error.clone())
}

/// The fingerprint of `T`, traced once per type.
fn shape_of<T: Value>(codec: ChosenCodec) -> Result<u64, Error> {
    type Shapes = HashMap<(TypeId, ChosenCodec), Result<u64, Error>>;
    static SHAPES: PerProcess<Mutex<Shapes>> = PerProcess::new();
    let (shapes, id) = (SHAPES.get(|_| Mutex::default()), (TypeId::of::<T>(), codec));
    if let Some(known) = lock(shapes).get(&id) {
        return known.clone();
    }
    // Traced without the lock: tracing runs the user's `Deserialize`.
    let traced = with_codec!(codec, C => codec::shape::<C, T>()).map(|shape| shape.fingerprint);
    lock(shapes).entry(id).or_insert(traced).clone()
}
