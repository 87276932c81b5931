//! The `Deserializer` without data that makes a trace. It answers a request with the next choice of the
//! [`Trace`] or, for an element in front of the traced one, with a sample.

use std::any::type_name;

use serde::de::value::Error as SerdeError;
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, Visitor};

use super::trace::{Container, Found, Parts, Trace};
use super::walk::Walk;

/// Samples of text. Numbers are always 1, which `NonZero` accepts too.
const STRINGS: [&str; 8] = [
    "",
    "1",
    "a",
    "1970-01-01T00:00:00Z",
    "1970-01-01",
    "00:00:00",
    "http://a.example/",
    "00000000-0000-0000-0000-000000000000",
];

/// Samples of bytes: none, and the lengths of a UUID or IPv6 address, an IPv4 address, and digests.
const BYTES: [&[u8]; 6] = [&[], &[0; 16], &[0; 4], &[0; 32], &[0; 20], &[0; 64]];

pub(super) struct Tracer<'t> {
    pub(super) trace: &'t mut Trace,
    answer: Answer,
}

/// How requests are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// With the next choice of the trace, or with the end of the run.
    Trace,
    /// With a simple value that the type may accept.
    Sample,
}

/// The containers of serde's data model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ContainerKind {
    Option,
    Newtype,
    Seq,
    Map,
    Tuple,
    /// The contents of a tuple variant.
    TupleVariant,
    Struct,
    /// The contents of a struct variant.
    StructVariant,
    Enum,
}

impl ContainerKind {
    const fn keyword(self) -> &'static str {
        match self {
            Self::Option => "option",
            Self::Newtype => "newtype",
            Self::Seq => "seq",
            Self::Map => "map",
            Self::Tuple => "tuple",
            Self::Struct => "struct",
            Self::Enum => "enum",
            Self::TupleVariant | Self::StructVariant => "",
        }
    }

    const fn is_variant(self) -> bool {
        matches!(self, Self::TupleVariant | Self::StructVariant)
    }
}

/// The error that ends a run. It is empty because nobody reads it: the trace has the result.
pub(super) fn end_of_run() -> SerdeError {
    SerdeError::custom("")
}

impl<'t> Tracer<'t> {
    pub(super) fn new(trace: &'t mut Trace) -> Self {
        Self { trace, answer: Answer::Trace }
    }

    pub(super) fn answering(&mut self, answer: Answer) -> Tracer<'_> {
        Tracer { trace: self.trace, answer }
    }

    /// Answers a request for a value that holds no others, which ends the path.
    fn leaf<T>(
        self,
        text: &str,
        sample: impl FnOnce(&mut Trace) -> Result<T, SerdeError>,
    ) -> Result<T, SerdeError> {
        if self.answer == Answer::Sample {
            return sample(self.trace);
        }
        self.finish_run(Found::Shape, text)
    }

    /// Ends the run, unless it has ended and the type swallowed the error.
    fn finish_run<T>(self, found: Found, text: &str) -> Result<T, SerdeError> {
        if self.answer == Answer::Trace && self.trace.is_running() {
            self.trace.finish_run(found, text);
        }
        Err(end_of_run())
    }

    /// Answers a request for a container.
    fn container<'de, V: Visitor<'de>>(
        self,
        kind: ContainerKind,
        name: &'static str,
        parts: Parts,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        if self.answer == Answer::Sample {
            return self.sample_container(kind, parts, visitor);
        }
        if !self.trace.is_running() {
            return Err(end_of_run());
        }
        let container = Container {
            keyword: kind.keyword(),
            name,
            parts,
            type_name: type_name::<V::Value>(),
            visitor: (!kind.is_variant()).then_some(type_name::<V>()),
        };
        let picked = self.trace.enter(&container).ok_or_else(end_of_run)?;
        self.visit(kind, parts, Some(picked), visitor)
    }

    /// Makes up as little of a container as possible: no elements, and never the container inside itself.
    fn sample_container<'de, V: Visitor<'de>>(
        mut self,
        kind: ContainerKind,
        parts: Parts,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        let name = type_name::<V>();
        if !kind.is_variant() && self.trace.sampling.contains(&name) {
            return Err(end_of_run());
        }
        let outside = self.trace.sampling.len();
        self.trace.sampling.push(name);
        let parts = if kind == ContainerKind::Seq { Parts::Unnamed(0) } else { parts };
        let value = self.answering(Answer::Sample).visit(kind, parts, None, visitor);
        self.trace.sampling.truncate(outside);
        value
    }

    /// Hands the picked part of a container to `visitor`, or a sample of the whole.
    fn visit<'de, V: Visitor<'de>>(
        self,
        kind: ContainerKind,
        parts: Parts,
        picked: Option<usize>,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        let walk = |tracer| Walk { tracer, parts, picked, next: 0 };
        match (kind, picked) {
            (ContainerKind::Option, None) => visitor.visit_none(),
            (ContainerKind::Option, Some(_)) => visitor.visit_some(self),
            (ContainerKind::Newtype, _) => visitor.visit_newtype_struct(self),
            (ContainerKind::Enum, _) => visitor.visit_enum(walk(self)),
            (ContainerKind::Map, _) => visitor.visit_map(walk(self)),
            // By name, which reaches a field without those before it.
            (ContainerKind::Struct | ContainerKind::StructVariant, Some(_)) => visitor.visit_map(walk(self)),
            _ => visitor.visit_seq(walk(self)),
        }
    }
}

