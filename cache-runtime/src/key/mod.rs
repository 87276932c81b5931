//! Keys: from arguments to the bytes that identify a call, and to the text used on servers.
//!
//! The bytes are [canonical](crate::codec::canonical) and injective. On a server the text is
//! `{prefix}{namespace}:{version}:{shape}:` and then either `#` with the digest of the bytes in base64
//! (BLAKE3, 256 bits: no collision to forge, nothing personal in a key), or the text of a
//! `key = "…"` template, whose fields are escaped so that joins can't collide.

use std::any::{TypeId, type_name};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

use serde::Serialize;
use smallvec::SmallVec;

use crate::codec::canonical::{self, Buffer};
use crate::error::{Error, ErrorKind};
use crate::memory::Short;

/// The longest text key that is sent as text; Memcached takes no longer ones.
const MAX_TEXT: usize = 250;

/// What identifies a call of one function.
#[derive(Clone)]
pub(crate) struct Key {
    bytes: Buffer,
    is_text: bool,
}

impl Key {
    /// The bytes that identify the call within its function.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Other bytes that identify it as well, and that are faster to compare: whole words, with zeros at the end. No value
    /// is a prefix of another, and all texts of a template have as many zeros (fields have none), so that no two keys
    /// become alike.
    #[inline]
    pub(crate) fn words(&self) -> &[u8] {
        self.bytes.padded()
    }

    /// The two words there are at the most, with zeros for those there are not; of a longer key `None`.
    #[inline]
    pub(crate) fn short(&self) -> Option<Short> {
        self.bytes.two_words()
    }

    /// The key on a server, behind `head`.
    pub(crate) fn text(&self, head: &str) -> String {
        String::from_utf8_lossy(&self.text_bytes(head)).into_owned()
    }

    /// The bytes of [`text`](Self::text), for a look-up, without allocating.
    pub(crate) fn text_bytes(&self, head: &str) -> TextBytes {
        let mut text = TextBytes::new();
        self.append_text(head, &mut text);
        text
    }

    /// Appends them, where they are to stay.
    pub(crate) fn append_text(&self, head: &str, text: &mut TextBytes) {
        // Not `from_slice`, which fills another place and copies all of that.
        text.extend_from_slice(head.as_bytes());
        // A template that begins like a digest, or is too long, becomes a digest itself.
        if self.is_text && !self.bytes.starts_with(b"#") && text.len() + self.bytes.len() <= MAX_TEXT {
            text.extend_from_slice(&self.bytes);
        } else {
            text.push(b'#');
            text.extend_from_slice(&digest(&self.bytes)[..DIGEST]);
        }
    }
}

/// As long as a digest behind the usual heads.
pub(crate) type TextBytes = SmallVec<[u8; 128]>;

/// The length of a digest in keys.
const DIGEST: usize = 43;

/// The digest of `bytes` in the base64 of URLs (RFC 4648), and padding: shorter than hex, and legal in keys too.
///
/// Not inlined: what the compiler knows to be single bytes it also copies one by one.
#[inline(never)]
fn digest(bytes: &[u8]) -> [u8; WORDS * 8] {
    let (mut padded, mut digits) = ([0; WORDS * 6], [0; WORDS * 8]);
    padded[..32].copy_from_slice(blake3::hash(bytes).as_bytes());
    for (six, eight) in padded.as_chunks().0.iter().zip(digits.as_chunks_mut().0) {
        *eight = spread(*six).to_le_bytes();
    }
    digits.iter_mut().for_each(|digit| *digit = letter(*digit));
    digits
}

/// How many words of eight digits hold a digest.
const WORDS: usize = DIGEST.div_ceil(8);

