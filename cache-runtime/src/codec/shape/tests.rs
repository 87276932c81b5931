#![allow(clippy::unwrap_used, dead_code)]

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Deserializer};

use super::*;
use crate::error::ErrorKind;

fn text<T: DeserializeOwned>() -> String {
    Trace::of::<T>().unwrap().text
}

fn refusal<T: DeserializeOwned>() -> String {
    let error = of::<T>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    error.to_string()
}

#[derive(Deserialize)]
struct User {
    id: u64,
    name: String,
    boss: Option<Box<User>>,
    kind: Kind,
}
#[derive(Deserialize)]
enum Kind {
    A,
    B(u32),
    C(u8, String),
    D { x: i8, y: Option<u16> },
}
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<T>,
}
#[derive(Deserialize)]
struct Unit;
#[derive(Deserialize)]
struct Meters(f64);
#[derive(Deserialize)]
struct Rgb(u8, u8, u8);
#[derive(Deserialize)]
struct Empty {}
#[derive(Deserialize)]
enum Never {}

/// A change here makes every stored value of such types unreachable.
#[test]
fn golden() {
    let user = "struct \"User\"{\"id\":u64,\"name\":string,\"boss\":option(#0),\
                \"kind\":enum \"Kind\"{\"A\":unit,\"B\":new u32,\"C\":(u8,string),\"D\":{\"x\":i8,\"y\":option(u16)}}}";
    assert_eq!(text::<User>(), user);
    assert_eq!(
        of::<User>().unwrap(),
        Shape { fingerprint: XxHash3_64::oneshot(user.as_bytes()), recursive: true }
    );
    assert_eq!(of::<User>().unwrap().fingerprint, 15_649_872_916_774_773_179);
    assert_eq!(of::<u64>().unwrap().fingerprint, 11_693_619_057_167_577_075);
    assert_eq!(of::<Page<Meters>>().unwrap().fingerprint, 2_636_960_999_487_749_754);
    assert_eq!(named::<u64>("msgpack").fingerprint, 15_662_917_135_450_453_496);
}

#[test]
fn plain_types() {
    assert_eq!(text::<u128>(), "u128");
    assert_eq!(text::<()>(), "unit");
    assert_eq!(text::<char>(), "char");
    assert_eq!(text::<Box<str>>(), "string");
    assert_eq!(text::<Unit>(), "unit \"Unit\"");
    assert_eq!(text::<Empty>(), "struct \"Empty\"{}");
    assert_eq!(text::<Never>(), "enum \"Never\"{}");
    assert_eq!(text::<Meters>(), "newtype \"Meters\"(f64)");
    assert_eq!(text::<Rgb>(), "tuple \"Rgb\"(u8,u8,u8)");
    assert_eq!(text::<Option<Vec<bool>>>(), "option(seq(bool))");
    assert_eq!(text::<[u8; 32]>(), "tuple 32(u8)");
    assert_eq!(text::<[u8; 0]>(), "tuple()");
    assert_eq!(text::<BTreeMap<String, u8>>(), text::<HashMap<String, u8>>());
    assert_eq!(text::<HashMap<String, u8>>(), "map(string,u8)");
    assert_eq!(text::<Result<u8, String>>(), "enum \"Result\"{\"Ok\":new u8,\"Err\":new string}");
    assert_eq!(
        text::<(u8, u16, u32, u64, i8, i16, i32, String)>(),
        "tuple(u8,u16,u32,u64,i8,i16,i32,string)"
    );
}

#[test]
fn types_that_validate() {
    assert_eq!(text::<chrono::DateTime<chrono::Utc>>(), "str");
    assert_eq!(text::<chrono::NaiveDate>(), "str");
    assert_eq!(text::<uuid::Uuid>(), "bytes");
    assert_eq!(text::<url::Url>(), "str");
    assert_eq!(text::<NonZeroU32>(), "u32");
    assert_eq!(text::<IpAddr>(), "enum \"IpAddr\"{\"V4\":new tuple 4(u8),\"V6\":new tuple 16(u8)}");
    assert!(text::<SocketAddr>().contains("\"V6\":new tuple(tuple 16(u8),u16)"));
    assert_eq!(text::<Duration>(), "struct \"Duration\"{\"secs\":u64,\"nanos\":u32}");
    assert!(text::<SystemTime>().contains("\"nanos_since_epoch\":u32"));
}

