//! Keys: from arguments to the bytes that identify a call, and to the text used on servers.
//!
//! The bytes are [canonical](crate::codec::canonical) and injective. On a server the text is
//! `{prefix}{namespace}:{version}:{shape}:` and then either `#` with the digest of the bytes in base64
//! (BLAKE3, 256 bits: no collision to forge, nothing personal in a key), or the text of a
//! `key = "…"` template, whose fields are escaped so that joins can't collide.

pub(crate) mod path;
mod template;
mod type_identity;

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use smallvec::SmallVec;

use crate::codec::canonical::{self, Buffer};
use crate::error::Error;
use crate::memory::Short;

pub use self::template::Template;
use self::type_identity::Identity;

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
            text.extend_from_slice(&digest(&self.bytes));
        }
    }
}

/// As long as a digest behind the usual heads.
pub(crate) type TextBytes = SmallVec<[u8; 128]>;

/// The length of a digest in keys.
const DIGEST: usize = 43;

/// The digest of `bytes` in URL-safe base64 ([RFC 4648](https://www.rfc-editor.org/rfc/rfc4648#section-5)): shorter than
/// hex, and every backend takes its letters.
fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    let mut text = [0; DIGEST];
    BASE64URL_NOPAD.encode_mut(blake3::hash(bytes).as_bytes(), &mut text);
    text
}

/// An argument, or a part of one, that can identify a call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be part of the cache key",
    label = "it isn't `serde::Serialize`",
    note = "leave it out with `skip(…)`, or say what identifies the call with `key = (…)`",
    note = "if it does identify the call, derive `serde::Serialize` for it"
)]
pub trait PartOfKey: Serialize {}

// Makes the compiler report the trait above, with its message.
#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> PartOfKey for T {}

/// Collects arguments, in order. The first one that can't be serialized decides: then there is no key.
///
/// Calls take this type as it is, because copying a key is expensive: see `Buffer`.
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
    pub fn arg<T: PartOfKey + ?Sized>(&mut self, value: &T) {
        self.arg_generic(value);
    }

    /// Adds one argument whose type has type parameters: the compiler says best which bound they lack.
    #[inline]
    pub fn arg_generic<T: Serialize + ?Sized>(&mut self, value: &T) {
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
