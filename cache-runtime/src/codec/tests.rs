#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    score: f64,
    tags: Vec<String>,
    boss: Option<Box<User>>,
    kind: Kind,
    seen: BTreeMap<String, (i8, bool)>,
    groups: HashSet<u16>,
    digest: [u8; 4],
}
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    A,
    B(u32),
    C(i64, char),
    D { x: Option<i16> },
}
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(u8),
    Node(Vec<Tree>),
    Both(Box<Tree>, Box<Tree>),
    Wrapped(Box<Tree>),
}
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List(Option<Box<List>>);

/// Would decode with its fields swapped in a positional format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Contact {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    phones: Vec<u8>,
}
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    rest: HashMap<String, u8>,
}
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct HiddenSet(HashSet<u32>);

/// Loses a part when stored.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Partial(u8, #[serde(skip)] f64);

/// Text and bytes that serialize as other text and bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Loud(#[serde(serialize_with = "loudly")] String);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Doubled(#[serde(serialize_with = "doubled")] Vec<u8>);

/// Decodes to twice its value.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Skewed {
    #[serde(serialize_with = "twice")]
    amount: u8,
}

fn twice<S: serde::Serializer>(amount: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    (2 * amount).serialize(serializer)
}

fn loudly<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    format!("{text}!").serialize(serializer)
}

fn doubled<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    [bytes, bytes].concat().serialize(serializer)
}

fn stored<C: Codec, T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> Result<Vec<u8>, Error> {
    // After a header, as in an entry.
    let mut out = vec![0xFF; 3];
    encode_checked::<C, T>(value, Some(T::eq), &mut out)?;
    Ok(out.split_off(3))
}

fn round_trip<C: Codec, T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    assert_eq!(&decode::<C, T>(&stored::<C, T>(value).unwrap()).unwrap(), value);
}

/// Checks that the value is either stored and read unchanged, or not stored.
fn round_trip_or_refuse<C: Codec, T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    match stored::<C, T>(value) {
        Ok(bytes) => assert_eq!(&decode::<C, T>(&bytes).unwrap(), value),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Encode),
    }
}

/// Checks each number type with the low bits of `bits`.
#[allow(clippy::cast_possible_truncation, reason = "takes the low bits")]
fn numbers_round_trip<C: Codec>(bits: u128) {
    round_trip::<C, bool>(&(bits & 1 == 1));
    round_trip::<C, u8>(&(bits as u8));
    round_trip::<C, i8>(&(bits as i8));
    round_trip::<C, u16>(&(bits as u16));
    round_trip::<C, i16>(&(bits as i16));
    round_trip::<C, u32>(&(bits as u32));
    round_trip::<C, i32>(&(bits as i32));
    round_trip::<C, u64>(&(bits as u64));
    round_trip::<C, i64>(&(bits as i64));
    round_trip::<C, u128>(&bits);
    round_trip::<C, i128>(&(bits as i128));
    round_trip::<C, usize>(&(bits as usize));
    round_trip::<C, isize>(&(bits as isize));
    round_trip::<C, char>(&char::from_u32(bits as u32 % 0x11_0000).unwrap_or('\u{10FFFF}'));
    let floats = (f32::from_bits(bits as u32), f64::from_bits(bits as u64));
    if C::NAME != "json" || floats.0.is_finite() && floats.1.is_finite() {
        let again = |bytes: Result<Vec<u8>, Error>| decode::<C, f32>(&bytes.unwrap()).unwrap().to_bits();
        assert_eq!(again(stored::<C, f32>(&floats.0)), floats.0.to_bits());
        let again = |bytes: Result<Vec<u8>, Error>| decode::<C, f64>(&bytes.unwrap()).unwrap().to_bits();
        assert_eq!(again(stored::<C, f64>(&floats.1)), floats.1.to_bits());
    }
}

fn decode_as_many_types<C: Codec>(bytes: &[u8]) {
    let _ = decode::<C, User>(bytes);
    let _ = decode::<C, Tree>(bytes);
    let _ = decode::<C, List>(bytes);
    let _ = decode::<C, Contact>(bytes);
    let _ = decode::<C, Vec<()>>(bytes);
    let _ = decode::<C, HashMap<(), Vec<[u64; 8]>>>(bytes);
    let _ = decode::<C, Vec<Vec<Vec<String>>>>(bytes);
    let _ = decode::<C, (u128, i128, f32, char, Option<Option<bool>>)>(bytes);
    let _ = decode::<C, Untagged>(bytes);
    let _ = decode::<C, Flat>(bytes);
}

fn list(depth: usize) -> List {
    (0..depth).fold(List(None), |list, _| List(Some(Box::new(list))))
}

fn tree(depth: usize) -> Tree {
    (0..depth).fold(Tree::Leaf(1), |tree, _| Tree::Wrapped(Box::new(tree)))
}