macro_rules! leaves {
    ($($method:ident = $text:literal: $visit:ident($sample:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
            self.leaf($text, |_| visitor.$visit($sample))
        }
    )*};
    ($samples:ident: $($method:ident = $text:literal: $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
            self.leaf($text, |trace| {
                let sample = $samples.get(trace.pick_sample($samples.len())).copied().unwrap_or_default();
                visitor.$visit(sample.into())
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = SerdeError;

    leaves! {
        deserialize_bool = "bool": visit_bool(true);
        deserialize_i8 = "i8": visit_i8(1);
        deserialize_i16 = "i16": visit_i16(1);
        deserialize_i32 = "i32": visit_i32(1);
        deserialize_i64 = "i64": visit_i64(1);
        deserialize_i128 = "i128": visit_i128(1);
        deserialize_u8 = "u8": visit_u8(1);
        deserialize_u16 = "u16": visit_u16(1);
        deserialize_u32 = "u32": visit_u32(1);
        deserialize_u64 = "u64": visit_u64(1);
        deserialize_u128 = "u128": visit_u128(1);
        deserialize_f32 = "f32": visit_f32(1.0);
        deserialize_f64 = "f64": visit_f64(1.0);
        deserialize_char = "char": visit_char('a');
    }

    leaves! { STRINGS:
        deserialize_str = "str": visit_borrowed_str;
        deserialize_string = "string": visit_string;
    }

    leaves! { BYTES:
        deserialize_bytes = "bytes": visit_borrowed_bytes;
        deserialize_byte_buf = "byte_buf": visit_byte_buf;
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.leaf("unit", |_| visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.leaf(&format!("unit {name:?}"), |_| visitor.visit_unit())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::Option, "", Parts::Unnamed(1), visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::Newtype, name, Parts::Unnamed(1), visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::Seq, "", Parts::Unnamed(1), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::Map, "", Parts::Unnamed(2), visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::Tuple, "", Parts::Unnamed(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::Tuple, name, Parts::Unnamed(len), visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::Struct, name, Parts::Named(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::Enum, name, Parts::Named(variants), visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, SerdeError> {
        self.finish_run(Found::NotPositional, "")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.deserialize_any(visitor)
    }

    /// The field names of a flattened struct, which positional formats don't write.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SerdeError> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> de::VariantAccess<'de> for Tracer<'_> {
    type Error = SerdeError;

    fn unit_variant(self) -> Result<(), SerdeError> {
        self.leaf("unit", |_| Ok(()))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, SerdeError> {
        if self.answer == Answer::Trace {
            self.trace.write_new("new ");
        }
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::TupleVariant, "", Parts::Unnamed(len), visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SerdeError> {
        self.container(ContainerKind::StructVariant, "", Parts::Named(fields), visitor)
    }
}
