//! What this process knows of a function's generation: the token that its entries must carry.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::clock::{Clock, nanos};
use crate::common::seqlock::Version;
use crate::config::context::lock;
use crate::remote::envelope::Group as Token;

/// How long a token that was read is used before it is read again.
pub(crate) const TOKEN_FRESH: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Generation {
    known: Mutex<Known>,
    /// What hits need, without the lock.
    latest: Latest,
}

/// When the token was asked for. An answer is as old as the question, however late it is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Asked {
    epoch: u64,
    /// By the monotonic clock.
    at: u64,
}

#[derive(Default)]
struct Known {
    /// Counts the beginnings and ends of clears of this process, so that a token read before one isn't learnt after it.
    epoch: u64,
    /// The token of a clear of this process that the server doesn't know of yet: none from there counts.
    owed: Option<Token>,
}

/// A token, and until when it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Current {
    token: Token,
    /// By the monotonic clock.
    fresh_until: u64,
    /// How far the wall clock was ahead of the monotonic one when the token was read, in nanoseconds and rounded up; zero
    /// if that isn't known.
    ahead: u64,
}

/// A [`Current`] that all threads read while one may write it, with the lock of [`Known`] held.
#[derive(Default)]
struct Latest {
    version: Version,
    words: [AtomicU64; 4],
}

impl Generation {
    /// The token if it was asked for lately, else the question that is to be put now.
    pub(crate) fn known(&self, clock: &Clock) -> Result<Token, Asked> {
        self.fresh(clock).ok_or(()).or_else(|()| {
            let known = lock(&self.known);
            // It may have been changing.
            self.fresh(clock).ok_or_else(|| known.asked(clock))
        })
    }

    fn fresh(&self, clock: &Clock) -> Option<Token> {
        let current = self.latest.get().filter(|current| clock.is_before(current.fresh_until));
        current.map(|current| current.token)
    }

    /// Whether a moment in Unix time is surely yet to come. Reckoned from what both clocks said when the token was read,
    /// because the wall clock takes as long to read as half of an answer to check: that it was set is noticed with
    /// the next token.
    pub(crate) fn is_before(&self, unix_ms: u64, clock: &Clock) -> bool {
        let moment = unix_ms.saturating_mul(1_000_000);
        let ahead = self.latest.get().map_or(0, |current| current.ahead);
        ahead > 0 && clock.is_before(moment.saturating_sub(ahead))
    }

    /// The question that is put now.
    pub(crate) fn ask(&self, clock: &Clock) -> Asked {
        lock(&self.known).asked(clock)
    }

    /// Takes the answer, unless it is older than what is known.
    pub(crate) fn learn(&self, token: Token, asked: Asked, clock: &Clock) {
        let (known, current) = (lock(&self.known), Current::read(token, asked.at, clock));
        let is_newer = self.latest.get().is_none_or(|latest| latest.fresh_until < current.fresh_until);
        if known.epoch == asked.epoch && known.owed.is_none() && is_newer {
            self.latest.set(current);
        }
    }

    /// Begins a clear, which ends when the server [has lost](Self::told) its token. The token for the time until then
    /// is never seen there: what is stored under it is void with the clear.
    pub(crate) fn begin(&self) -> Token {
        let mut known = lock(&self.known);
        let token = random_token();
        *known = Known { owed: Some(token), epoch: known.epoch + 1 };
        self.latest.set(Current { token, fresh_until: u64::MAX, ahead: 0 });
        token
    }

    /// The token of the clear that the server doesn't know of yet.
    pub(crate) fn owed(&self) -> Option<Token> {
        lock(&self.known).owed
    }

    /// The clear that began with `token` has reached the server.
    pub(crate) fn told(&self, token: Token) {
        let mut known = lock(&self.known);
        if known.owed == Some(token) {
            *known = Known { owed: None, epoch: known.epoch + 1 };
            self.latest.set(Current::NONE);
        }
    }
}

impl Known {
    fn asked(&self, clock: &Clock) -> Asked {
        Asked { epoch: self.epoch, at: clock.monotonic() }
    }
}

impl Current {
    /// Used never.
    const NONE: Self = Self { token: [0; 16], fresh_until: 0, ahead: 0 };

    fn read(token: Token, asked: u64, clock: &Clock) -> Self {
        // In this order, so that what passes between the two doesn't make the end of entries later.
        let read = clock.monotonic();
        let unix = clock.unix_ms().saturating_add(1).saturating_mul(1_000_000);
        Self {
            token,
            fresh_until: asked.saturating_add(nanos(TOKEN_FRESH)),
            ahead: unix.saturating_sub(read),
        }
    }
}

