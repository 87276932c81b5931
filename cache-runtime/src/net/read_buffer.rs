//! Bytes that a server has sent and no parser has consumed yet.
//!
//! Knows neither sockets nor protocols. A parser takes lines and values from a [`Cursor`]. If an answer is incomplete, the
//! owner of the socket reads more and the parser starts over, so one parser serves blocking and async connections.
//! Starting over is cheap: values are only ranges until the whole answer is there.

use std::io;
use std::ops::Range;

use memchr::memchr;

use crate::error::{Effect, Error, ErrorKind, Reason, Refusal};

/// Room for most answers. The buffer grows as bytes arrive, never because a server announces a length.
const ROOM: usize = 8 << 10;

/// The capacity that an empty buffer keeps. It keeps more only while answers fill a quarter of it, because allocating it
/// again for each answer takes as long as reading the answer.
const KEPT: usize = 64 << 10;

/// No server sends a longer line.
const MAX_LINE: usize = 64 << 10;

const END: &[u8] = b"\r\n";

static SPEAKS_TLS: Refusal = Refusal {
    code: "the server speaks TLS",
    advice: "write `rediss://` or `memcacheds://`, with the feature `tls` of cache-runtime",
    effect: Effect::Operation,
    passes: false,
};

/// Bytes in the order they arrived.
#[derive(Default)]
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    used: usize,
    filled: usize,
    /// Whether anything has ever arrived.
    has_received: bool,
}

impl ReadBuffer {
    /// What `parser` makes of the unconsumed bytes, which it consumes; `None` if it needs more.
    pub(crate) fn take<T>(
        &mut self,
        parser: impl FnOnce(&mut Cursor<'_>) -> Result<T, ParseError>,
    ) -> Result<Option<T>, Error> {
        let mut cursor = Cursor { bytes: &self.bytes[self.used..self.filled], at: 0 };
        match parser(&mut cursor) {
            Ok(taken) => {
                self.used += cursor.at;
                Ok(Some(taken))
            }
            Err(ParseError::Incomplete) => Ok(None),
            Err(ParseError::Invalid(error)) => Err(error),
        }
    }

    fn is_empty(&self) -> bool {
        self.used == self.filled
    }

    /// Checked before each request. `has_more` is whether there are bytes that are not even here.
    ///
    /// # Errors
    /// There are unconsumed bytes. They would be taken for the answer.
    pub(crate) fn check_empty(&self, has_more: bool) -> io::Result<()> {
        match self.is_empty() && !has_more {
            true => Ok(()),
            false => {
                let why = "the server sent more than it was asked for";
                Err(io::Error::new(io::ErrorKind::ConnectionReset, why))
            }
        }
    }

    /// What the `error` means that a read ended with.
    pub(crate) fn explain(&self, error: io::Error) -> io::Error {
        /// The head of an alert, with which a server answers what is no TLS
        /// ([RFC 8446](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)).
        const ALERT: &[u8] = &[21, 3];
        let is_closed = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
        let explained = if is_closed && self.bytes[self.used..self.filled].starts_with(ALERT) {
            let message = format!("{}; {}", SPEAKS_TLS.code, SPEAKS_TLS.advice);
            Error::new(ErrorKind::Unavailable, message).because(Reason::Refusal(&SPEAKS_TLS))
        } else if is_closed && !self.has_received {
            let message = "the server closed a new connection without an answer: does it speak what the URL says, TLS or plain text?";
            Error::new(ErrorKind::Unavailable, message)
        } else {
            return error;
        };
        io::Error::new(error.kind(), explained)
    }

    /// The space to read into. [`fill`](Self::fill) says how much arrived.
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
        self.has_received = true;
    }
}

/// Why a parser has no answer.
pub(crate) enum ParseError {
    /// The rest of the answer has not arrived.
    Incomplete,
    /// The bytes are not an answer.
    Invalid(Error),
}

impl From<Error> for ParseError {
    fn from(error: Error) -> Self {
        Self::Invalid(error)
    }
}