#[test]
fn samples_satisfy_types_that_validate() {
    type Row = Page<chrono::NaiveDate>;
    let row = "struct \"Page\"{\"items\":seq(str),\"next\":option(str)}";
    assert_eq!(text::<(chrono::NaiveDate, Row)>(), format!("tuple(str,{row})"));
    assert_eq!(text::<HashMap<url::Url, Row>>(), format!("map(str,{row})"));
    assert_eq!(text::<HashMap<uuid::Uuid, Row>>(), format!("map(bytes,{row})"));
    let first = "chrono::DateTime<chrono::Utc>, url::Url, uuid::Uuid, NonZeroU32, IpAddr";
    let all =
        text::<(chrono::DateTime<chrono::Utc>, url::Url, uuid::Uuid, NonZeroU32, IpAddr, Kind, Tree, Row)>();
    assert!(all.ends_with(&format!("{row})")), "{all} after {first}");
    assert!(!all.contains('~'), "{all}");
}

#[test]
fn types_that_reject_all_samples_are_written_by_name() {
    #[derive(Deserialize, PartialEq, Eq, Hash)]
    #[serde(try_from = "String")]
    struct Picky(String);
    impl TryFrom<String> for Picky {
        type Error = &'static str;
        fn try_from(text: String) -> Result<Self, &'static str> {
            if text == "open sesame" { Ok(Self(text)) } else { Err("no") }
        }
    }
    assert_eq!(text::<Picky>(), "string");
    let pair = text::<(Picky, u8)>();
    assert!(pair.starts_with("tuple(string,~\"(") && pair.contains("Picky, u8"), "{pair}");
    assert_ne!(of::<(Picky, u8)>().unwrap(), of::<(Picky, u16)>().unwrap());
    assert_ne!(of::<HashMap<Picky, u8>>().unwrap(), of::<HashMap<Picky, u16>>().unwrap());
}

#[derive(Deserialize)]
enum Tree {
    Node(Box<Tree>, Box<Tree>),
    Leaf(u8),
}
#[derive(Deserialize)]
struct Forest {
    trees: Vec<Tree>,
    sub: Vec<Forest>,
}
#[derive(Deserialize)]
struct Chicken {
    eggs: Vec<Egg>,
}
#[derive(Deserialize)]
struct Egg {
    mother: Option<Box<Chicken>>,
}
#[derive(Deserialize)]
#[serde(transparent)]
struct Dir(BTreeMap<String, Dir>);

#[test]
fn recursion_ends() {
    assert_eq!(text::<Tree>(), "enum \"Tree\"{\"Node\":(#0,#0),\"Leaf\":new u8}");
    assert_eq!(
        text::<Forest>(),
        "struct \"Forest\"{\"trees\":seq(enum \"Tree\"{\"Node\":(#2,#2),\"Leaf\":new u8}),\"sub\":seq(#0)}"
    );
    assert_eq!(text::<Chicken>(), "struct \"Chicken\"{\"eggs\":seq(struct \"Egg\"{\"mother\":option(#0)})}");
    assert_eq!(text::<Dir>(), "map(string,#0)");
    assert!(
        [of::<Tree>(), of::<Forest>(), of::<Chicken>(), of::<Dir>()]
            .iter()
            .all(|s| s.as_ref().unwrap().recursive)
    );
    assert!(!of::<(Kind, Kind)>().unwrap().recursive);
}

/// Two modules may have types of one name.
#[test]
fn types_of_one_name_are_told_apart() {
    mod one {
        #[derive(serde::Deserialize)]
        pub(super) struct Item(u8);
    }
    mod two {
        #[derive(serde::Deserialize)]
        pub(super) struct Item(u16);
    }
    type Both = (one::Item, two::Item);
    assert_eq!(text::<Both>(), "tuple(newtype \"Item\"(u8),newtype \"Item\"(u16))");
    assert_eq!(text::<(Both, one::Item)>().chars().rev().take(4).collect::<String>(), ")2#,");
    assert_eq!(text::<(Both, two::Item)>().chars().rev().take(4).collect::<String>(), ")3#,");
}