/// Six bytes as eight digits of six bits, the first one lowest: three times, each part is halved and its halves change
/// places.
fn spread([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    let bits = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let bits = bits >> 24 | (bits & 0x00ff_ffff) << 32;
    let bits = bits >> 12 & 0x0000_0fff_0000_0fff | (bits & 0x0000_0fff_0000_0fff) << 16;
    bits >> 6 & 0x003f_003f_003f_003f | (bits & 0x003f_003f_003f_003f) << 8
}

/// The letter of a digit. Reckoned, because the compiler does so for many at once, and looks up one by one.
fn letter(digit: u8) -> u8 {
    let from = |first: u8, step: u8| if digit >= first { step } else { 0 };
    // `A` to `Z`, `a` to `z`, `0` to `9`, `-`, `_`.
    let behind = from(26, b'a' - b'Z' - 1).wrapping_sub(from(52, b'z' - b'0' + 1));
    let behind = behind.wrapping_sub(from(62, b'9' - b'-' + 1)).wrapping_add(from(63, b'_' - b'-' - 1));
    digit.wrapping_add(b'A').wrapping_add(behind)
}

/// A function's namespace as it stands in keys: in letters that every backend takes, and so short that a digest fits
/// behind it and `prefix`. `<A as Trait>::f` has spaces, and type names have no end.
pub(crate) fn namespace_in_keys<'n>(namespace: &'n str, prefix: &str) -> Cow<'n, str> {
    // `:4294967295:`, the shape, `:#`, the digest.
    const BEHIND: usize = 12 + 16 + 2 + DIGEST;
    let room = MAX_TEXT.saturating_sub(BEHIND + prefix.len()).max(64);
    let spaced = match namespace.contains(' ') {
        // No path has a `~`.
        true => namespace.replace(' ', "~").into(),
        false => Cow::Borrowed(namespace),
    };
    if spaced.len() <= room && spaced.bytes().all(|byte| byte.is_ascii_graphic()) {
        return spaced;
    }
    let digest = blake3::hash(namespace.as_bytes()).to_hex();
    let mut readable: Vec<char> =
        spaced.chars().rev().filter(char::is_ascii_graphic).take(room - 33).collect();
    readable.reverse();
    format!("{}~{}", &digest[..32], String::from_iter(readable)).into()
}

/// Collects arguments, in their order. The first that doesn't serialise decides: there is no key then.
///
/// It is what calls take, and holds what becomes of it, so that a key is not copied: see `Buffer` for what a copy costs.
pub struct Args(pub(crate) Result<Key, Error>);

impl Args {
    /// None so far.
    #[inline]
    #[allow(clippy::new_without_default, reason = "for generated code only")]
    pub fn new() -> Self {
        Self(Ok(Key { bytes: Buffer::new(), is_text: false }))
    }

    /// Adds one argument.
    #[inline]
    pub fn arg<T: Serialize + ?Sized>(&mut self, value: &T) {
        let Ok(key) = &mut self.0 else { return };
        if let Err(error) = canonical::encode(value, &mut key.bytes) {
            self.0 = Err(error);
        }
    }

    /// Adds what tells the instantiations of a generic function apart, and the types that share a method.
    ///
    /// `callee` is the function or a closure within it.
    #[inline]
    pub fn instance<T: ?Sized>(&mut self, _: &T, in_memory: bool) {
        if let Some(identity) = Identity::of_instance::<T>(in_memory) {
            self.identity(identity);
        }
    }

    /// Adds the type of an `impl Trait` argument: by identity for keys in this process, else by name.
    #[inline]
    pub fn type_of<T: ?Sized>(&mut self, _: &T, in_memory: bool) {
        self.identity(Identity::of::<T>(in_memory, false));
    }

    fn identity(&mut self, identity: Result<Identity, Error>) {
        let Ok(Key { bytes, .. }) = &mut self.0 else { return };
        match identity {
            Ok(Identity::Number(number)) => bytes.extend_from_slice(&number.to_le_bytes()),
            Ok(Identity::Name(name)) => {
                bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
                bytes.extend_from_slice(name.as_bytes());
            }
            Err(error) => self.0 = Err(error),
        }
    }
}

/// What a key knows a type by.
enum Identity {
    /// In this process.
    Number(u64),
    /// On servers.
    Name(&'static str),
}

impl Identity {
    /// Inlined, so that a program without servers has no code that looks into names.
    #[inline]
    fn of<T: ?Sized>(in_memory: bool, is_callee: bool) -> Result<Self, Error> {
        let (id, name) = (typeid::of::<T>(), type_name::<T>());
        match in_memory {
            true => Ok(Self::Number(type_number(id))),
            false => own_name(id, name, is_callee).map(|()| Self::Name(name)),
        }
    }

