#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;
use crate::codec::{self, Codec};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    status: u16,
    body: Vec<u8>,
    parts: Vec<Option<Vec<u8>>>,
    shared: Arc<[u8]>,
    boxed: Box<[u8]>,
    lent: Cow<'static, [u8]>,
    queue: VecDeque<u8>,
    set: BTreeSet<u8>,
    signed: Vec<i8>,
    four: [u8; 4],
}

fn page() -> Page {
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    Page {
        status: 200,
        body: bytes.clone(),
        parts: vec![None, Some(vec![]), Some(vec![1, 2, 3])],
        shared: bytes.clone().into(),
        boxed: Box::new([0xff; 300]),
        lent: Cow::Owned(bytes),
        queue: [7; 200].into(),
        set: [200, 1, 100].into(),
        signed: vec![-1; 300],
        four: [1, 2, 3, 250],
    }
}

/// Checks that we write the bytes that the format itself writes, and read them.
fn assert_same_bytes<C: Codec, T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(
    value: &T,
    plain: &[u8],
) {
    let mut bytes = Vec::new();
    codec::encode_checked::<C, T>(value, None, &mut bytes).unwrap();
    assert_eq!(bytes, plain);
    assert_eq!(&codec::decode::<C, T>(plain).unwrap(), value);
    for end in 0..plain.len().min(400) {
        assert!(codec::decode::<C, T>(&plain[..end]).is_err());
    }
}

#[test]
#[cfg(feature = "bincode")]
fn stored_bytes_are_bincodes_own() {
    use bincode::Options as _;
    let plain = bincode::DefaultOptions::new().serialize(&page()).unwrap();
    assert_same_bytes::<codec::Bincode, _>(&page(), &plain);
    let plain = bincode::DefaultOptions::new().serialize(&page().body).unwrap();
    assert_same_bytes::<codec::Bincode, _>(&page().body, &plain);
}

#[test]
#[cfg(feature = "postcard")]
fn stored_bytes_are_postcards_own() {
    assert_same_bytes::<codec::Postcard, _>(&page(), &postcard::to_stdvec(&page()).unwrap());
}

/// A release of serde that renames its visitor would only make reading slow; this test shows it.
#[test]
fn serdes_visitor_is_recognized() {
    struct NameSpy;
    impl<'de> Deserializer<'de> for NameSpy {
        type Error = SerdeError;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, SerdeError> {
            Err(de::Error::custom(type_name::<V>()))
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }
    for name in [Vec::<u8>::deserialize(NameSpy).unwrap_err(), Arc::<[u8]>::deserialize(NameSpy).unwrap_err()]
    {
        assert!(is_serde_vec_visitor(&name.to_string()), "{name}");
    }
    let other = Vec::<u16>::deserialize(NameSpy).unwrap_err();
    assert!(!is_serde_vec_visitor(&other.to_string()), "{other}");
}

#[test]
#[cfg(feature = "bincode")]
fn other_visitors_see_each_element() {
    /// Serialized with each byte doubled, and deserialized with each byte halved.
    #[derive(Debug, PartialEq)]
    struct Halves(Vec<u8>);

    impl Serialize for Halves {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().map(|byte| byte * 2))
        }
    }

    impl<'de> Deserialize<'de> for Halves {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Halving;
            impl<'de> Visitor<'de> for Halving {
                type Value = Vec<u8>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
                    let mut bytes = Vec::new();
                    while let Some(byte) = sequence.next_element::<u8>()? {
                        bytes.push(byte / 2);
                    }
                    Ok(bytes)
                }
            }
            deserializer.deserialize_seq(Halving).map(Halves)
        }
    }

    assert_same_bytes::<codec::Bincode, _>(&Halves(vec![1, 2, 3]), &[3, 2, 4, 6]);
}

#[test]
fn only_bytes_are_collected() {
    assert_eq!(collect_bytes(&[1_u8, 2]).unwrap(), [1, 2]);
    assert_eq!(collect_bytes(vec![1_u8, 2]).unwrap(), [1, 2]);
    assert!(collect_bytes(&[1_i8]).is_err());
    assert!(collect_bytes(&[true]).is_err());
    assert!(collect_bytes(&[Some(1_u8)]).is_err());
}