impl Latest {
    /// `None` before the first, and while it changes.
    fn get(&self) -> Option<Current> {
        let words = || self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        let [first, second, fresh_until, ahead] = self.version.read(|version| (version > 0).then(words))?;
        let mut token = Token::default();
        token.as_chunks_mut().0.copy_from_slice(&[first.to_le_bytes(), second.to_le_bytes()]);
        Some(Current { token, fresh_until, ahead })
    }

    fn set(&self, Current { token, fresh_until, ahead }: Current) {
        self.version.write(|| {
            let halves = token.as_chunks().0.iter().map(|half| u64::from_le_bytes(*half));
            let words = halves.chain([fresh_until, ahead]);
            self.words.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
        });
    }
}

/// Sixteen bytes that no other process makes: the standard library seeds each `RandomState` from the
/// operating system. Tokens need to differ, not to be secret.
pub(crate) fn random_token() -> Token {
    let half = || RandomState::new().build_hasher().finish().to_le_bytes();
    let mut token = Token::default();
    token[..8].copy_from_slice(&half());
    token[8..].copy_from_slice(&half());
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_read_before_a_clear_is_not_learnt_after_it() {
        let (generation, clock) = (Generation::default(), Clock::manual());
        let before = generation.known(&clock).unwrap_err();
        let token = generation.begin();
        let meanwhile = generation.ask(&clock);
        for asked in [before, meanwhile] {
            generation.learn([1; 16], asked, &clock);
        }
        assert_eq!(generation.known(&clock), Ok(token));
        generation.told(token);
        for asked in [before, meanwhile] {
            generation.learn([1; 16], asked, &clock);
        }
        let after = generation.known(&clock).unwrap_err();
        generation.learn([2; 16], after, &clock);
        assert_eq!(generation.known(&clock), Ok([2; 16]));
        clock.advance(TOKEN_FRESH);
        assert!(generation.known(&clock).is_err());
    }

    #[test]
    fn the_token_of_a_clear_is_used_until_the_server_knows_of_it() {
        let (generation, clock) = (Generation::default(), Clock::manual());
        let first = generation.begin();
        clock.advance(TOKEN_FRESH);
        assert_eq!((generation.known(&clock), generation.owed()), (Ok(first), Some(first)));
        let second = generation.begin();
        generation.told(first);
        assert_eq!(generation.owed(), Some(second), "a later clear is still owed");
        generation.told(second);
        assert_eq!(generation.owed(), None);
    }

    #[test]
    fn the_end_of_an_entry_is_never_reckoned_too_late() {
        let (generation, clock) = (Generation::default(), Clock::manual());
        let is_before = |unix_ms| generation.is_before(unix_ms, &clock);
        assert!(!is_before(u64::MAX), "nothing is known");
        let token = generation.begin();
        assert!(!is_before(u64::MAX), "a token of our own says nothing of clocks");
        generation.told(token);
        assert!(!is_before(u64::MAX), "nothing is known");
        generation.learn([1; 16], generation.ask(&clock), &clock);
        let end = clock.unix_ms() + 100;
        assert!(is_before(end) && is_before(u64::MAX));
        clock.advance(Duration::from_millis(98));
        assert!(is_before(end));
        clock.advance(Duration::from_millis(2));
        assert!(!is_before(end) && is_before(end + 2));
    }

    #[test]
    fn who_reads_while_it_changes_gets_one_or_the_other() {
        let latest = &Latest::default();
        let current = |n: u8| Current { token: [n; 16], fresh_until: n.into(), ahead: n.into() };
        assert_eq!(latest.get(), None);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..400 {
                    (0..=u8::MAX).for_each(|n| latest.set(current(n)));
                }
            });
            while !writer.is_finished() {
                if let Some(seen) = latest.get() {
                    assert_eq!(seen, current(seen.token[0]));
                }
            }
        });
        assert_eq!(latest.get(), Some(current(u8::MAX)));
    }

    #[test]
    fn a_token_is_as_old_as_the_question() {
        let (generation, clock) = (Generation::default(), Clock::manual());
        let asked = generation.known(&clock).unwrap_err();
        // Another process clears; another call here reads the new token.
        clock.advance(Duration::from_secs(10));
        generation.learn([2; 16], generation.ask(&clock), &clock);
        // Only now the first answer is looked at.
        generation.learn([1; 16], asked, &clock);
        assert_eq!(generation.known(&clock), Ok([2; 16]));
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(random_token(), random_token());
    }
}
