//! The `Deserializer` without data that a trace is made with: it answers every request with a choice of the [`Trace`],
//! or, for an element that only stands in the way, with a sample.

use std::any::type_name;

use serde::de::value::Error as Stop;
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, Visitor};

use super::walk::Walk;
use super::{Compound, Outcome, Parts, Trace};

/// Samples of text; numbers are always 1, which `NonZero` takes too.
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

/// Samples of bytes: none, a UUID, addresses, digests.
const BYTES: [&[u8]; 6] = [&[], &[0; 16], &[0; 4], &[0; 32], &[0; 20], &[0; 64]];

pub(super) struct Probe<'t> {
    pub(super) trace: &'t mut Trace,
    answer: Answer,
}

/// What a request is answered with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The next choice of the trace, or the end of the run.
    Trace,
    /// Something simple that may pass for a value.
    Sample,
}

/// What kind of type holds others. The contents of variants are kinds of their own, having no name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Option,
    Newtype,
    Seq,
    Map,
    Tuple,
    TupleVariant,
    Struct,
    StructVariant,
    Enum,
}

impl Kind {
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

/// Ends the run. It says nothing because nobody reads it: the trace has what there is to know.
pub(super) fn stop() -> Stop {
    Stop::custom("")
}

impl<'t> Probe<'t> {
    pub(super) fn tracing(trace: &'t mut Trace) -> Self {
        Self { trace, answer: Answer::Trace }
    }

    pub(super) fn reborrow(&mut self, answer: Answer) -> Probe<'_> {
        Probe { trace: self.trace, answer }
    }

    /// A request that ends the path.
    fn leaf<T>(self, kind: &str, sample: impl FnOnce(&mut Trace) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.answer == Answer::Sample {
            return sample(self.trace);
        }
        self.end(Outcome::Learnt, kind)
    }

    /// Ends the run, unless something did before and the type swallowed the error.
    fn end<T>(self, outcome: Outcome, text: &str) -> Result<T, Stop> {
        if self.answer == Answer::Trace && self.trace.outcome == Outcome::Open {
            self.trace.end(outcome, text);
        }
        Err(stop())
    }

    /// A request for a type that holds others.
    fn compound<'de, V: Visitor<'de>>(
        self,
        kind: Kind,
        name: &'static str,
        parts: Parts,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.answer == Answer::Sample {
            return self.sampled(kind, parts, visitor);
        }
        if self.trace.outcome != Outcome::Open {
            return Err(stop());
        }
        let compound = Compound {
            keyword: kind.keyword(),
            name,
            parts,
            type_name: type_name::<V::Value>(),
            visitor: (!kind.is_variant()).then_some(type_name::<V>()),
        };
        let picked = self.trace.enter(&compound).ok_or_else(stop)?;
        self.show(kind, parts, Some(picked), visitor)
    }

    /// As little of the type as may be: no elements, and nothing of the type within itself.
    fn sampled<'de, V: Visitor<'de>>(
        mut self,
        kind: Kind,
        parts: Parts,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let name = type_name::<V>();
        if !kind.is_variant() && self.trace.sampled.contains(&name) {
            return Err(stop());
        }
        let outside = self.trace.sampled.len();
        self.trace.sampled.push(name);
        let parts = if kind == Kind::Seq { Parts::Unnamed(0) } else { parts };
        let value = self.reborrow(Answer::Sample).show(kind, parts, None, visitor);
        self.trace.sampled.truncate(outside);
        value
    }

    /// Hands out the picked part of a type, or a sample of the whole.
    fn show<'de, V: Visitor<'de>>(
        self,
        kind: Kind,
        parts: Parts,
        picked: Option<usize>,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let walk = |probe| Walk { probe, parts, picked, next: 0 };
        match (kind, picked) {
            (Kind::Option, None) => visitor.visit_none(),
            (Kind::Option, Some(_)) => visitor.visit_some(self),
            (Kind::Newtype, _) => visitor.visit_newtype_struct(self),
            (Kind::Enum, _) => visitor.visit_enum(walk(self)),
            (Kind::Map, _) => visitor.visit_map(walk(self)),
            // By name, so that a field is reached without those before it.
            (Kind::Struct | Kind::StructVariant, Some(_)) => visitor.visit_map(walk(self)),
            _ => visitor.visit_seq(walk(self)),
        }
    }
}

macro_rules! leaves {
    ($($method:ident = $kind:literal: $visit:ident($sample:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            self.leaf($kind, |_| visitor.$visit($sample))
        }
    )*};
    ($samples:ident: $($method:ident = $kind:literal: $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            self.leaf($kind, |trace| {
                let sample = $samples.get(trace.sample($samples.len())).copied().unwrap_or_default();
                visitor.$visit(sample.into())
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

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

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf("unit", |_| visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.leaf(&format!("unit {name:?}"), |_| visitor.visit_unit())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.compound(Kind::Option, "", Parts::Unnamed(1), visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.compound(Kind::Newtype, name, Parts::Unnamed(1), visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.compound(Kind::Seq, "", Parts::Unnamed(1), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.compound(Kind::Map, "", Parts::Unnamed(2), visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        self.compound(Kind::Tuple, "", Parts::Unnamed(len), visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.compound(Kind::Tuple, name, Parts::Unnamed(len), visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.compound(Kind::Struct, name, Parts::Named(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.compound(Kind::Enum, name, Parts::Named(variants), visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        self.end(Outcome::NotPositional, "")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    /// As a key of a flattened struct, which no positional format can find.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl<'de> de::VariantAccess<'de> for Probe<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        self.leaf("unit", |_| Ok(()))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Stop> {
        if self.answer == Answer::Trace {
            self.trace.note("new ");
        }
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Stop> {
        self.compound(Kind::TupleVariant, "", Parts::Unnamed(len), visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.compound(Kind::StructVariant, "", Parts::Named(fields), visitor)
    }
}
