#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Serialize;

use super::*;

fn bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Buffer::new();
    encode(value, &mut out).unwrap();
    out.to_vec()
}

fn hex<T: Serialize + ?Sized>(value: &T) -> String {
    bytes(value).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Serialize)]
struct Unit;
#[derive(Serialize)]
struct Id(u64);
#[derive(Serialize)]
struct Point(u8, u8);
#[derive(Serialize)]
struct User {
    id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    nick: Option<&'static str>,
}
#[derive(Serialize, Clone, Debug, PartialEq)]
enum Kind {
    A,
    B(u8),
    C(String, String),
    D { x: Option<u8>, y: Vec<Kind> },
}
#[derive(Serialize)]
#[serde(rename = "Kind")]
enum OtherKind {
    Z,
}
#[derive(Serialize)]
#[serde(untagged)]
enum Untagged {
    Kind(Kind),
    Other(OtherKind),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'static str),
    List(Vec<u8>),
    Pair(u8, u8),
}

/// A change here makes every entry of every user unreachable.
#[test]
fn golden() {
    assert_eq!(hex(&7u64), "050700000000000000");
    assert_eq!(hex(&-2i16), "08feff");
    assert_eq!(hex(&1u128), "0601000000000000000000000000000000");
    assert_eq!(hex(&1.5f32), "0c0000c03f");
    assert_eq!(hex(&true), "0101");
    assert_eq!(hex(&'é'), "0ee9000000");
    assert_eq!(hex("ab"), "0f026162");
    assert_eq!(hex(&"x".repeat(200)), format!("0fc801{}", "78".repeat(200)));
    assert_eq!(hex(&Some(true)), "120101");
    assert_eq!(hex(&None::<u8>), "11");
    assert_eq!(hex(&()), "13");
    assert_eq!(hex(&Unit), "1404556e6974");
    assert_eq!(hex(&Id(1)), "16024964050100000000000000");
    assert_eq!(hex(&Point(1, 2)), "1b05506f696e740201020200");
    assert_eq!(hex(&(1u8, "a")), "1a02010f016100");
    assert_eq!(hex(&vec![1u8, 2]), "22020102");
    assert_eq!(hex(&vec![1u16, 2]), "1803010003020000");
    assert_eq!(hex(&HashSet::from([2u8, 1])), "190201020200");
    assert_eq!(hex(&HashMap::from([(2u8, true), (1, false)])), "1d020101000202010100");
    assert_eq!(hex(&User { id: 1, nick: Some("b") }), "1e045573657220026964020120046e69636b120f016200");
    assert_eq!(hex(&User { id: 1, nick: None }), "1e045573657220026964020121046e69636b00");
    assert_eq!(hex(&Kind::A), "15044b696e64000000000141");
    assert_eq!(hex(&Kind::B(9)), "17044b696e640100000001420209");
    assert_eq!(hex(&Kind::C("a".into(), String::new())), "1c044b696e640200000001430f01610f0000");
    assert_eq!(hex(&Kind::D { x: None, y: vec![] }), "1f044b696e6403000000014420017811200179180000");
}

#[test]
fn similar_values_differ_and_none_is_a_prefix_of_another() {
    let all = [
        bytes(&5u64),
        bytes(&5i64),
        bytes(&5u32),
        bytes(&5.0f64),
        bytes(&0.0f64),
        bytes(&-0.0f64),
        bytes(&f64::NAN),
        bytes(&f64::from_bits(f64::NAN.to_bits() | 1)),
        bytes(""),
        bytes("5"),
        bytes(&'5'),
        bytes(&()),
        bytes(&None::<()>),
        bytes(&Some(())),
        bytes(&Some(Some(()))),
        bytes(&Some(None::<()>)),
        bytes(&("a", "bc")),
        bytes(&("ab", "c")),
        bytes(&("abc",)),
        bytes(&["a", "bc"].as_slice()),
        bytes(&(("a",), "bc")),
        bytes(&("a", ("bc",))),
        bytes(&vec![vec![1u8], vec![]]),
        bytes(&vec![vec![], vec![1u8]]),
        bytes(&Vec::<u8>::new()),
        bytes(&BTreeMap::<u8, u8>::new()),
        bytes(&HashSet::<u8>::new()),
        bytes(&Unit),
        bytes(&Id(5)),
        bytes(&Point(0, 5)),
        bytes(&User { id: 5, nick: None }),
        bytes(&User { id: 5, nick: Some("") }),
        bytes(&Untagged::Kind(Kind::A)),
        bytes(&Untagged::Other(OtherKind::Z)),
        bytes(&Untagged::List(vec![1, 2])),
        bytes(&HashSet::from([1u8, 2])),
        bytes(&Untagged::Pair(1, 2)),
    ];
    for (i, one) in all.iter().enumerate() {
        for (j, other) in all.iter().enumerate() {
            assert!(i == j || !other.starts_with(one), "{i} is a prefix of {j}");
        }
    }
    assert_eq!(bytes(&Untagged::Signed(5)), bytes(&5i64));
    assert_eq!(bytes(&Untagged::Unsigned(5)), bytes(&5u64));
    assert_eq!(bytes(&Untagged::Float(5.0)), bytes(&5.0f64));
    assert_eq!(bytes(&Untagged::Text("")), bytes(""));
}

