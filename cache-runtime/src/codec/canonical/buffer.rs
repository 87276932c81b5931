//! A growing byte string, on the stack while it is short, and written in whole words.
//!
//! A key is hashed and compared right after it is written. A processor forwards a recent store to a load only
//! if that store covers the whole load (*store forwarding* in Intel's and AMD's optimization manuals).
//! Otherwise the load waits for the cache: some 5 ns, as long as the whole look-up. So bytes are stored in
//! whole words and can be loaded in whole words, see [`padded`](Buffer::padded).

use std::ops::Deref;

/// Bytes of a word.
const WORD: usize = size_of::<u64>();
/// Words on the stack: enough for the arguments of most calls, so that their key needs no allocation, and few
/// enough to move cheaply.
const WORDS: usize = 8;

/// Bytes, written in whole words.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    /// Bytes from `len` on are zero.
    words: [[u8; WORD]; WORDS],
    len: usize,
    /// All bytes once they don't fit `words`, and empty before.
    heap: Vec<u8>,
}

impl Buffer {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { words: [[0; WORD]; WORDS], len: 0, heap: Vec::new() }
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Self {
        let mut buffer = Self::new();
        buffer.extend_from_slice(bytes);
        buffer
    }

    #[inline]
    pub(crate) fn push(&mut self, byte: u8) {
        self.append(byte.into(), 1);
    }

    #[inline]
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.append_with(0, 0, bytes);
    }

    /// Appends the low `len` bytes of `word`, at most eight. Its other bytes must be zero.
    #[inline]
    pub(crate) fn append(&mut self, word: u64, len: usize) {
        let index = self.len / WORD;
        let shift = self.len % WORD * 8;
        let overflows = shift + 8 * len > 64;
        let last = if overflows { index + 1 } else { index };
        if last >= WORDS || !self.heap.is_empty() {
            return self.append_to_heap(word.to_le_bytes().get(..len).unwrap_or_default(), &[]);
        }
        self.words[index] = (u64::from_le_bytes(self.words[index]) | word << shift).to_le_bytes();
        if overflows {
            self.words[last] = (word >> (64 - shift)).to_le_bytes();
        }
        self.len += len;
    }

    /// Appends the low `len` bytes of `head`, at most seven, and then `bytes`. The other bytes of `head` must
    /// be zero. Faster than two calls: the word that both share stays in a register.
    #[inline]
    pub(crate) fn append_with(&mut self, head: u64, len: usize, bytes: &[u8]) {
        let end = self.len + len + bytes.len();
        let index = self.len / WORD;
        let used = self.len % WORD;
        let words = match self.words.get_mut(index..) {
            Some(words) if end <= WORDS * WORD && self.heap.is_empty() => words,
            _ => return self.append_to_heap(head.to_le_bytes().get(..len).unwrap_or_default(), bytes),
        };
        self.len = end;
        let mut word = words.first().map_or(0, |word| u64::from_le_bytes(*word)) | head << (8 * used);
        let mut targets = words.iter_mut();
        let mut write = |word: u64| {
            if let Some(target) = targets.next() {
                *target = word.to_le_bytes();
            }
        };
        let used = match used + len {
            used @ ..WORD => used,
            over => {
                write(word);
                word = head >> (8 * (WORD + len - over));
                over - WORD
            }
        };
        let first = bytes.first_chunk().map_or_else(|| short(bytes), |first| u64::from_le_bytes(*first));
        write(word | first << (8 * used));
        // From here on `bytes` fills whole words. Two shifts, because one by 64 would overflow where nothing
        // is left.
        let (whole, rest) = bytes.get(WORD - used..).unwrap_or_default().as_chunks();
        whole.iter().for_each(|word| write(u64::from_le_bytes(*word)));
        write(match bytes.last_chunk() {
            Some(last) => u64::from_le_bytes(*last) >> 1 >> (63 - 8 * rest.len()),
            None => short(rest),
        });
    }

    #[inline(never)]
    fn append_to_heap(&mut self, head: &[u8], bytes: &[u8]) {
        if self.heap.is_empty() {
            self.heap.reserve(2 * WORDS * WORD + bytes.len());
            self.heap.extend_from_slice(self.words.as_flattened().get(..self.len).unwrap_or_default());
        }
        self.heap.extend_from_slice(head);
        self.heap.extend_from_slice(bytes);
        self.len = self.heap.len();
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            self.heap.truncate(len);
            if let Some(removed) = self.words.as_flattened_mut().get_mut(len..) {
                removed.fill(0);
            }
        }
    }

    /// The bytes. On the stack, zeros follow up to a whole word.
    #[inline]
    pub(crate) fn padded(&self) -> &[u8] {
        let whole = self.words.get(..self.len.div_ceil(WORD)).unwrap_or_default();
        if self.heap.is_empty() { whole.as_flattened() } else { &self.heap }
    }

    /// The bytes as two native-endian words, zeros after them, if they are at most 16.
    #[inline]
    pub(crate) fn two_words(&self) -> Option<[u64; 2]> {
        let [one, other, ..] = self.words;
        (self.heap.is_empty() && self.len <= 2 * WORD).then(|| [one, other].map(u64::from_ne_bytes))
    }
}

/// At most seven bytes as a word. Four and more are read as two halves that overlap, as XXH3 reads short
/// input.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => half(first) | half(last) << (8 * (bytes.len() - 4)),
        _ => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        if self.heap.is_empty() {
            self.words.as_flattened().get(..self.len).unwrap_or_default()
        } else {
            &self.heap
        }
    }
}

impl Default for Buffer {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_a_vector_would_hold() {
        let mut random = 1_u64;
        for round in 0..2_000 {
            let (mut buffer, mut expected) = (Buffer::new(), Vec::new());
            for _ in 0..round % 40 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let bytes = random.to_le_bytes();
                let len = usize::try_from(random >> 60).unwrap() % 8 + 1;
                match random >> 56 & 7 {
                    0 => {
                        buffer.push(bytes[7]);
                        expected.push(bytes[7]);
                    }
                    1 if !expected.is_empty() => {
                        let shorter = expected.len() - len.min(expected.len() - 1);
                        buffer.truncate(shorter);
                        expected.truncate(shorter);
                    }
                    2..5 => {
                        let many = bytes.repeat(len);
                        buffer.extend_from_slice(&many[len - 1..]);
                        expected.extend_from_slice(&many[len - 1..]);
                    }
                    _ => {
                        let (len, many) = (len % WORD, bytes.repeat(len));
                        buffer.append_with(random & !(u64::MAX << (8 * len)), len, &many[len..]);
                        expected.extend_from_slice(&bytes[..len]);
                        expected.extend_from_slice(&many[len..]);
                    }
                }
                assert_eq!(buffer[..], expected);
                assert_eq!(buffer.len(), expected.len());
                assert!(buffer.padded().starts_with(&expected));
                assert!(buffer.padded()[expected.len()..].iter().all(|byte| *byte == 0));
            }
        }
    }
}
