//! The formats of values, each behind the feature of its name.

use serde::Serialize;
use serde::de::DeserializeSeed;

use super::Codec;
#[cfg(any(feature = "bincode", feature = "postcard"))]
use super::byte_seq::Bulk;
use crate::error::{Error, ErrorKind};

/// [bincode 1](https://docs.rs/bincode/1.3.3) with varint lengths and integers. Positional, compact, the
/// default.
#[cfg(feature = "bincode")]
pub struct Bincode;

#[cfg(feature = "bincode")]
impl Codec for Bincode {
    const NAME: &'static str = "bincode";
    const ID: u8 = 1;
    const SELF_DESCRIBING: bool = false;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        use bincode::Options as _;
        bincode::DefaultOptions::new().serialize_into(out, &Bulk(value)).map_err(write_error)
    }

    /// `DefaultOptions` rejects trailing bytes, and strings longer than the rest of the slice.
    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error> {
        use bincode::Options as _;
        bincode::DefaultOptions::new().deserialize_seed(seed, bytes).map_err(read_error)
    }
}

/// The [postcard wire format](https://postcard.jamesmunns.com/wire-format). Positional, compact, and
/// specified.
#[cfg(feature = "postcard")]
pub struct Postcard;

#[cfg(feature = "postcard")]
impl Codec for Postcard {
    const NAME: &'static str = "postcard";
    const ID: u8 = 2;
    const SELF_DESCRIBING: bool = false;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        postcard::to_io(&Bulk(value), out).map(drop).map_err(write_error)
    }

    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error> {
        let mut deserializer = postcard::Deserializer::from_bytes(bytes);
        let value = seed.deserialize(&mut deserializer).map_err(read_error)?;
        match deserializer.finalize() {
            Ok([]) => Ok(value),
            Ok(_) => Err(Error::new(ErrorKind::Protocol, "the payload has bytes after the value")),
            Err(error) => Err(read_error(error)),
        }
    }
}

/// [MessagePack](https://msgpack.org) with structs as maps. Self-describing and compact: for untagged,
/// flattened and evolving types.
#[cfg(feature = "msgpack")]
pub struct MsgPack;

#[cfg(feature = "msgpack")]
impl Codec for MsgPack {
    const NAME: &'static str = "msgpack";
    const ID: u8 = 3;
    const SELF_DESCRIBING: bool = true;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        value.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map()).map_err(write_error)
    }

    /// Doesn't detect trailing bytes, because rmp-serde doesn't tell how far it read. The envelope's checksum
    /// does.
    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes)).map_err(read_error)
    }
}

/// [JSON](https://www.rfc-editor.org/rfc/rfc8259). Self-describing, and readable with the server's own tools.
#[cfg(feature = "json")]
pub struct Json;

#[cfg(feature = "json")]
impl Codec for Json {
    const NAME: &'static str = "json";
    const ID: u8 = 4;
    const SELF_DESCRIBING: bool = true;

    fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
        serde_json::to_writer(out, value).map_err(write_error)
    }

    fn read<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = seed.deserialize(&mut deserializer).map_err(read_error)?;
        deserializer.end().map_err(read_error)?;
        Ok(value)
    }
}

/// The format of a plain cache: by default the first that is compiled in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum ChosenCodec {
    #[default]
    Default,
    #[cfg(feature = "bincode")]
    Bincode,
    #[cfg(feature = "postcard")]
    Postcard,
    #[cfg(feature = "msgpack")]
    MsgPack,
    #[cfg(feature = "json")]
    Json,
}

impl ChosenCodec {
    /// The format of this name.
    ///
    /// # Errors
    /// There is none, or it is not compiled in.
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        match name {
            #[cfg(feature = "bincode")]
            Bincode::NAME => Ok(Self::Bincode),
            #[cfg(feature = "postcard")]
            Postcard::NAME => Ok(Self::Postcard),
            #[cfg(feature = "msgpack")]
            MsgPack::NAME => Ok(Self::MsgPack),
            #[cfg(feature = "json")]
            Json::NAME => Ok(Self::Json),
            _ if ["bincode", "postcard", "msgpack", "json"].contains(&name) => {
                let message = format!("`codec={name}` needs the feature `{name}` of cache-runtime");
                Err(Error::new(ErrorKind::Config, message))
            }
            _ => {
                let message = "`codec` is `bincode`, `postcard`, `msgpack` or `json`";
                Err(Error::new(ErrorKind::Config, message))
            }
        }
    }
}

/// Does `$work` with the [`Codec`] type that a [`ChosenCodec`] stands for.
macro_rules! with_codec {
    ($chosen:expr, $codec:ident => $work:expr) => {
        match $chosen {
            $crate::codec::ChosenCodec::Default => {
                type $codec = $crate::codec::DefaultCodec;
                $work
            }
            #[cfg(feature = "bincode")]
            $crate::codec::ChosenCodec::Bincode => {
                type $codec = $crate::codec::Bincode;
                $work
            }
            #[cfg(feature = "postcard")]
            $crate::codec::ChosenCodec::Postcard => {
                type $codec = $crate::codec::Postcard;
                $work
            }
            #[cfg(feature = "msgpack")]
            $crate::codec::ChosenCodec::MsgPack => {
                type $codec = $crate::codec::MsgPack;
                $work
            }
            #[cfg(feature = "json")]
            $crate::codec::ChosenCodec::Json => {
                type $codec = $crate::codec::Json;
                $work
            }
        }
    };
}

pub(crate) use with_codec;

/// The format of the plain cache: the first that is compiled in.
#[cfg(feature = "bincode")]
pub(crate) type DefaultCodec = Bincode;
/// The format of the plain cache: the first that is compiled in.
#[cfg(all(feature = "postcard", not(feature = "bincode")))]
pub(crate) type DefaultCodec = Postcard;
/// The format of the plain cache: the first that is compiled in.
#[cfg(all(feature = "msgpack", not(any(feature = "bincode", feature = "postcard"))))]
pub(crate) type DefaultCodec = MsgPack;
/// The format of the plain cache: the first that is compiled in.
#[cfg(all(feature = "json", not(any(feature = "bincode", feature = "postcard", feature = "msgpack"))))]
pub(crate) type DefaultCodec = Json;
/// The format of the plain cache: the first that is compiled in.
#[cfg(not(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json")))]
pub(crate) type DefaultCodec = Missing;

/// Stands for a format when none is compiled in. Every use is an error that names the features.
#[cfg(not(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json")))]
pub(crate) struct Missing;

#[cfg(not(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json")))]
impl Codec for Missing {
    const NAME: &'static str = "none";
    const ID: u8 = 0;
    const SELF_DESCRIBING: bool = true;

    fn write<T: Serialize>(_: &T, _: &mut Vec<u8>) -> Result<(), Error> {
        Err(missing())
    }

    fn read<'de, S: DeserializeSeed<'de>>(_: &'de [u8], _: S) -> Result<S::Value, Error> {
        Err(missing())
    }
}

#[cfg(not(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json")))]
fn missing() -> Error {
    let message = "the plain cache needs one of the features `bincode`, `postcard`, `msgpack` and `json`";
    Error::new(ErrorKind::Config, message)
}

#[cfg(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json"))]
fn write_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Encode, "the format can't express the value").with_source(error)
}

#[cfg(any(feature = "bincode", feature = "postcard", feature = "msgpack", feature = "json"))]
fn read_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Protocol, "the payload doesn't decode").with_source(error)
}