#[test]
fn pointers_have_the_bytes_of_their_targets() {
    assert_eq!(bytes(&Box::new(7u8)), bytes(&7u8));
    assert_eq!(bytes(&&&"a"), bytes("a"));
    assert_eq!(bytes(&Cow::Borrowed("a")), bytes(&String::from("a")));
}

/// Makes equal hash sets iterate in another order than [`DefaultHasher`] does.
#[derive(Clone, Default)]
struct Backwards(DefaultHasher);

impl std::hash::Hasher for Backwards {
    fn finish(&self) -> u64 {
        !self.0.finish()
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }
}

type Forward = HashSet<u16, BuildHasherDefault<DefaultHasher>>;
type Reverse = HashSet<u16, BuildHasherDefault<Backwards>>;

#[derive(Serialize)]
struct Holder<S> {
    field: S,
    some: Option<S>,
    elements: Vec<S>,
    tuple: (u8, S),
    values: BTreeMap<u8, S>,
    newtype: Newtype<S>,
    variant: Variant<S>,
    boxed: Newtype<Box<S>>,
}
#[derive(Serialize)]
struct Newtype<S>(S);
#[derive(Serialize)]
enum Variant<S> {
    Holds(S),
}
fn holder<S: Clone>(set: S) -> Holder<S> {
    Holder {
        field: set.clone(),
        some: Some(set.clone()),
        elements: vec![set.clone()],
        tuple: (1, set.clone()),
        values: BTreeMap::from([(1, set.clone())]),
        newtype: Newtype(set.clone()),
        variant: Variant::Holds(set.clone()),
        boxed: Newtype(Box::new(set)),
    }
}

#[test]
fn hash_sets_are_sorted_wherever_they_are_nested() {
    let forward: Forward = (0..50).collect();
    let reverse: Reverse = (0..50).collect();
    assert!(
        !forward.iter().eq(reverse.iter()),
        "the sets must iterate differently for this to test anything"
    );
    assert_eq!(bytes(&forward), bytes(&reverse));
    assert_eq!(bytes(&&&forward), bytes(&reverse));
    assert_eq!(bytes(&holder(forward)), bytes(&holder(reverse)));
}

#[test]
fn hash_sets_are_recognized_by_their_full_name() {
    struct HashSetLike;
    assert!(is_hash_set(type_name::<HashSet<u8>>()));
    assert!(is_hash_set(type_name::<&mut &Arc<Box<Forward>>>()));
    assert!(is_hash_set("hashbrown::set::HashSet<u8, S>"));
    assert!(!is_hash_set(type_name::<Vec<HashSet<u8>>>()));
    assert!(!is_hash_set(type_name::<BTreeSet<u8>>()));
    assert!(!is_hash_set(type_name::<HashSetLike>()));
    assert!(!is_hash_set(type_name::<Rc<str>>()));
    assert!(
        is_hash_map("hashbrown::map::HashMap<u8, u8>") && !is_hash_map("indexmap::map::IndexMap<u8, u8>")
    );
}

