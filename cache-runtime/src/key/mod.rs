//! Keys: from arguments to the bytes that identify a call, and to the text used on servers.
//!
//! The bytes are [canonical](crate::codec::canonical) and injective. The text on a server is the
//! [head](path::KeySpace::head) for the type of the value, followed by either `#` and the digest of the bytes in base64 (BLAKE3 with
//! 256 bits, so no collision can be forged and a key shows nothing personal), or the text of a `key = "…"` template,
//! whose fields are escaped so that two keys can't collide.

pub(crate) mod path;
mod template;
mod type_identity;

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use smallvec::SmallVec;

use crate::codec::canonical::{self, Buffer};
use crate::error::Error;

pub use self::template::Template;
use self::type_identity::Identity;

/// The longest text key that is sent as it is. Memcached takes no longer ones.
const MAX_TEXT: usize = 250;

/// The length of a digest in a text key.
const DIGEST: usize = 43;

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

    /// The bytes padded with zeros to whole words, which are faster to compare. They identify the call as well: no
    /// encoded value is a prefix of another, and no field of a template contains a zero, so no two keys become equal.
    #[inline]
    pub(crate) fn words(&self) -> &[u8] {
        self.bytes.padded()
    }

    /// The words of a key that has at most two.
    #[inline]
    pub(crate) fn short(&self) -> Option<ShortKey> {
        self.bytes.two_words()
    }

    /// The key on a server, after `head`.
    pub(crate) fn text(&self, head: &str) -> String {
        String::from_utf8_lossy(&self.text_bytes(head)).into_owned()
    }

    /// The bytes of [`text`](Self::text), usually without an allocation.
    pub(crate) fn text_bytes(&self, head: &str) -> TextBytes {
        let mut text = TextBytes::new();
        self.append_text(head, &mut text);
        text
    }

    /// Appends the bytes of [`text`](Self::text) in place.
    pub(crate) fn append_text(&self, head: &str, text: &mut TextBytes) {
        // `from_slice` would fill another place and copy all of it.
        text.extend_from_slice(head.as_bytes());
        // A template that starts like a digest, or is too long, becomes a digest.
        if self.is_text && !self.bytes.starts_with(b"#") && text.len() + self.bytes.len() <= MAX_TEXT {
            text.extend_from_slice(&self.bytes);
        } else {
            text.push(b'#');
            text.extend_from_slice(&digest(&self.bytes));
        }
    }
}

/// The bytes of a text key. A digest after a usual head needs no allocation.
pub(crate) type TextBytes = SmallVec<[u8; 128]>;

/// The words of a key that has at most two, with zeros for missing ones. See [`Key::words`] for why no two become
/// equal.
pub(crate) type ShortKey = [u64; 2];

/// The short form of a key's [`words`](Key::words), if it has one.
#[inline]
pub(crate) fn short(words: &[u8]) -> Option<ShortKey> {
    match words.as_chunks::<8>() {
        ([one, other], []) => Some([u64::from_ne_bytes(*one), u64::from_ne_bytes(*other)]),
        ([one], []) => Some([u64::from_ne_bytes(*one), 0]),
        ([], []) => Some([0; 2]),
        _ => None,
    }
}

/// The digest of `bytes` in URL-safe base64 ([RFC 4648](https://www.rfc-editor.org/rfc/rfc4648#section-5)). It is
/// shorter than hex, and every backend accepts its letters.
fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    let mut text = [0; DIGEST];
    BASE64URL_NOPAD.encode_mut(blake3::hash(bytes).as_bytes(), &mut text);
    text
}

/// An argument that can identify a call. The compiler underlines its type, so the message can do without its name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be part of the cache key: leave this argument out with `skip(…)`",
    label = "it isn't `serde::Serialize`",
    note = "if a part of it identifies the call, write that, as in `key = (a.id, b)`",
    note = "if all of it does, derive `serde::Serialize` for it"
)]
pub trait Argument: Serialize {}

// Makes the compiler report the trait above, with its message.
#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Argument for T {}

/// What an expression in `key = (…)` gives, or a field in a template, that can identify a call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be part of the cache key",
    label = "it isn't `serde::Serialize`",
    note = "write the part of it that identifies the call, such as `a.id`, or derive `serde::Serialize` for it"
)]
pub trait PartOfKey: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> PartOfKey for T {}

/// Collects arguments in their order. If one doesn't serialize, there is no key, and the first such error remains.
///
/// Calls take this type, which holds the finished key too, so that a key is not copied: see `Buffer` for what a copy
/// costs.
pub struct Args(pub(crate) Result<Key, Error>);

impl Args {
    /// No arguments yet.
    #[inline]
    #[allow(clippy::new_without_default, reason = "for generated code only")]
    pub fn new() -> Self {
        Self(Ok(Key { bytes: Buffer::new(), is_text: false }))
    }

    /// Adds an argument.
    #[inline]
    pub fn arg<T: Argument + ?Sized>(&mut self, value: &T) {
        self.arg_generic(value);
    }

    /// Adds what an expression gives.
    #[inline]
    pub fn part<T: PartOfKey + ?Sized>(&mut self, value: &T) {
        self.arg_generic(value);
    }

    /// Adds an argument or a part whose type has type parameters: the compiler says best which bound they lack.
    #[inline]
    pub fn arg_generic<T: Serialize + ?Sized>(&mut self, value: &T) {
        let Ok(key) = &mut self.0 else { return };
        if let Err(error) = canonical::encode(value, &mut key.bytes) {
            self.0 = Err(error);
        }
    }

    /// Adds what distinguishes the instantiations of a generic function, and the types that share a method.
    ///
    /// `callee` is the function, or a closure inside it.
    #[inline]
    pub fn instance<T: ?Sized>(&mut self, callee: &T, in_memory: bool) {
        let _ = callee;
        if let Some(identity) = Identity::of_instance::<T>(in_memory) {
            self.identity(identity);
        }
    }

    /// Adds the type of an `impl Trait` argument: by identity for keys in this process, by name otherwise.
    #[inline]
    pub fn type_of<T: ?Sized>(&mut self, argument: &T, in_memory: bool) {
        let _ = argument;
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