    /// Of a callee, if it is one of many.
    #[inline]
    fn of_instance<T: ?Sized>(in_memory: bool) -> Option<Result<Self, Error>> {
        is_one_of_many::<T>().then(|| Self::of::<T>(in_memory, true))
    }
}

/// Whether `T`, a function or a closure within one, has siblings that differ in type arguments only.
///
/// Functions and closures carry the type and const parameters of all that they stand in: function, `impl` and
/// trait. Written out, these stand in angle brackets; where there are none, the function's namespace says it all.
#[inline]
fn is_one_of_many<T: ?Sized>() -> bool {
    type_name::<T>().as_bytes().contains(&b'<')
}

/// A number for each type that this process asks about: a `TypeId` shows no bytes that are its own alone.
fn type_number(id: TypeId) -> u64 {
    static NUMBERS: RwLock<BTreeMap<TypeId, u64>> = RwLock::new(BTreeMap::new());
    if let Some(number) = NUMBERS.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return *number;
    }
    let mut numbers = NUMBERS.write().unwrap_or_else(PoisonError::into_inner);
    let next = numbers.len() as u64;
    *numbers.entry(id).or_insert(next)
}

/// Refuses a name that is not the type's own. All processes that share a server must mean the same by it: closures never
/// have a name of their own; that two types share one shows once both are here, and from then on neither has it.
fn own_name(id: TypeId, name: &'static str, is_callee: bool) -> Result<(), Error> {
    /// The type that each name stands for; `None` where there are more.
    static NAMES: RwLock<BTreeMap<&str, Option<TypeId>>> = RwLock::new(BTreeMap::new());
    if NAMES.read().unwrap_or_else(PoisonError::into_inner).get(name) == Some(&Some(id)) {
        return Ok(());
    }
    if names_closure(name, is_callee) {
        let message =
            "all closures in a function share its name: on a server, pass a function that has one of its own";
        return Err(Error::new(ErrorKind::Key, message).at(name));
    }
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    let known = names.entry(name).or_insert(Some(id));
    if *known == Some(id) {
        return Ok(());
    }
    *known = None;
    let message =
        "two types share this name, which is all that a server would know them by: rename one of them";
    Err(Error::new(ErrorKind::Key, message).at(name))
}

/// Whether a closure is part of the type, or of the types that a function's arguments in angle brackets are: its own path may
/// lead through closures.
fn names_closure(name: &str, is_callee: bool) -> bool {
    let mut depth = usize::from(!is_callee);
    name.match_indices(['<', '>', '{']).any(|(at, found)| {
        let (before, rest) = name.split_at(at);
        match found {
            // No brackets: the constants `'<'` and `'>'`, and the arrow of a function's type.
            _ if before.ends_with('\'') && rest.get(1..).is_some_and(|rest| rest.starts_with('\'')) => {}
            ">" if before.ends_with('-') => {}
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            _ => return depth > 0 && rest.starts_with("{{closure}}"),
        }
        false
    })
}

/// Collects the text of a template. Between two fields stands a character that no escaped field has (the macro sees to
/// it), so a text splits into its fields in one way only.
pub struct Template<'k> {
    /// Where the key is to be.
    key: &'k mut Args,
    text: String,
}

impl<'k> Template<'k> {
    /// Nothing so far.
    pub fn new(key: &'k mut Args) -> Self {
        Self { key, text: String::new() }
    }

    /// As [`Args::instance`].
    #[inline]
    pub fn instance<T: ?Sized>(&mut self, _: &T, in_memory: bool) {
        if let Some(identity) = Identity::of_instance::<T>(in_memory) {
            self.identity(identity);
        }
    }

    /// As [`Args::type_of`].
    #[inline]
    pub fn type_of<T: ?Sized>(&mut self, _: &T, in_memory: bool) {
        self.identity(Identity::of::<T>(in_memory, false));
    }

    fn identity(&mut self, identity: Result<Identity, Error>) {
        match identity {
            Ok(Identity::Number(number)) => _ = write!(self.text, "{number}:"),
            Ok(Identity::Name(name)) => {
                self.escaped(name);
                self.text.push(':');
            }
            Err(error) => self.fail(error),
        }
    }

