//! Keys that are templates: `key = "user:{id}"`.

use std::any::type_name;
use std::fmt::Write as _;

use serde::Serialize;

use super::type_identity::Identity;
use super::{Args, Key, PartOfKey};
use crate::codec::canonical::{self, Buffer};
use crate::error::Error;

/// Collects the text of a template. The macro makes sure that between two fields there is a character that no escaped field
/// contains, so a text can be split into its fields in only one way.
pub struct Template<'k> {
    /// Where the finished key goes.
    key: &'k mut Args,
    text: String,
}

impl<'k> Template<'k> {
    /// An empty text.
    pub fn new(key: &'k mut Args) -> Self {
        Self { key, text: String::new() }
    }

    /// See [`Args::instance`].
    #[inline]
    pub fn instance<T: ?Sized>(&mut self, _: &T, in_memory: bool) {
        if let Some(identity) = Identity::of_instance::<T>(in_memory) {
            self.identity(identity);
        }
    }

    /// See [`Args::type_of`].
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

    /// Adds a field: strings, characters, integers and `bool` as plain text with percent escapes, anything else as `~` and
    /// the hex of its canonical bytes, or of their digest if they are long.
    ///
    /// The type decides what is plain, not the value: an untagged enum serializes `5_u8` and `5_i64` to different canonical
    /// bytes but to the same text.
    pub fn field<T: PartOfKey + ?Sized>(&mut self, value: &T) {
        self.field_generic(value);
    }

    /// Adds a field whose type has type parameters: see [`Args::arg_generic`].
    pub fn field_generic<T: Serialize + ?Sized>(&mut self, value: &T) {
        let mut bytes = Buffer::new();
        match canonical::encode(value, &mut bytes) {
            Ok(()) => self.encoded(type_name::<T>(), &bytes),
            Err(error) => self.fail(error),
        }
    }

    /// Keeps the first error.
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

    /// Finishes the key.
    pub fn end(self) {
        if let Ok(key) = &mut self.key.0 {
            *key = Key { bytes: Buffer::from_slice(self.text.as_bytes()), is_text: true };
        }
    }

    /// Keeps the unreserved characters of RFC 3986 except `~`, and percent-encodes all others.
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

/// The text of a string, character, integer or `bool` from its canonical bytes; `None` for other types.
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
    use super::super::DIGEST;
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