/// A position in the unconsumed bytes.
pub(crate) struct Cursor<'i> {
    bytes: &'i [u8],
    at: usize,
}

impl<'i> Cursor<'i> {
    /// The next line, without its line break.
    pub(crate) fn line(&mut self) -> Result<&'i [u8], ParseError> {
        let rest = &self.bytes[self.at..];
        let Some(end) = memchr(b'\n', &rest[..rest.len().min(MAX_LINE)]) else {
            return Err(if rest.len() < MAX_LINE {
                ParseError::Incomplete
            } else {
                broken("an endless line").into()
            });
        };
        self.at += end + 1;
        rest[..end].strip_suffix(b"\r").ok_or_else(|| broken("a bare line feed").into())
    }

    /// The range of the next `len` bytes, which a line break follows.
    pub(crate) fn value(&mut self, len: usize) -> Result<Range<usize>, ParseError> {
        let range = self.at..self.at.saturating_add(len);
        match self.bytes.get(range.end..range.end.saturating_add(END.len())) {
            None => Err(ParseError::Incomplete),
            Some(END) => {
                self.at = range.end + END.len();
                Ok(range)
            }
            Some(_) => Err(broken("a value of another length than announced").into()),
        }
    }

    #[cfg(any(feature = "redis", test, fuzzing))]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes follow it.
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

/// Parses all of `text` as a decimal number.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let digit = |digit: &u8| digit.is_ascii_digit().then(|| u64::from(digit - b'0'));
    let next = |number: u64, by: &u8| number.checked_mul(10)?.checked_add(digit(by)?);
    if text.is_empty() { None } else { text.iter().try_fold(0, next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` one by one, and returns what `parser` makes of them after the last one.
    fn trickle<T>(
        bytes: &[u8],
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError>,
    ) -> Result<T, Error> {
        let mut buffer = ReadBuffer::default();
        for (index, byte) in bytes.iter().enumerate() {
            buffer.space()[0] = *byte;
            buffer.fill(1);
            if let Some(taken) = buffer.take(&parser)? {
                assert_eq!(index + 1, bytes.len(), "taken before it was whole");
                assert!(buffer.is_empty());
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
    fn later_answers_wait_for_their_turn() {
        let mut buffer = ReadBuffer::default();
        buffer.space()[..9].copy_from_slice(b"a\r\nb\r\nc\r\n");
        buffer.fill(8);
        let mut line = || buffer.take(|cursor| Ok(cursor.line()?.to_vec())).unwrap();
        assert_eq!((line(), line(), line()), (Some(b"a".to_vec()), Some(b"b".to_vec()), None));
        buffer.fill(1);
        assert_eq!(buffer.take(|cursor| Ok(cursor.line()?.to_vec())).unwrap(), Some(b"c".to_vec()));
    }

    #[test]
    fn a_long_value_keeps_its_room_for_a_while() {
        let mut buffer = ReadBuffer::default();
        let len = 10 * KEPT;
        for _ in 0..len + 2 {
            let space = buffer.space();
            space[0] = b'x';
            buffer.fill(1);
        }
        assert!(buffer.take(|cursor| cursor.value(len)).is_err(), "no end");
        assert!(buffer.bytes.len() < 3 * len);
        buffer.used = buffer.filled;
        assert!(buffer.space().len() > len, "the next may be as long");
        buffer.fill(1);
        buffer.used = buffer.filled;
        assert_eq!(buffer.space().len(), ROOM);
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let endless = vec![b'x'; MAX_LINE];
        assert!(trickle(&endless, |cursor| cursor.line().map(<[u8]>::to_vec)).is_err());
        // Also if its end arrives before anybody looks.
        let mut buffer = ReadBuffer::default();
        for byte in [&endless[..], END].concat() {
            buffer.space()[0] = byte;
            buffer.fill(1);
        }
        assert!(buffer.take(|cursor| cursor.line().map(<[u8]>::len)).is_err());
        assert_eq!(number(b"12"), Some(12));
        assert_eq!([&b"-1"[..], b"+1", b"", b"1 ", b"99999999999999999999"].map(number), [None; 5]);
    }
}