    /// Adds literal text.
    pub fn literal(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds a field: strings, characters, integers and `bool` in plain text with percent escapes,
    /// anything else as `~` and the hex of its canonical bytes (of their digest, when long).
    ///
    /// What is plain is decided by the type, not by the value: an untagged enum serialises `5_u8`
    /// and `5_i64` to different canonical bytes but to the same text.
    pub fn field<T: Serialize + ?Sized>(&mut self, value: &T) {
        let mut bytes = Buffer::new();
        match canonical::encode(value, &mut bytes) {
            Ok(()) => self.encoded(type_name::<T>(), &bytes),
            Err(error) => self.fail(error),
        }
    }

    /// The first that fails decides.
    fn fail(&mut self, error: Error) {
        if self.key.0.is_ok() {
            self.key.0 = Err(error);
        }
    }

    fn encoded(&mut self, type_name: &str, bytes: &[u8]) {
        match plain_text(type_name, bytes) {
            Some(plain) => self.escaped(&plain),
            None if bytes.len() <= 32 => {
                self.text.push('~');
                for byte in bytes {
                    let _ = write!(self.text, "{byte:02x}");
                }
            }
            None => {
                self.text.push_str("~~");
                self.text.push_str(blake3::hash(bytes).to_hex().as_str());
            }
        }
    }

    /// Makes the key of all that was added.
    pub fn end(self) {
        if let Ok(key) = &mut self.key.0 {
            *key = Key { bytes: Buffer::from_slice(self.text.as_bytes()), is_text: true };
        }
    }

    /// The unreserved characters of RFC 3986 stay, save `~`; all others are percent-encoded.
    fn escaped(&mut self, plain: &str) {
        for c in plain.chars() {
            if c.is_ascii_alphanumeric() || "-._".contains(c) {
                self.text.push(c);
            } else {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(self.text, "%{byte:02X}");
                }
            }
        }
    }
}

/// The text of a canonical string, character, integer or `bool`, if that is what the type is.
fn plain_text(type_name: &str, canonical: &[u8]) -> Option<String> {
    let payload = canonical.get(1..)?;
    match type_name.trim_start_matches('&') {
        "str" | "alloc::string::String" | "alloc::borrow::Cow<str>" => {
            let length_prefix = payload.iter().position(|byte| byte & 0x80 == 0)? + 1;
            Some(std::str::from_utf8(payload.get(length_prefix..)?).ok()?.to_owned())
        }
        "char" => Some(char::from_u32(u32::from_le_bytes(payload.try_into().ok()?))?.to_string()),
        "bool" => Some((payload.first()? != &0).to_string()),
        "u8" | "u16" | "u32" | "u64" | "usize" | "u128" => Some(little_endian(payload, 0)?.to_string()),
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => {
            let fill = if payload.last()? & 0x80 == 0 { 0 } else { 0xff };
            Some(little_endian(payload, fill)?.cast_signed().to_string())
        }
        _ => None,
    }
}