fn contacts() -> impl Strategy<Value = Contact> {
    let text = || proptest::option::of("[a\u{1}\u{0}]{0,2}");
    (text(), text(), proptest::collection::vec(0..2u8, 0..3)).prop_map(|(name, email, phones)| Contact {
        name,
        email,
        phones,
    })
}

fn users() -> impl Strategy<Value = User> {
    let text = || ".{0,8}";
    let kind = prop_oneof![
        Just(Kind::A),
        any::<u32>().prop_map(Kind::B),
        (any::<i64>(), any::<char>()).prop_map(|(a, b)| Kind::C(a, b)),
        any::<Option<i16>>().prop_map(|x| Kind::D { x }),
    ];
    let plain = (
        any::<u64>(),
        text(),
        -1e300..1e300,
        proptest::collection::vec(text(), 0..4),
        kind,
        proptest::collection::btree_map(text(), any::<(i8, bool)>(), 0..4),
        proptest::collection::hash_set(any::<u16>(), 0..8),
        any::<[u8; 4]>(),
    );
    let plain = plain.prop_map(|(id, name, score, tags, kind, seen, groups, digest)| User {
        id,
        name,
        score,
        tags,
        boss: None,
        kind,
        seen,
        groups,
        digest,
    });
    (plain.clone(), proptest::option::of(plain))
        .prop_map(|(user, boss)| User { boss: boss.map(Box::new), ..user })
}

fn trees() -> impl Strategy<Value = Tree> {
    any::<u8>().prop_map(Tree::Leaf).prop_recursive(6, 30, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Tree::Node),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Both(Box::new(a), Box::new(b))),
            inner.prop_map(|tree| Tree::Wrapped(Box::new(tree))),
        ]
    })
}