#[derive(Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Percent(u8);
impl TryFrom<u8> for Percent {
    type Error = String;
    fn try_from(value: u8) -> Result<Self, String> {
        if value <= 100 { Ok(Self(value)) } else { Err(format!("{value} %")) }
    }
}
mod hex {
    use super::*;
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() % 2 == 0 { Ok(text.into_bytes()) } else { Err(serde::de::Error::custom("odd")) }
    }
}
mod foreign {
    pub(super) struct Celsius {
        pub(super) degrees: f32,
    }
}
#[derive(Deserialize)]
#[serde(remote = "foreign::Celsius")]
struct Celsius {
    degrees: f32,
}

#[test]
fn attributes_of_serde_are_traced() {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Attributes {
        percent: Percent,
        #[serde(rename = "a \"quoted\" name")]
        renamed: u8,
        #[serde(default)]
        with_default: bool,
        #[serde(skip)]
        skipped: u64,
        #[serde(with = "hex")]
        digest: Vec<u8>,
        #[serde(with = "Celsius")]
        outside: foreign::Celsius,
    }
    assert_eq!(
        text::<Attributes>(),
        "struct \"Attributes\"{\"percent\":u8,\"a \\\"quoted\\\" name\":u8,\"withDefault\":bool,\"digest\":string,\
         \"outside\":struct \"Celsius\"{\"degrees\":f32}}"
    );
}

#[test]
fn types_that_swallow_errors_are_traced() {
    fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        Ok(u8::deserialize(deserializer).unwrap_or_default())
    }
    #[derive(Deserialize)]
    struct Lenient {
        #[serde(deserialize_with = "lenient")]
        a: u8,
        b: u16,
    }
    struct Constant;
    impl<'de> Deserialize<'de> for Constant {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    assert_eq!(text::<Lenient>(), "struct \"Lenient\"{\"a\":u8,\"b\":u16}");
    assert!(text::<Constant>().starts_with("~\"") && text::<Constant>().ends_with("Constant\""));
    assert!(text::<Vec<Constant>>().starts_with("seq(~"));
}

#[test]
fn types_of_no_fixed_shape_are_refused() {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
        Text(String),
    }
    #[derive(Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        A { x: u8 },
    }
    #[derive(Deserialize)]
    #[serde(tag = "type", content = "content")]
    enum Adjacent {
        A(u8),
    }
    #[derive(Deserialize)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        rest: HashMap<String, u8>,
    }
    #[derive(Deserialize)]
    struct Outer {
        id: u8,
        inner: Option<Untagged>,
    }
    for message in [refusal::<Untagged>(), refusal::<Tagged>(), refusal::<Adjacent>(), refusal::<Flat>()] {
        assert!(message.contains("`codec = \"msgpack\"`"), "{message}");
    }
    let outer = refusal::<Outer>();
    assert!(outer.contains("Untagged") && outer.contains("Outer"), "{outer}");
}

