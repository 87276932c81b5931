//! Bytes as they are written, on the stack while they are few.
//!
//! A key is hashed and compared right after it was written. A processor passes a store on to a load only if that store
//! holds all that is loaded, and else waits for the cache: some 5 ns, as much as the whole look-up. So bytes are stored
//! in whole words and can be loaded so, see [`padded`](Buffer::padded).

use std::ops::Deref;

/// Bytes within a word.
const WORD: usize = size_of::<u64>();
/// Long enough for the arguments of most calls, so that their key is made without allocating; it is moved, too.
const WORDS: usize = 8;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    /// What is behind the end is zero.
    words: [[u8; WORD]; WORDS],
    len: usize,
    /// All of the bytes, once they are too many.
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

    /// Appends the low `len` bytes of `word`, at most eight; the others are zero.
    #[inline]
    pub(crate) fn append(&mut self, word: u64, len: usize) {
        let (index, shift) = (self.len / WORD, self.len % WORD * 8);
        let goes_over = shift + 8 * len > 64;
        let last = if goes_over { index + 1 } else { index };
        if last >= WORDS || !self.heap.is_empty() {
            return self.append_to_heap(word.to_le_bytes().get(..len).unwrap_or_default(), &[]);
        }
        self.words[index] = (u64::from_le_bytes(self.words[index]) | word << shift).to_le_bytes();
        if goes_over {
            self.words[last] = (word >> (64 - shift)).to_le_bytes();
        }
        self.len += len;
    }

    /// Appends the low `len` bytes of `head`, fewer than a word has and with zeros above them, and then `bytes`: in one
    /// go, because what is written of a word is kept at hand then, and not read again.
    #[inline]
    pub(crate) fn append_with(&mut self, head: u64, len: usize, bytes: &[u8]) {
        let end = self.len + len + bytes.len();
        let (index, begun) = (self.len / WORD, self.len % WORD);
        let words = match self.words.get_mut(index..) {
            Some(words) if end <= WORDS * WORD && self.heap.is_empty() => words,
            _ => return self.append_to_heap(head.to_le_bytes().get(..len).unwrap_or_default(), bytes),
        };
        self.len = end;
        let mut word = words.first().map_or(0, |word| u64::from_le_bytes(*word)) | head << (8 * begun);
        let mut room = words.iter_mut();
        let mut write = |word: u64| {
            if let Some(place) = room.next() {
                *place = word.to_le_bytes();
            }
        };
        let begun = match begun + len {
            begun @ ..WORD => begun,
            over => {
                write(word);
                word = head >> (8 * (WORD + len - over));
                over - WORD
            }
        };
        let first = bytes.first_chunk().map_or_else(|| few(bytes), |first| u64::from_le_bytes(*first));
        write(word | first << (8 * begun));
        // The other words are as they lie in `bytes`.
        let (whole, rest) = bytes.get(WORD - begun..).unwrap_or_default().as_chunks();
        whole.iter().for_each(|word| write(u64::from_le_bytes(*word)));
        write(match bytes.last_chunk() {
            Some(last) => u64::from_le_bytes(*last) >> 1 >> (63 - 8 * rest.len()),
            None => few(rest),
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
            if let Some(behind) = self.words.as_flattened_mut().get_mut(len..) {
                behind.fill(0);
            }
        }
    }

    /// The bytes, with zeros behind them up to a whole word if they are few enough to be on the stack.
    #[inline]
    pub(crate) fn padded(&self) -> &[u8] {
        let whole = self.words.get(..self.len.div_ceil(WORD)).unwrap_or_default();
        if self.heap.is_empty() { whole.as_flattened() } else { &self.heap }
    }

    /// The bytes as words, with zeros behind them, if they are no more than two.
    #[inline]
    pub(crate) fn two_words(&self) -> Option<[u64; 2]> {
        let [one, other, ..] = self.words;
        (self.heap.is_empty() && self.len <= 2 * WORD).then(|| [one, other].map(u64::from_ne_bytes))
    }
}

/// Fewer bytes than a word has.
#[inline]
fn few(bytes: &[u8]) -> u64 {
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    match (bytes.first_chunk(), bytes.last_chunk()) {
        // Some of them twice.
        (Some(first), Some(last)) => half(first) | half(last) << (8 * (bytes.len() - 4)),
        _ => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self.heap.is_empty() {
            true => self.words.as_flattened().get(..self.len).unwrap_or_default(),
            false => &self.heap,
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
    fn it_holds_what_a_vector_would_hold() {
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