/// Tests of every format.
macro_rules! every_codec {
    ($($module:ident: $feature:literal $codec:ident $golden:literal;)*) => {$(
        #[cfg(feature = $feature)]
        mod $module {
            use super::*;

            proptest! {
                #[test]
                fn values_decode_to_themselves(user in users(), tree in trees()) {
                    round_trip::<$codec, _>(&user);
                    round_trip::<$codec, _>(&tree);
                }

                /// Positional formats store these without checking, so only this test does.
                #[test]
                fn text_bytes_and_numbers_decode_to_themselves(
                    text in ".{0,300}",
                    bytes in proptest::collection::vec(any::<u8>(), 0..600),
                    bits in any::<u128>(),
                ) {
                    round_trip::<$codec, String>(&text);
                    round_trip::<$codec, Box<str>>(&text.as_str().into());
                    round_trip::<$codec, Arc<str>>(&text.as_str().into());
                    round_trip::<$codec, Vec<u8>>(&bytes);
                    round_trip::<$codec, Box<[u8]>>(&bytes.as_slice().into());
                    round_trip::<$codec, Arc<[u8]>>(&bytes.as_slice().into());
                    round_trip::<$codec, Bytes>(&bytes.into());
                    numbers_round_trip::<$codec>(bits);
                }

                #[test]
                fn omitted_fields_never_come_back_as_others(contacts in proptest::collection::vec(contacts(), 0..3)) {
                    if $codec::SELF_DESCRIBING {
                        round_trip::<$codec, _>(&contacts);
                    } else {
                        round_trip_or_refuse::<$codec, _>(&contacts);
                    }
                }

                #[test]
                fn arbitrary_bytes_do_no_harm(bytes in any::<Vec<u8>>()) {
                    decode_as_many_types::<$codec>(&bytes);
                }

                #[test]
                fn mutated_bytes_do_no_harm(user in users(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
                    let mut bytes = stored::<$codec, _>(&user).unwrap();
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                    decode_as_many_types::<$codec>(&bytes);
                    decode_as_many_types::<$codec>(&bytes[at..]);
                    decode_as_many_types::<$codec>(&bytes[..at]);
                }
            }

            /// A change here makes stored values unreadable.
            #[test]
            fn golden() {
                let value = (1u8, 300u32, -1i16, "é".to_owned(), Some(true), Kind::D { x: None }, vec![1.5f32]);
                let bytes = stored::<$codec, _>(&value).unwrap();
                assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), $golden);
            }

            #[test]
            fn plain_values_decode_to_themselves() {
                [0, 1, u128::MAX, u128::MAX / 2, 0x80, 0xFA, 0xFB].into_iter().for_each(numbers_round_trip::<$codec>);
                round_trip::<$codec, _>(&());
                round_trip::<$codec, _>(&String::new());
                round_trip::<$codec, _>(&(u64::MAX, i64::MIN, u8::MAX, f32::MIN_POSITIVE, '\u{10FFFF}'));
                round_trip::<$codec, _>(&(u128::MAX, i128::MIN));
                round_trip::<$codec, _>(&vec![Some("a".to_owned()), None]);
                round_trip::<$codec, _>(&std::time::Duration::from_nanos(1_000_000_001));
                round_trip::<$codec, _>(&HiddenSet((0..1000).collect()));
                round_trip::<$codec, _>(&Err::<u8, String>("no".into()));
                round_trip::<$codec, _>(&vec![(); 1000]);
                round_trip::<$codec, _>(&vec![7u8; 100_000]);
                round_trip::<$codec, _>(&"x".repeat(100_000));
            }

            #[test]
            fn values_that_would_come_back_changed_are_not_stored() {
                round_trip_or_refuse::<$codec, _>(&Some(None::<u8>));
                round_trip_or_refuse::<$codec, _>(&vec![f64::INFINITY, f64::NEG_INFINITY]);
                round_trip_or_refuse::<$codec, _>(&HashMap::from([((1u8, 2u8), 3u8)]));
                round_trip_or_refuse::<$codec, _>(&Untagged::Text("a".into()));
                round_trip_or_refuse::<$codec, _>(&Flat { id: 1, rest: HashMap::from([("a".into(), 2)]) });
                assert!(stored::<$codec, _>(&Skewed { amount: 1 }).is_err());
                assert!(stored::<$codec, _>(&Partial(1, 0.5)).is_err());
                assert!(stored::<$codec, _>(&Partial(1, 0.0)).is_ok());
                assert!(stored::<$codec, _>(&(f32::NAN, 1)).is_ok() || $codec::NAME == "json");
                assert!(stored::<$codec, _>(&Loud("a".into())).is_err());
                assert!(stored::<$codec, _>(&Doubled(vec![1, 2])).is_err());
                assert!(stored::<$codec, _>(&Some(Loud("a".into()))).is_err());
                assert!(stored::<$codec, _>(&f64::NAN).is_ok_and(|bytes| decode::<$codec, f64>(&bytes).unwrap().is_nan())
                    || $codec::NAME == "json");
            }

            #[test]
            fn deep_values_are_neither_written_nor_read() {
                round_trip::<$codec, _>(&tree(100));
                for error in [stored::<$codec, _>(&tree(10_000)), stored::<$codec, _>(&list(10_000))].map(Result::unwrap_err) {
                    assert_eq!(error.kind(), ErrorKind::Encode);
                    assert!(error.to_string().contains("128"), "{error}");
                }
                for byte in [0x00, 0x01, 0x02, 0x03, 0x31, 0x5B, 0x7B, 0x81, 0x82, 0x91, 0x92, 0xC7, 0xDC, 0xFF] {
                    decode_as_many_types::<$codec>(&vec![byte; 1 << 16]);
                }
                decode_as_many_types::<$codec>(&vec![0x01; 1 << 20]);
                // A format may read this byte again and again.
                for byte in 0..=u8::MAX {
                    decode_as_many_types::<$codec>(&[byte]);
                }
            }

            #[test]
            fn claimed_lengths_are_not_trusted() {
                for claim in [vec![0xFD; 9], vec![0xFF; 9], b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01".to_vec()] {
                    decode_as_many_types::<$codec>(&claim);
                }
                assert!(decode::<$codec, Vec<()>>(b"\xFD\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF").is_err());
                assert!(decode::<$codec, Vec<()>>(b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01").is_err());
                assert!(decode::<$codec, String>(b"\xFD\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F").is_err());
                assert!(decode::<$codec, Vec<u8>>(b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01").is_err());
                assert!(stored::<$codec, _>(&vec![(); 1 << 17]).is_err() || $codec::SELF_DESCRIBING);
            }

            #[test]
            fn errors_have_a_kind_and_suggest_a_codec() {
                assert_eq!(decode::<$codec, User>(b"\xC1").unwrap_err().kind(), ErrorKind::Protocol);
                let omitting = Contact { name: None, email: Some("a@b".into()), phones: vec![] };
                match stored::<$codec, _>(&omitting) {
                    Ok(_) => assert!($codec::SELF_DESCRIBING),
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.contains("skip_serializing_if") && text.contains("codec = \"msgpack\""), "{text}");
                    }
                }
            }

            #[test]
            fn shapes_are_traced_only_for_positional_formats() {
                assert_eq!(shape::<$codec, u8>().unwrap() == shape::of::<u8>().unwrap(), !$codec::SELF_DESCRIBING);
                assert_eq!(shape::<$codec, Untagged>().is_ok(), $codec::SELF_DESCRIBING);
            }
        }
    )*};
}

every_codec! {
    bincode: "bincode" Bincode "01fb2c010102c3a901010300010000c03f";
    postcard: "postcard" Postcard "01ac020102c3a901010300010000c03f";
    msgpack: "msgpack" MsgPack "9701cd012cffa2c3a9c381a14481a178c091ca3fc00000";
    json: "json" Json "5b312c3330302c2d312c22c3a9222c747275652c7b2244223a7b2278223a6e756c6c7d7d2c5b312e355d5d";
}
