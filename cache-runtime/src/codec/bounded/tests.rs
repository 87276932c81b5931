#![allow(clippy::unwrap_used)]

use serde::Deserialize;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{MapAccess, SeqAccess};

use super::*;

fn decode<'de, T: Deserialize<'de>>(
    budget: &Budget,
    deserializer: impl Deserializer<'de, Error = Error>,
) -> Result<T, Error> {
    budget.seed::<T>().deserialize(deserializer)
}

/// The size hints that the type was given.
struct SizeHints(Vec<usize>);

impl<'de> Deserialize<'de> for SizeHints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HintVisitor;
        impl<'de> Visitor<'de> for HintVisitor {
            type Value = SizeHints;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<SizeHints, A::Error> {
                let hints = [seq.size_hint(), seq.size_hint()];
                while seq.next_element::<u8>()?.is_some() {}
                Ok(SizeHints(hints.into_iter().flatten().collect()))
            }
        }
        deserializer.deserialize_seq(HintVisitor)
    }
}

#[test]
fn collections_preallocate_no_more_elements_than_the_input_has_bytes() {
    let elements = || SeqDeserializer::new(vec![0u8; 10].into_iter());
    assert_eq!(decode::<SizeHints>(&Budget::for_input(100, false), elements()).unwrap().0, [10, 10]);
    assert_eq!(decode::<SizeHints>(&Budget::for_input(13, false), elements()).unwrap().0, [10, 3]);
    assert_eq!(decode::<SizeHints>(&Budget::for_input(3, false), elements()).unwrap().0, [3, 0]);
}

#[test]
fn elements_are_counted_and_parts_of_tuples_are_not() {
    let units = |count| SeqDeserializer::new(std::iter::repeat_n((), count));
    assert!(decode::<Vec<()>>(&Budget::for_input(0, false), units(MAX_FREE_ELEMENTS)).is_ok());
    assert!(decode::<Vec<()>>(&Budget::for_input(0, false), units(MAX_FREE_ELEMENTS + 1)).is_err());
    assert!(decode::<Vec<()>>(&Budget::for_input(1, false), units(MAX_FREE_ELEMENTS + 1)).is_ok());

    let budget = Budget::for_input(0, false);
    budget.elements_left.set(2);
    assert!(decode::<((), (), ())>(&budget, units(3)).is_ok());
    assert_eq!(budget.elements_left.get(), 2);
    assert!(decode::<Vec<()>>(&budget, units(2)).is_ok());
    assert!(decode::<Vec<()>>(&budget, units(1)).is_err(), "the whole value shares one budget");
}

#[test]
fn an_entry_of_a_map_counts_once() {
    struct Entries(usize);
    impl<'de> Deserialize<'de> for Entries {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct CountVisitor;
            impl<'de> Visitor<'de> for CountVisitor {
                type Value = Entries;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a map")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                    let mut count = 0;
                    while map.next_entry::<u8, u8>()?.is_some() {
                        count += 1;
                    }
                    Ok(Entries(count))
                }
            }
            deserializer.deserialize_map(CountVisitor)
        }
    }
    let entries = |count| MapDeserializer::new(std::iter::repeat_n((1u8, 2u8), count));
    let budget = Budget::for_input(0, false);
    budget.elements_left.set(5);
    assert_eq!(decode::<Entries>(&budget, entries(3)).unwrap().0, 3);
    assert_eq!(budget.elements_left.get(), 2);
    assert!(decode::<Entries>(&budget, entries(3)).is_err());
}

#[test]
fn endless_nesting_is_an_error() {
    #[derive(Deserialize, serde::Serialize)]
    struct Link(Option<Box<Link>>);

    /// Answers every option with another.
    struct Endless;
    impl<'de> Deserializer<'de> for Endless {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.visit_some(self)
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value, Error> {
            visitor.visit_newtype_struct(self)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }
    let error = decode::<Link>(&Budget::for_input(1, false), Endless).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("too deep"), "{error}");
}
