//! What must hold for any bytes that are read as a value.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::*;

/// Collections whose number of elements is up to the bytes, enums, and scalars.
type Mixed = Vec<(BTreeMap<String, Option<Result<u64, i8>>>, Vec<u8>, Vec<()>, (f64, char, bool, i128))>;

/// A type that contains itself: every level may announce a length, and all levels are in memory at once.
struct Tree(Vec<Tree>, Option<Box<Tree>>);

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0, &self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(|(many, one)| Self(many, one))
    }
}

/// A value that can be decoded and encoded comes back.
pub(crate) fn values(bytes: &[u8]) {
    #[cfg(feature = "bincode")]
    values_of::<Bincode>(bytes);
    #[cfg(feature = "postcard")]
    values_of::<Postcard>(bytes);
    #[cfg(feature = "msgpack")]
    values_of::<MsgPack>(bytes);
    #[cfg(feature = "json")]
    values_of::<Json>(bytes);
}

fn values_of<C: Codec>(bytes: &[u8]) {
    come_back::<C, Mixed>(bytes);
    come_back::<C, Tree>(bytes);
    come_back::<C, Vec<Option<Tree>>>(bytes);
    come_back::<C, Vec<u8>>(bytes);
    come_back::<C, String>(bytes);
}

fn come_back<C: Codec, T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = decode::<C, T>(bytes) else { return };
    let mut encoded = Vec::new();
    if let Err(error) = encode_checked::<C, T>(&value, None, &mut encoded) {
        // The other formats lose some values: JSON a NaN, and both `Some(None)`.
        assert!(C::SELF_DESCRIBING, "{error}");
        return;
    }
    let decoded = decode::<C, T>(&encoded).expect("encoding checks this");
    let mut again = Vec::new();
    encode_checked::<C, T>(&decoded, None, &mut again).expect("it was encoded before");
    assert_eq!(encoded, again);
}
