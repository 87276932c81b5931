//! The server's answers ([RESP2](https://redis.io/docs/latest/develop/reference/protocol-spec/)), as far as the commands
//! of this crate have them.
//!
//! redis-rs's own parser takes 8,200 instructions for a value of 100 bytes, most of them to clear a buffer before each
//! read; this takes 800. What is not a value is still its business: numbers and errors.

use std::ops::Range;

use ::redis::{Value, parse_redis_value};
use bytes::Bytes;

use super::{failure, unexpected};
use crate::net::read_buffer::{Cursor, Stop, number};

/// Values that came together share one piece of memory up to this length: one that is kept keeps the others.
const SHARED: usize = 32 << 10;

/// An answer.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    One(Option<Bytes>),
    Many(Vec<Option<Bytes>>),
    /// What is not a value.
    Said(Value),
}

/// The next answer.
pub(super) fn reply(cursor: &mut Cursor<'_>) -> Result<Reply, Stop> {
    let line = cursor.line()?;
    match line {
        [b'$', len @ ..] => {
            let value = bulk(cursor, len)?;
            Ok(Reply::One(value.map(|range| Bytes::copy_from_slice(cursor.at(range)))))
        }
        [b'*', count @ ..] => Ok(Reply::Many(array(cursor, length(count)?)?)),
        b"+OK" => Ok(Reply::Said(Value::Okay)),
        [b'+' | b'-' | b':', ..] => {
            Ok(Reply::Said(parse_redis_value(&[line, b"\r\n"].concat()).map_err(failure)?))
        }
        _ => Err(unexpected().into()),
    }
}

/// Where the value is whose length the line announces, if it is one.
fn bulk(cursor: &mut Cursor<'_>, len: &[u8]) -> Result<Option<Range<usize>>, Stop> {
    match len {
        b"-1" => Ok(None),
        len => cursor.value(length(len)?).map(Some),
    }
}

fn array(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Option<Bytes>>, Stop> {
    let (start, came) = (cursor.place(), cursor.rest());
    // Whatever is announced, each takes some of the bytes that are here.
    let mut ranges = Vec::with_capacity(count.min(came / b"$-1\r\n".len()));
    for _ in 0..count {
        match cursor.line()? {
            [b'$', len @ ..] => ranges.push(bulk(cursor, len)?),
            _ => return Err(unexpected().into()),
        }
    }
    let whole = cursor.at(start..cursor.place());
    let within = |range: Range<usize>| range.start - start..range.end - start;
    let ranges = ranges.into_iter().map(|range| range.map(within));
    if whole.len() > SHARED {
        return Ok(ranges.map(|range| range.map(|range| Bytes::copy_from_slice(&whole[range]))).collect());
    }
    let whole = Bytes::copy_from_slice(whole);
    Ok(ranges.map(|range| range.map(|range| whole.slice(range))).collect())
}

fn length(text: &[u8]) -> Result<usize, Stop> {
    let length = number(text).and_then(|length| usize::try_from(length).ok());
    length.ok_or_else(|| unexpected().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::net::read_buffer::Inbox;

    fn parse(bytes: &[u8]) -> Result<Option<Reply>, ErrorKind> {
        let mut inbox = Inbox::default();
        inbox.space()[..bytes.len()].copy_from_slice(bytes);
        inbox.fill(bytes.len());
        inbox.take(reply).map_err(|error| error.kind())
    }

    /// As redis-rs has it.
    fn value(reply: Reply) -> Value {
        let one = |value: Option<Bytes>| value.map_or(Value::Nil, |bytes| Value::BulkString(bytes.into()));
        match reply {
            Reply::One(value) => one(value),
            Reply::Many(values) => Value::Array(values.into_iter().map(one).collect()),
            Reply::Said(value) => value,
        }
    }

    fn parse_value(text: &str) -> Result<Option<Value>, ErrorKind> {
        parse(text.as_bytes()).map(|reply| reply.map(value))
    }

    #[test]
    fn answers_are_read_as_redis_rs_reads_them() {
        for text in [
            "+OK\r\n",
            "+PONG\r\n",
            ":-7\r\n",
            "-ERR no\r\n",
            "-NOAUTH Authentication required.\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$4\r\n\r\n\r\n\r\n",
            "*0\r\n",
            "*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n",
        ] {
            let theirs = parse_redis_value(text.as_bytes()).unwrap();
            assert_eq!(parse_value(text), Ok(Some(theirs)), "{text}");
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{text} up to {end}");
            }
        }
    }

    #[test]
    fn one_answer_at_a_time() {
        let first = Reply::One(Some(Bytes::from_static(b"a")));
        assert_eq!(parse(b"$1\r\na\r\n$1\r\nb\r\n"), Ok(Some(first)));
    }

    #[test]
    fn small_values_share_memory_and_large_ones_do_not() {
        for (len, shared) in [(10, true), (SHARED, false)] {
            let one = format!("${len}\r\n{}\r\n", "x".repeat(len));
            let mut inbox = Inbox::default();
            for byte in format!("*2\r\n{one}{one}").bytes() {
                inbox.space()[0] = byte;
                inbox.fill(1);
            }
            let Ok(Some(Reply::Many(values))) = inbox.take(reply) else { panic!("two values") };
            let [Some(first), Some(second)] = values.as_slice() else { panic!("two values") };
            assert_eq!((first.len(), second), (len, first));
            // One behind the other, with a line between.
            let next = first.as_ptr().wrapping_add(one.len());
            assert_eq!(second.as_ptr() == next, shared);
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        for text in
            ["x\r\n", "\r\n", "$x\r\n", "$-2\r\n", "*-2\r\n", ":x\r\n", "$1\r\nabc", "*1\r\n:1\r\n", "%0\r\n"]
        {
            assert_eq!(parse(text.as_bytes()), Err(ErrorKind::Protocol), "{text}");
        }
    }
}
