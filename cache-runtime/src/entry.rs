//! The stored form of a value on a remote backend: a header, the payload, and a checksum that binds them to the key
//! and the shape they were written under.
//!
//! Owns the bytes below. Knows nothing of values, formats or backends; what flags and group tokens mean is their
//! user's business. All numbers are little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 3 | magic `fnc` |
//! | 3 | 1 | [`FORMAT_VERSION`] |
//! | 4 | 1 | codec |
//! | 5 | 1 | flags: 1 is [`HOLLOW`] |
//! | 6 | 2 | number of groups, *g* |
//! | 8 | 8 | created, Unix time in ms |
//! | 16 | 8 | fresh until, Unix time in ms; all ones: for ever |
//! | 24 | 4 | cost of the run in µs |
//! | 28 | 16 *g* | group tokens |
//! | 28 + 16 *g* | *n* | payload |
//! | 28 + 16 *g* + *n* | 16 | [XXH3](https://github.com/Cyan4973/xxHash)-128 of key length (8 bytes), key, shape (8 bytes), and all of the above |
//!
//! The checksum finds accidents, among them bytes that lie under another key. It is no signature: who can write to the
//! cache can write what it answers.

use std::time::Duration;

use smallvec::SmallVec;
use xxhash_rust::xxh3::Xxh3Default;

use crate::error::{Error, ErrorKind};

/// Bytes of another version are not read. To be raised with any change to the layout above.
pub(crate) const FORMAT_VERSION: u8 = 1;

const MAGIC: [u8; 3] = *b"fnc";
const FIXED: usize = 28;
const CHECKSUM: usize = 16;

/// The flag of an entry that has no value: see [`lease`](crate::lease).
pub(crate) const HOLLOW: u8 = 1;

/// What an entry is written under, and must be read under.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) shape: u64,
    pub(crate) codec: u8,
}

/// A token of a group that an entry belongs to.
pub(crate) type Group = [u8; 16];

/// What is known of a stored value without decoding it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: u8,
    pub(crate) created_ms: u64,
    pub(crate) fresh_until_ms: Option<u64>,
    pub(crate) cost_us: u32,
    pub(crate) groups: SmallVec<[Group; 1]>,
}

impl Header {
    /// Whether there is no value, but something that stands in its place: a miss to who wants one.
    pub(crate) fn is_hollow(&self) -> bool {
        self.flags & HOLLOW != 0
    }

    /// A cost as it is stored: an hour and more are all the same.
    pub(crate) fn cost(run: Duration) -> u32 {
        u32::try_from(run.as_micros()).unwrap_or(u32::MAX)
    }

    fn write(&self, codec: u8, out: &mut Vec<u8>) -> Result<(), Error> {
        let groups = u16::try_from(self.groups.len())
            .map_err(|_| Error::new(ErrorKind::TooLarge, "an entry belongs to 65535 groups at most"))?;
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[FORMAT_VERSION, codec, self.flags]);
        out.extend_from_slice(&groups.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.fresh_until_ms.unwrap_or(u64::MAX).to_le_bytes());
        out.extend_from_slice(&self.cost_us.to_le_bytes());
        out.extend_from_slice(self.groups.as_flattened());
        Ok(())
    }

    /// The header and what follows it, if the bytes are long enough and of this magic, version and codec.
    fn read(codec: u8, mut bytes: &[u8]) -> Option<(Self, &[u8])> {
        let rest = &mut bytes;
        let opening = (take(rest)? == MAGIC) && (take(rest)? == [FORMAT_VERSION, codec]);
        let [flags] = take(rest)?;
        let groups = u16::from_le_bytes(take(rest)?);
        let created_ms = u64::from_le_bytes(take(rest)?);
        let fresh_until_ms = Some(u64::from_le_bytes(take(rest)?)).filter(|&until| until != u64::MAX);
        let cost_us = u32::from_le_bytes(take(rest)?);
        let groups = (0..groups).map(|_| take(rest)).collect::<Option<_>>()?;
        opening.then_some((Self { flags, created_ms, fresh_until_ms, cost_us, groups }, bytes))
    }
}

/// The entry whose payload `payload` appends.
pub(crate) fn seal(
    binding: &Binding<'_>,
    header: &Header,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(2 * (FIXED + CHECKSUM) + size_of_val(header.groups.as_slice()));
    header.write(binding.codec, &mut out)?;
    payload(&mut out)?;
    let checksum = checksum(binding, &out);
    out.extend_from_slice(&checksum);
    Ok(out)
}

/// The header and payload of bytes that were sealed under `binding`. All others are an error, never a value.
pub(crate) fn open<'a>(binding: &Binding<'_>, bytes: &'a [u8]) -> Result<(Header, &'a [u8]), Error> {
    let foreign =
        || Error::new(ErrorKind::Protocol, "not an entry of this key, shape, codec and format version");
    let (body, stored) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(foreign)?;
    // Before the checksum, so that another version's bytes are not read through for nothing.
    let opened = Header::read(binding.codec, body).ok_or_else(foreign)?;
    if checksum(binding, body) != *stored {
        return Err(foreign());
    }
    Ok(opened)
}

fn checksum(binding: &Binding<'_>, body: &[u8]) -> [u8; CHECKSUM] {
    let mut hash = Xxh3Default::new();
    // Lengths first, or a key's end could pass for the beginning of what follows it.
    hash.update(&(binding.key.len() as u64).to_le_bytes());
    hash.update(binding.key);
    hash.update(&binding.shape.to_le_bytes());
    hash.update(body);
    hash.digest128().to_le_bytes()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk()?;
    *bytes = tail;
    Some(*head)
}

#[cfg(test)]
mod tests;
