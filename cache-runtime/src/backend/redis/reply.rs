//! The server's answers ([RESP2](https://redis.io/docs/latest/develop/reference/protocol-spec/)), as far as the commands
//! of this crate have them.
//!
//! redis-rs's own parser takes 8,200 instructions for a value of 100 bytes, most of them to clear a buffer before each
//! read; this takes 800. What is not a value is still its business: numbers and errors.

use std::ops::Range;

use ::redis::{Value, parse_redis_value};

use super::super::inbox::{Cursor, Stop, number};
use super::{failure, unexpected};

/// The next answer.
pub(super) fn reply(cursor: &mut Cursor<'_>) -> Result<Value, Stop> {
    let line = cursor.line()?;
    match line {
        [b'$', len @ ..] => {
            let value = bulk(cursor, len)?;
            Ok(copied(cursor, value))
        }
        [b'*', count @ ..] => {
            let values = array(cursor, count)?;
            Ok(Value::Array(values.into_iter().map(|value| copied(cursor, value)).collect()))
        }
        b"+OK" => Ok(Value::Okay),
        [b'+' | b'-' | b':', ..] => Ok(parse_redis_value(&[line, b"\r\n"].concat()).map_err(failure)?),
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

fn array(cursor: &mut Cursor<'_>, count: &[u8]) -> Result<Vec<Option<Range<usize>>>, Stop> {
    // Grows as values come, whatever is announced.
    let mut values = Vec::new();
    for _ in 0..length(count)? {
        match cursor.line()? {
            [b'$', len @ ..] => values.push(bulk(cursor, len)?),
            _ => return Err(unexpected().into()),
        }
    }
    Ok(values)
}

fn copied(cursor: &Cursor<'_>, value: Option<Range<usize>>) -> Value {
    value.map_or(Value::Nil, |range| Value::BulkString(cursor.at(range).to_vec()))
}

fn length(text: &[u8]) -> Result<usize, Stop> {
    let length = number(text).and_then(|length| usize::try_from(length).ok());
    length.ok_or_else(|| unexpected().into())
}

#[cfg(test)]
mod tests {
    use super::super::super::inbox::Inbox;
    use super::*;
    use crate::error::ErrorKind;

    fn parse(bytes: &[u8]) -> Result<Option<Value>, ErrorKind> {
        let mut inbox = Inbox::default();
        inbox.space()[..bytes.len()].copy_from_slice(bytes);
        inbox.fill(bytes.len());
        inbox.take(reply).map_err(|error| error.kind())
    }

    fn bytes(text: &str) -> Value {
        Value::BulkString(text.into())
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
            assert_eq!(
                parse(text.as_bytes()),
                Ok(Some(parse_redis_value(text.as_bytes()).unwrap())),
                "{text}"
            );
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{text} up to {end}");
            }
        }
    }

    #[test]
    fn one_answer_at_a_time() {
        assert_eq!(parse(b"$1\r\na\r\n$1\r\nb\r\n"), Ok(Some(bytes("a"))));
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