/// A map that keeps its order, serialized by `collect_map` or entry by entry.
struct Ordered {
    entries: Vec<(&'static str, u8)>,
    is_collected: bool,
}

impl Serialize for Ordered {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        if self.is_collected {
            return serializer.collect_map(self.entries.iter().map(|(key, value)| (key, value)));
        }
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.entries {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[test]
fn ordered_maps_keep_their_order() {
    for is_collected in [true, false] {
        let [one, other] = [[("z", 1), ("a", 2)], [("a", 2), ("z", 1)]]
            .map(|entries| Ordered { entries: entries.into(), is_collected });
        assert_ne!(bytes(&one), bytes(&other));
        let unordered = |value: &Ordered| {
            let mut out = Buffer::new();
            encode_ordered(Order::Sorted, value, &mut out).unwrap();
            out
        };
        assert_eq!(unordered(&one), unordered(&other), "order doesn't count when values are compared");
    }
    assert_eq!(hex(&BTreeMap::from([(1u16, true), (256, false)])), "1d0301000101030001010000");
}

#[test]
fn hash_maps_and_sets_are_recognized_behind_transparent_types() {
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Shared<S>(std::sync::Mutex<S>);
    fn shared<S: Serialize>(inner: S) -> Vec<u8> {
        bytes(&Shared(std::sync::Mutex::new(inner)))
    }
    let (forward, reverse): (Forward, Reverse) = ((0..50).collect(), (0..50).collect());
    let map = |n: &u16| (*n, ());
    let maps: (
        HashMap<_, _, BuildHasherDefault<DefaultHasher>>,
        HashMap<_, _, BuildHasherDefault<Backwards>>,
    ) = (forward.iter().map(map).collect(), reverse.iter().map(map).collect());
    assert_eq!(shared(forward), shared(reverse));
    assert_eq!(shared(maps.0), shared(maps.1));
}

#[test]
fn hidden_sets_are_equal_when_unordered() {
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Hidden<S: IntoIterator<Item = u16> + Clone>(#[serde(serialize_with = "elements")] S);
    fn elements<I: IntoIterator<Item = u16> + Clone, S: serde::Serializer>(
        set: &I,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(set.clone().into_iter().map(u32::from))
    }
    fn unordered<T: Serialize>(value: &T) -> Buffer {
        let mut out = Buffer::new();
        encode_ordered(Order::Sorted, value, &mut out).unwrap();
        out
    }
    let forward = Hidden((0..50).collect::<Forward>());
    let reverse = Hidden((0..50).collect::<Reverse>());
    let fewer = Hidden((1..50).collect::<Reverse>());
    assert_ne!(bytes(&forward), bytes(&reverse));
    assert_eq!(unordered(&forward), unordered(&reverse));
    assert_ne!(unordered(&forward), unordered(&fewer));
}

#[test]
fn deep_values_are_refused() {
    #[derive(Serialize)]
    struct List(Option<Box<List>>);
    let list = |depth| (0..depth).fold(List(None), |list, _| List(Some(Box::new(list))));
    assert!(encode(&list(60), &mut Buffer::new()).is_ok());
    let error = encode(&list(1000), &mut Buffer::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
    assert!(error.to_string().contains("128"), "{error}");
}

#[test]
fn errors_of_a_type_are_passed_on() {
    struct Secret;
    impl Serialize for Secret {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("a secret is not serialized"))
        }
    }
    let error = encode(&(1, Secret), &mut Buffer::new()).unwrap_err();
    assert!(error.to_string().contains("a secret is not serialized"), "{error}");
}

fn kinds() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::A),
        (0..3u8).prop_map(Kind::B),
        ("[\u{0}a:]{0,2}", "[\u{0}a:]{0,2}").prop_map(|(a, b)| Kind::C(a, b)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        (proptest::option::of(0..2u8), proptest::collection::vec(inner, 0..3))
            .prop_map(|(x, y)| Kind::D { x, y })
    })
}

proptest! {
    #[test]
    fn values_share_bytes_only_if_equal(a in kinds(), b in kinds()) {
        prop_assert_eq!(bytes(&a) == bytes(&b), a == b);
        prop_assert!(a == b || !bytes(&a).starts_with(&bytes(&b)));
    }

    #[test]
    fn strings_in_a_row_do_not_run_together(
        a in proptest::collection::vec("[\u{0}a,]{0,3}", 0..4),
        b in proptest::collection::vec("[\u{0}a,]{0,3}", 0..4),
    ) {
        prop_assert_eq!(bytes(&a) == bytes(&b), a == b);
    }

    #[test]
    fn floats_are_compared_by_their_bits(a in any::<u64>(), b in any::<u64>()) {
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        prop_assert_eq!(bytes(&x) == bytes(&y), a == b);
    }

    #[test]
    fn hash_maps_and_sets_have_no_order(mut entries in proptest::collection::vec((any::<u16>(), "[ab]{0,2}"), 0..20)) {
        entries.dedup_by_key(|entry| entry.0);
        let forward: HashMap<_, _, BuildHasherDefault<DefaultHasher>> = entries.iter().cloned().collect();
        let reverse: HashMap<_, _, BuildHasherDefault<Backwards>> = entries.iter().cloned().collect();
        prop_assert_eq!(bytes(&forward), bytes(&reverse));
        let keys: Forward = forward.keys().copied().collect();
        let again: Reverse = forward.keys().copied().collect();
        prop_assert_eq!(bytes(&keys), bytes(&again));
    }

    #[test]
    fn maps_that_differ_have_different_bytes(
        a in proptest::collection::hash_map(0..3u8, 0..2u8, 0..3),
        b in proptest::collection::hash_map(0..3u8, 0..2u8, 0..3),
    ) {
        prop_assert_eq!(bytes(&a) == bytes(&b), a == b);
    }
}