#[test]
fn every_change_of_a_type_changes_its_fingerprint() {
    macro_rules! versions {
        ($($version:ident: $item:item)*) => {{
            $(mod $version {
                use super::*;
                #[derive(Deserialize)]
                $item
            })*
            [$((stringify!($version), text::<$version::T>(), of::<$version::T>().unwrap().fingerprint),)*]
        }};
    }
    let structs = versions! {
        original: pub(super) struct T { width: u32, height: u32, name: String }
        added: pub(super) struct T { width: u32, height: u32, name: String, depth: u32 }
        added_default: pub(super) struct T { width: u32, height: u32, name: String, #[serde(default)] deep: u32 }
        removed: pub(super) struct T { width: u32, height: u32 }
        renamed: pub(super) struct T { wide: u32, height: u32, name: String }
        retyped: pub(super) struct T { width: i32, height: u32, name: String }
        swapped: pub(super) struct T { height: u32, width: u32, name: String }
        optional: pub(super) struct T { width: u32, height: u32, name: Option<String> }
        listed: pub(super) struct T { width: u32, height: u32, name: Vec<String> }
        nested: pub(super) struct T { width: u32, height: u32, name: Meters }
        positional: pub(super) struct T(u32, u32, String);
    };
    let enums = versions! {
        original_enum: pub(super) enum T { A, B(u8), C { x: u8, y: u8 } }
        inserted: pub(super) enum T { A, Z, B(u8), C { x: u8, y: u8 } }
        appended: pub(super) enum T { A, B(u8), C { x: u8, y: u8 }, Z }
        reordered: pub(super) enum T { B(u8), A, C { x: u8, y: u8 } }
        renamed_enum: pub(super) enum T { A, Bee(u8), C { x: u8, y: u8 } }
        retyped_enum: pub(super) enum T { A, B(u16), C { x: u8, y: u8 } }
        kind: pub(super) enum T { A, B { x: u8 }, C { x: u8, y: u8 } }
        swapped_enum: pub(super) enum T { A, B(u8), C { y: u8, x: u8 } }
        deep: pub(super) enum T { A, B(u8), C { x: u8, y: u16 } }
        two: pub(super) enum T { A, B(u8, u8), C { x: u8, y: u8 } }
    };
    let all: Vec<_> = structs.into_iter().chain(enums).collect();
    for (i, (one, one_text, a)) in all.iter().enumerate() {
        for (other, other_text, b) in all.iter().take(i) {
            assert_ne!(a, b, "{one} {one_text} and {other} {other_text}");
        }
    }
}

/// Their visitors share a name.
#[test]
fn variants_of_the_same_fields_are_each_traced() {
    #[derive(Deserialize)]
    enum Twins {
        A { x: u8 },
        B { x: u64 },
        C(u8, u8),
        D(u8, u16),
    }
    assert_eq!(
        text::<Twins>(),
        "enum \"Twins\"{\"A\":{\"x\":u8},\"B\":{\"x\":u64},\"C\":(u8,u8),\"D\":(u8,u16)}"
    );
}

#[test]
fn many_parts_are_traced_in_little_time() {
    macro_rules! wide {
        ($($field:ident)*) => {
            #[derive(Deserialize)]
            struct Wide { $($field: Page<Kind>,)* last: u8 }
        };
    }
    wide!(a b c d e f g h i j k l m n o p q r s t u v w x y z aa bb cc dd ee ff gg hh ii jj kk ll mm nn oo pp);
    #[derive(Deserialize)]
    struct Doubled<T> {
        left: Box<T>,
        right: Box<T>,
    }
    type Nested = Doubled<Doubled<Doubled<Doubled<Doubled<Doubled<Doubled<Doubled<Wide>>>>>>>>;
    let start = Instant::now();
    let text = text::<Nested>();
    // Generous, for debug builds and busy machines, but 2^8 tracings would take longer.
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    assert!(text.contains("\"last\":u8") && !text.contains('~'));
    assert!(text.len() < 3000, "{}", text.len());
}

#[test]
fn named_shapes_depend_on_codec_and_type() {
    assert_ne!(named::<u8>("json"), named::<u8>("msgpack"));
    assert_ne!(named::<u8>("json"), named::<u16>("json"));
}

/// A conversion that takes only addresses.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Email(String);

impl From<String> for Email {
    fn from(text: String) -> Self {
        let at = text.find('@').expect("an address");
        Self(text[at..].to_owned())
    }
}

#[test]
fn the_name_stands_for_what_panics() {
    assert_eq!(text::<Email>(), "string");
    let (pair, list) = (text::<(Email, u64)>(), text::<Vec<Email>>());
    assert!(pair.starts_with("tuple(string,~") && pair.contains("::Email"), "{pair}");
    assert_ne!(of::<(Email, u64)>().unwrap().fingerprint, of::<(Email, u8)>().unwrap().fingerprint);
    assert!(list.starts_with("seq("), "{list}");
}
