//! The stored form of a value on a server: a header, the payload, and a checksum that binds both to the key and the shape
//! that they were written under.
//!
//! Owns the bytes below. Knows nothing of values, formats or backends, or of what flags and group tokens mean. All numbers
//! are little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 3 | magic `fnc` |
//! | 3 | 1 | [`FORMAT_VERSION`] |
//! | 4 | 16 | checksum: [XXH3](https://github.com/Cyan4973/xxHash)-128 of everything below; its seed is the XXH3-64 of the key, whose seed is the shape |
//! | 20 | 1 | codec |
//! | 21 | 1 | flags: 1 is [`HOLLOW`] |
//! | 22 | 2 | number of groups, *g* |
//! | 24 | 8 | created, Unix time in ms |
//! | 32 | 8 | fresh until, Unix time in ms; all ones: forever |
//! | 40 | 4 | cost of the run in µs |
//! | 44 | 16 *g* | group tokens |
//! | 44 + 16 *g* | *n* | payload |
//!
//! The payload is last, and the checksum covers one piece, because both make a hit faster.
//!
//! The checksum detects accidents, such as bytes that lie under another key. It is not a signature: anybody who can write to
//! the cache can forge its answers.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::time::Duration;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use twox_hash::{XxHash3_64, XxHash3_128};

use crate::error::{Error, ErrorKind};

/// Bytes of another version are not read. Raise it with any change to the layout above.
pub(crate) const FORMAT_VERSION: u8 = 2;

const OPENING: [u8; 4] = [b'f', b'n', b'c', FORMAT_VERSION];
const CHECKSUM: usize = 16;
/// Where the part that the checksum covers begins.
const BODY: usize = OPENING.len() + CHECKSUM;
/// The length without the groups and the payload.
const HEAD: usize = BODY + 24;

/// The flag of an entry without a value: see [`lease`](super::lease).
pub(crate) const HOLLOW: u8 = 1;

/// What an entry is bound to: it must be read under the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) shape: u64,
    pub(crate) codec: u8,
}

/// A random token that stands for a group of entries, such as a generation.
pub(crate) type Token = [u8; 16];

/// What an entry says about its value without decoding it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: u8,
    pub(crate) created_ms: u64,
    pub(crate) fresh_until_ms: Option<u64>,
    pub(crate) cost_us: u32,
    pub(crate) groups: SmallVec<[Token; 1]>,
}

impl Header {
    /// Whether there is no value: a miss for calls.
    pub(crate) fn is_hollow(&self) -> bool {
        self.flags & HOLLOW != 0
    }

    /// A cost as it is stored, capped at 71 minutes.
    pub(crate) fn cost(run: Duration) -> u32 {
        u32::try_from(run.as_micros()).unwrap_or(u32::MAX)
    }

    fn write(&self, codec: u8, out: &mut Vec<u8>) -> Result<(), Error> {
        let groups = u16::try_from(self.groups.len())
            .map_err(|_| Error::new(ErrorKind::TooLarge, "an entry belongs to 65535 groups at most"))?;
        out.extend_from_slice(&[codec, self.flags]);
        out.extend_from_slice(&groups.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.fresh_until_ms.unwrap_or(u64::MAX).to_le_bytes());
        out.extend_from_slice(&self.cost_us.to_le_bytes());
        out.extend_from_slice(self.groups.as_flattened());
        Ok(())
    }

    /// The header and the bytes after it, if there are enough bytes and the codec matches.
    fn read(codec: u8, mut bytes: &[u8]) -> Option<(Self, &[u8])> {
        let rest = &mut bytes;
        let [found, flags] = take(rest)?;
        let groups = u16::from_le_bytes(take(rest)?);
        let created_ms = u64::from_le_bytes(take(rest)?);
        let fresh_until_ms = Some(u64::from_le_bytes(take(rest)?)).filter(|&until| until != u64::MAX);
        let cost_us = u32::from_le_bytes(take(rest)?);
        let groups = match groups {
            // The usual case.
            1 => SmallVec::from([take(rest)?]),
            _ => (0..groups).map(|_| take(rest)).collect::<Option<_>>()?,
        };
        (found == codec).then_some((Self { flags, created_ms, fresh_until_ms, cost_us, groups }, bytes))
    }
}

/// The entry whose payload `payload` appends. `room` is the expected length of the payload.
pub(crate) fn seal(
    binding: &Binding<'_>,
    header: &Header,
    room: usize,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(HEAD + size_of_val(header.groups.as_slice()) + room);
    out.extend_from_slice(&OPENING);
    out.extend_from_slice(&[0; CHECKSUM]);
    header.write(binding.codec, &mut out)?;
    payload(&mut out)?;
    let checksum = checksum(binding, &out[BODY..]);
    out[OPENING.len()..BODY].copy_from_slice(&checksum);
    Ok(out)
}

/// The header and payload of bytes that were sealed under `binding`. Any other bytes are an error.
pub(crate) fn open(binding: &Binding<'_>, mut bytes: Bytes) -> Result<(Header, Bytes), Error> {
    let foreign =
        || Error::new(ErrorKind::Protocol, "not an entry of this key, shape, codec and format version");
    let (header, payload) = parts(binding, &bytes).ok_or_else(foreign)?;
    bytes.advance(bytes.len() - payload.len());
    Ok((header, bytes))
}

fn parts<'b>(binding: &Binding<'_>, mut bytes: &'b [u8]) -> Option<(Header, &'b [u8])> {
    let (opening, stored) = (take(&mut bytes)?, take(&mut bytes)?);
    // Checked before the checksum, which would read through the bytes of another version for nothing.
    let parts = Header::read(binding.codec, bytes).filter(|_| opening == OPENING)?;
    (checksum(binding, bytes) == stored).then_some(parts)
}

fn checksum(binding: &Binding<'_>, body: &[u8]) -> [u8; CHECKSUM] {
    let seed = XxHash3_64::oneshot_with_seed(binding.shape, binding.key);
    XxHash3_128::oneshot_with_seed(seed, body).to_le_bytes()
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk()?;
    *bytes = tail;
    Some(*head)
}

#[cfg(test)]
mod tests;