/// Up to sixteen little-endian bytes, extended with `fill`.
fn little_endian(payload: &[u8], fill: u8) -> Option<u128> {
    let mut wide = [fill; 16];
    wide.get_mut(..payload.len())?.copy_from_slice(payload);
    Some(u128::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template<A: Serialize, B: Serialize>(a: &A, b: &B) -> String {
        let mut key = Args::new();
        let mut template = Template::new(&mut key);
        template.field(a);
        template.literal(":");
        template.field(b);
        template.end();
        key.0.unwrap().text("")
    }

    #[test]
    fn fields_are_plain_where_they_can_be() {
        assert_eq!(template(&7_u64, &-3_i8), "7:-3");
        assert_eq!(template(&"ann_lee", &true), "ann_lee:true");
        assert_eq!(template(&"ann-b.c~d", &'é'), "ann-b.c%7Ed:%C3%A9");
        assert_eq!(template(&"a b:c/ü", &i128::MIN), format!("a%20b%3Ac%2F%C3%BC:{}", i128::MIN));
        assert!(template(&Some(1_u8), &"x").starts_with('~'));
        assert_eq!(template(&vec![7_u64; 20], &"x").len(), 2 + 64 + 2);
    }

    #[test]
    fn namespaces_fit_in_keys() {
        assert_eq!(namespace_in_keys("app::user", "p:"), "app::user");
        assert_eq!(namespace_in_keys("<app::A as app::B>::user", ""), "<app::A~as~app::B>::user");
        let long =
            |name: &str| namespace_in_keys(&format!("{}::{name}", "app".repeat(90)), "p:").into_owned();
        assert!(long("user").ends_with("app::user") && long("user").len() == 175, "{}", long("user"));
        let foreign = ["größe", "grösse", "gre", "gr e"].map(|name| namespace_in_keys(name, "").into_owned());
        assert!(foreign.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_graphic())), "{foreign:?}");
        assert_eq!(foreign.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert_ne!(long("a-user"), long("b-user"));
        assert_ne!(namespace_in_keys(&"a".repeat(300), ""), namespace_in_keys(&"a".repeat(301), ""));
    }

    #[test]
    fn digests_are_in_the_base64_of_urls() {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        assert_eq!(&(0..64).map(letter).collect::<Vec<_>>(), letters);
        for text in
            ["", "ann", "a text of more than one block of the digest: 0123456789 0123456789 0123456789"]
        {
            let hash = blake3::hash(text.as_bytes());
            let bit =
                |index: usize| hash.as_bytes().get(index / 8).map_or(0, |byte| byte >> (7 - index % 8) & 1);
            let digit = |index| (0..6).fold(0, |digit, at| digit << 1 | bit(6 * index + at));
            let expected: Vec<_> = (0..DIGEST).map(|index| letters[usize::from(digit(index))]).collect();
            assert_eq!(digest(text.as_bytes())[..DIGEST], expected, "{text}");
        }
    }

    #[test]
    fn closures_among_type_arguments_are_seen() {
        for callee in [
            "app::apply::__cached<app::main::{{closure}}>",
            "app::f<(u8, alloc::vec::Vec<app::main::{{closure}}::{{closure}}>)>::{{closure}}",
            "app::f<'>', app::main::{{closure}}>",
            "app::f<fn() -> u8, app::main::{{closure}}>",
            "<app::main::{{closure}}::A as app::Animal>::twice::{{closure}}",
        ] {
            assert!(names_closure(callee, true), "{callee}");
        }
        for callee in [
            "app::main::{{closure}}::apply::__cached<u8>",
            "app::f<u8>::{{closure}}::{{closure}}",
            "app::f<'<'>::{{closure}}",
            "app::f<fn() -> u8>::{{closure}}",
            "<app::A as app::Animal>::twice::{{closure}}",
        ] {
            assert!(!names_closure(callee, true), "{callee}");
        }
        assert!(names_closure("app::main::{{closure}}", false));
        assert!(!names_closure("app::main", false));
    }

    #[test]
    fn a_name_that_two_types_share_is_no_name() {
        fn key<T>(in_memory: bool) -> Result<Vec<u8>, ErrorKind> {
            let mut args = Args::new();
            args.type_of(&std::marker::PhantomData::<T>, in_memory);
            args.0.map(|key| key.bytes().to_vec()).map_err(|error| error.kind())
        }
        let [of_first, in_memory] = {
            struct Local;
            let first = key::<Local>(false);
            assert!(first.is_ok());
            assert_eq!(key::<Local>(false), first);
            [|| key::<Local>(false), || key::<Local>(true)]
        };
        {
            struct Local;
            assert_eq!(key::<Local>(false), Err(ErrorKind::Key));
            assert_ne!(key::<Local>(true).unwrap(), in_memory().unwrap());
        }
        assert_eq!(of_first(), Err(ErrorKind::Key));
    }

    #[test]
    fn joins_cant_collide() {
        assert_ne!(template(&"a:b", &"c"), template(&"a", &"b:c"));
        assert_ne!(template(&"a%3Ab", &"c"), template(&"a:b", &"c"));
        assert_ne!(template(&Some("1"), &"c"), template(&Some(1), &"c"));
    }

    #[test]
    fn long_text_and_text_like_a_digest_become_digests() {
        let long = template(&"x".repeat(300), &"y");
        assert_eq!((long.len(), &long[..1]), (1 + DIGEST, "#"));
        let mut key = Args::new();
        let mut forged = Template::new(&mut key);
        forged.literal(&long);
        forged.end();
        assert_ne!(key.0.unwrap().text(""), long);
    }
}
