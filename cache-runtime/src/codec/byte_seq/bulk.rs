//! A [`Serializer`] adapter that passes sequences of bytes on as bytes, and everything else unchanged.

use serde::ser::{self, Serialize, Serializer};

use super::{as_bytes, collect_bytes};

/// Wraps the values and serializers at every level of a value.
pub(crate) struct Bulk<X>(pub(crate) X);

impl<T: Serialize + ?Sized> Serialize for Bulk<&T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match as_bytes(self.0) {
            Some(bytes) => serializer.serialize_bytes(bytes),
            None => self.0.serialize(Bulk(serializer)),
        }
    }
}

macro_rules! forwarded {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[inline]
        fn $method(self, $($arg: $type),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($arg),*)
        }
    )*};
    (compound $($method:ident($($arg:ident: $type:ty),*) -> $compound:ident;)*) => {$(
        #[inline]
        fn $method(self, $($arg: $type),*) -> Result<Bulk<S::$compound>, S::Error> {
            self.0.$method($($arg),*).map(Bulk)
        }
    )*};
}

impl<S: Serializer> Serializer for Bulk<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Bulk<S::SerializeSeq>;
    type SerializeTuple = Bulk<S::SerializeTuple>;
    type SerializeTupleStruct = Bulk<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Bulk<S::SerializeTupleVariant>;
    type SerializeMap = Bulk<S::SerializeMap>;
    type SerializeStruct = Bulk<S::SerializeStruct>;
    type SerializeStructVariant = Bulk<S::SerializeStructVariant>;

    #[inline]
    fn collect_seq<I: IntoIterator>(self, elements: I) -> Result<S::Ok, S::Error>
    where
        I::Item: Serialize,
    {
        let elements = match collect_bytes(elements) {
            Ok(bytes) => return self.0.serialize_bytes(&bytes),
            Err(elements) => elements.into_iter(),
        };
        let len = match elements.size_hint() {
            (low, Some(high)) if low == high => Some(low),
            _ => None,
        };
        let mut sequence = self.serialize_seq(len)?;
        for element in elements {
            ser::SerializeSeq::serialize_element(&mut sequence, &element)?;
        }
        ser::SerializeSeq::end(sequence)
    }

    forwarded! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    forwarded! { compound
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeStructVariant;
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Bulk(value))
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Bulk(value))
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, index, variant, &Bulk(value))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! compound {
    ($($trait:ident { $item:ident $method:ident })*) => {$(
        impl<C: ser::$trait> ser::$trait for Bulk<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            compound!(@$item $method);

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.0.end()
            }
        }
    )*};
    (@element $method:ident) => {
        #[inline]
        fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
            self.0.$method(&Bulk(value))
        }
    };
    (@named $method:ident) => {
        #[inline]
        fn $method<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), C::Error> {
            self.0.$method(name, &Bulk(value))
        }

        #[inline]
        fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
            self.0.skip_field(name)
        }
    };
}

compound! {
    SerializeSeq { element serialize_element }
    SerializeTuple { element serialize_element }
    SerializeTupleStruct { element serialize_field }
    SerializeTupleVariant { element serialize_field }
    SerializeStruct { named serialize_field }
    SerializeStructVariant { named serialize_field }
}

impl<C: ser::SerializeMap> ser::SerializeMap for Bulk<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.0.serialize_key(&Bulk(key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.0.serialize_value(&Bulk(value))
    }

    #[inline]
    fn end(self) -> Result<C::Ok, C::Error> {
        self.0.end()
    }
}
