//! Streams of replies, cut into pieces as a network may cut them.

use std::fmt::Debug;

use super::read_buffer::{Cursor, ParseError, ReadBuffer};
use crate::error::Error;

/// The length of a stream that fills the buffer more than once.
const LONG: usize = 20 << 10;

/// What `parser` takes from `stream` before the stream ends or is refused, each with its bytes.
///
/// # Panics
/// It takes something different if the stream arrives in other pieces.
pub(crate) fn replies<T: Debug>(
    stream: &[u8],
    parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError>,
) -> Vec<(T, Vec<u8>)> {
    let with_bytes = |cursor: &mut Cursor<'_>| {
        let start = cursor.position();
        let reply = parser(cursor)?;
        Ok((reply, cursor.at(start..cursor.position()).to_vec()))
    };
    let whole = read(stream, || usize::MAX, with_bytes);
    same(&whole, &read(stream, || 1, with_bytes));

    let long = stream.repeat(LONG / stream.len().max(1));
    let mut random = fastrand::Rng::with_seed(stream.len() as u64);
    same(&read(&long, || usize::MAX, &parser), &read(&long, || random.usize(1..2_000), &parser));
    whole.0
}

/// The reply that is all of `bytes`.
#[cfg(feature = "redis")]
pub(crate) fn reply<T>(bytes: &[u8], parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError>) -> T {
    read(bytes, || usize::MAX, parser).0.pop().expect("a reply")
}

/// What was taken, and why no more.
type Taken<T> = (Vec<T>, Option<Error>);

fn read<T>(
    mut stream: &[u8],
    mut piece: impl FnMut() -> usize,
    parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError>,
) -> Taken<T> {
    let (mut buffer, mut taken) = (ReadBuffer::default(), Vec::new());
    loop {
        match buffer.take(&parser) {
            Ok(Some(reply)) => taken.push(reply),
            Ok(None) if stream.is_empty() => return (taken, None),
            Ok(None) => {
                let space = buffer.space();
                let (arriving, rest) = stream.split_at(piece().min(space.len()).min(stream.len()));
                space[..arriving.len()].copy_from_slice(arriving);
                buffer.fill(arriving.len());
                stream = rest;
            }
            Err(error) => return (taken, Some(error)),
        }
    }
}

fn same<T: Debug>(one: &Taken<T>, other: &Taken<T>) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"), "the pieces of a stream changed its replies");
}
