//! Numbers that the server adds to.
//!
//! The server's numbers have no signs, so a number is stored with an offset, and marked by the client flags of its entry.
//! Numbers are added to modulo 2^64, so a negative number is added as what wraps around to the same sum.

use bytes::Bytes;

use crate::backend::request::number_of;

/// The client flags of an entry.
pub(super) const RAW: u32 = 0;
/// The value is the decimal text of a number, with an offset.
const NUMBER: u32 = 1;
/// The value comes after one byte, because the server would take it for a number.
const ESCAPED: u32 = 2;

const ESCAPE: u8 = b'=';

/// A value as it is stored, and its client flags.
pub(super) fn stored(value: Bytes) -> (Bytes, u32) {
    if let Some(number) = number_of(&value) {
        return (with_offset(number).to_string().into(), NUMBER);
    }
    match value.first() {
        Some(first) if first.is_ascii_digit() || first.is_ascii_whitespace() || b"+-\x0b".contains(first) => {
            ([&[ESCAPE], &value[..]].concat().into(), ESCAPED)
        }
        _ => (value, RAW),
    }
}

/// The value that was stored with these client flags, if it is one.
pub(super) fn loaded(value: Vec<u8>, flags: u32) -> Option<Bytes> {
    match flags {
        NUMBER => Some(without_offset(number(&value)?).to_string().into()),
        ESCAPED => value.split_first().map(|(_, value)| Bytes::copy_from_slice(value)),
        _ => Some(value.into()),
    }
}

/// A number as the server writes it: a shorter one that replaces a longer one is padded.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii_end()).ok()?.parse().ok()
}

/// What the server must add.
pub(super) fn delta(by: i64) -> u64 {
    by.cast_unsigned()
}

/// The sum, unless it is past the end of the numbers: then the server has wrapped around.
pub(super) fn sum(stored: u64, by: i64) -> Option<i64> {
    let sum = without_offset(stored);
    sum.checked_sub(by).map(|_| sum)
}

fn with_offset(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn without_offset(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let longest = u64::MAX.to_string();
        for value in
            ["", "0", "-1", "42", "-0", "007", "+1", " 1", "\x0b1", "1 ", "12a", &longest, "fnc", "="]
        {
            let (bytes, flags) = stored(Bytes::copy_from_slice(value.as_bytes()));
            assert_eq!(loaded(bytes.to_vec(), flags).unwrap(), value);
            let is_number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
            assert_eq!(flags == NUMBER, is_number, "{value}");
            assert_eq!(number(&bytes).is_some(), is_number, "{value}");
        }
        assert_eq!(loaded(b"9223372036854775850  ".to_vec(), NUMBER).unwrap(), "42");
    }

    #[test]
    fn sums_wrap_around_only_past_the_end() {
        let numbers = [i64::MIN, i64::MIN + 1, -2, -1, 0, 1, 2, i64::MAX - 1, i64::MAX];
        for (number, by) in numbers.into_iter().flat_map(|number| numbers.map(|by| (number, by))) {
            let stored = with_offset(number).wrapping_add(delta(by));
            assert_eq!(sum(stored, by), number.checked_add(by), "{number} + {by}");
            assert_eq!(stored.wrapping_add(delta(by.wrapping_neg())), with_offset(number));
        }
    }
}
