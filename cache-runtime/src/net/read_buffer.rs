//! What a server has sent and nobody has used yet.
//!
//! Knows neither sockets nor protocols. A parser takes lines and values from a [`Cursor`] and stops where they end too
//! early; whoever holds the socket reads more then, and has it parse again from the start. So one parser serves blocking
//! and async connections. What is parsed twice are lines only: values are ranges until all is there.

use std::io;
use std::ops::Range;

use memchr::memchr;

use crate::error::{Error, ErrorKind};

/// Room for the answers of most calls. More is allocated as it comes, never because a server announces it.
const ROOM: usize = 8 << 10;

/// What is kept when nothing is left unused; more only while answers fill a quarter of it: to get it anew for each takes
/// as long as to read it.
const KEPT: usize = 64 << 10;

/// Longer lines are none that a server sends.
const MAX_LINE: usize = 64 << 10;

const END: &[u8] = b"\r\n";

/// Bytes in the order they came.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    used: usize,
    filled: usize,
}

impl Inbox {
    /// What `parser` makes of the unused bytes, which are used up with that; `None` if more have to be read.
    pub(crate) fn take<T>(
        &mut self,
        parser: impl FnOnce(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<Option<T>, Error> {
        let mut cursor = Cursor { bytes: &self.bytes[self.used..self.filled], at: 0 };
        match parser(&mut cursor) {
            Ok(taken) => {
                self.used += cursor.at;
                Ok(Some(taken))
            }
            Err(Stop::Short) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn is_empty(&self) -> bool {
        self.used == self.filled
    }

    /// To be asked before a request is sent.
    ///
    /// # Errors
    /// Something is here that nobody asked for, and would be taken for an answer.
    pub(crate) fn check_empty(&self) -> io::Result<()> {
        match self.is_empty() {
            true => Ok(()),
            false => {
                let why = "the server said more than it was asked for";
                Err(io::Error::new(io::ErrorKind::ConnectionReset, why))
            }
        }
    }

    /// Where to read to; [`fill`](Self::fill) tells how much came.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.is_empty() {
            if self.bytes.len() > KEPT.max(4 * self.filled) {
                self.bytes = Vec::new();
            }
            (self.used, self.filled) = (0, 0);
        }
        if self.filled == self.bytes.len() {
            self.bytes.drain(..self.used);
            (self.used, self.filled) = (0, self.filled - self.used);
            self.bytes.resize((self.filled * 2).max(ROOM), 0);
        }
        &mut self.bytes[self.filled..]
    }

    pub(crate) fn fill(&mut self, read: usize) {
        self.filled += read;
    }
}

/// Why a parser stops.
pub(crate) enum Stop {
    /// The answer isn't there whole.
    Short,
    /// The bytes are no answer.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A place among the unused bytes.
pub(crate) struct Cursor<'i> {
    bytes: &'i [u8],
    at: usize,
}

impl<'i> Cursor<'i> {
    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> Result<&'i [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr(b'\n', rest) else {
            return Err(if rest.len() < MAX_LINE {
                Stop::Short
            } else {
                broken("a line without an end").into()
            });
        };
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r").ok_or_else(|| broken("a line with half an end").into())
    }

    /// The next `len` bytes, which a line's end follows.
    pub(crate) fn value(&mut self, len: usize) -> Result<Range<usize>, Stop> {
        let range = self.at..self.at.saturating_add(len);
        match self.bytes.get(range.end..range.end.saturating_add(END.len())) {
            None => Err(Stop::Short),
            Some(END) => {
                self.at = range.end + END.len();
                Ok(range)
            }
            Some(_) => Err(broken("a value longer than its announced length").into()),
        }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// How many bytes are behind it.
    #[cfg(feature = "redis")]
    pub(crate) fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn at(&self, range: Range<usize>) -> &'i [u8] {
        &self.bytes[range]
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the server's answer has {what}"))
}

/// The decimal number that is all of `text`.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let digit = |digit: &u8| digit.is_ascii_digit().then(|| u64::from(digit - b'0'));
    let next = |number: u64, by: &u8| number.checked_mul(10)?.checked_add(digit(by)?);
    if text.is_empty() { None } else { text.iter().try_fold(0, next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An inbox that gets `bytes` one by one, and what `parser` takes from it with the last.
    fn trickle<T>(bytes: &[u8], parser: impl Fn(&mut Cursor<'_>) -> Result<T, Stop>) -> Result<T, Error> {
        let mut inbox = Inbox::default();
        for (index, byte) in bytes.iter().enumerate() {
            inbox.space()[0] = *byte;
            inbox.fill(1);
            if let Some(taken) = inbox.take(&parser)? {
                assert_eq!(index + 1, bytes.len(), "taken before it was whole");
                assert!(inbox.is_empty());
                return Ok(taken);
            }
        }
        panic!("nothing was taken");
    }

    #[test]
    fn lines_and_values_are_taken_when_they_are_whole() {
        let parser = |cursor: &mut Cursor<'_>| {
            let line = cursor.line()?.to_vec();
            let value = cursor.value(3)?;
            Ok((line, cursor.at(value).to_vec()))
        };
        assert_eq!(trickle(b"a line\r\n\r\n!\r\n", parser).unwrap(), (b"a line".to_vec(), b"\r\n!".to_vec()));
        assert!(trickle(b"a line\n", parser).is_err());
        assert!(trickle(b"a line\r\nfour\r\n", parser).is_err());
    }

    #[test]
    fn what_comes_early_waits_for_its_turn() {
        let mut inbox = Inbox::default();
        inbox.space()[..9].copy_from_slice(b"a\r\nb\r\nc\r\n");
        inbox.fill(8);
        let mut line = || inbox.take(|cursor| Ok(cursor.line()?.to_vec())).unwrap();
        assert_eq!((line(), line(), line()), (Some(b"a".to_vec()), Some(b"b".to_vec()), None));
        inbox.fill(1);
        assert_eq!(inbox.take(|cursor| Ok(cursor.line()?.to_vec())).unwrap(), Some(b"c".to_vec()));
    }

    #[test]
    fn a_long_value_makes_room_for_a_while() {
        let mut inbox = Inbox::default();
        let len = 10 * KEPT;
        for _ in 0..len + 2 {
            let space = inbox.space();
            space[0] = b'x';
            inbox.fill(1);
        }
        assert!(inbox.take(|cursor| cursor.value(len)).is_err(), "no end");
        assert!(inbox.bytes.len() < 3 * len);
        inbox.used = inbox.filled;
        assert!(inbox.space().len() > len, "the next may be as long");
        inbox.fill(1);
        inbox.used = inbox.filled;
        assert_eq!(inbox.space().len(), ROOM);
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let endless = vec![b'x'; MAX_LINE];
        assert!(trickle(&endless, |cursor| cursor.line().map(<[u8]>::to_vec)).is_err());
        assert_eq!(number(b"12"), Some(12));
        assert_eq!([&b"-1"[..], b"+1", b"", b"1 ", b"99999999999999999999"].map(number), [None; 5]);
    }
}
