//! What this process knows of a function's generation: the token that its entries must carry.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::envelope::Token;
use crate::common::clock::{Clock, nanos};
use crate::common::random;
use crate::common::seqlock::Version;
use crate::common::sync::lock;

/// How long a token is used before it is read again.
pub(crate) const TOKEN_FRESH: Duration = Duration::from_millis(500);

/// The most tokens of the past that are remembered.
const MAX_PAST: usize = 64;

pub(crate) struct Generation {
    clock: Clock,
    status: Mutex<Status>,
    /// What hits need, without the lock.
    latest: Latest,
}

/// When the token was asked for. An answer is as old as its question, however late it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Asked {
    epoch: u64,
    /// On the monotonic clock.
    at: u64,
}

#[derive(Default)]
struct Status {
    /// Counts the beginnings and ends of clears by this process, so that a token read before one isn't used after it.
    epoch: u64,
    /// The token of a clear by this process that the server doesn't know of yet. No token from the server counts until
    /// it does.
    pending: Option<Token>,
    /// The last tokens that are known to be void, and since when they are. A server that names one of them has lost a
    /// clear: it was restored from a snapshot, or a replica took over that lagged behind.
    past: VecDeque<(Token, u64)>,
}

/// A token, and how long it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Current {
    token: Token,
    /// On the monotonic clock.
    fresh_until: u64,
}

/// A [`Current`] that all threads read while one may write it. Writers hold the lock of [`Status`].
#[derive(Default)]
struct Latest {
    version: Version,
    words: [AtomicU64; 3],
}

impl Generation {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, status: Mutex::default(), latest: Latest::default() }
    }

    /// The token if it was read recently. Otherwise the question to ask now.
    pub(crate) fn known(&self) -> Result<Token, Asked> {
        self.fresh().ok_or(()).or_else(|()| {
            let status = lock(&self.status);
            // A writer may have been active.
            self.fresh().ok_or_else(|| self.asked(&status))
        })
    }

    /// The token that was known last, however long ago.
    pub(crate) fn last(&self) -> Option<Token> {
        self.latest.get().map(|current| current.token).filter(|token| *token != Current::UNKNOWN.token)
    }

    fn fresh(&self) -> Option<Token> {
        let current = self.latest.get().filter(|current| self.clock.is_before(current.fresh_until));
        current.map(|current| current.token)
    }

    /// The question to ask now.
    pub(crate) fn ask(&self) -> Asked {
        self.asked(&lock(&self.status))
    }

    fn asked(&self, status: &Status) -> Asked {
        Asked { epoch: status.epoch, at: self.clock.monotonic() }
    }

    /// Uses `token` from now on, unless it is older than what is known. `false` if it was void before it was asked for.
    #[must_use]
    pub(crate) fn learn(&self, token: Token, asked: Asked) -> bool {
        let mut status = lock(&self.status);
        if status.past.iter().any(|(past, since)| *past == token && *since < asked.at) {
            return false;
        }
        let fresh_until = asked.at.saturating_add(nanos(TOKEN_FRESH));
        let latest = self.latest.get().unwrap_or(Current::UNKNOWN);
        if status.epoch == asked.epoch && status.pending.is_none() && latest.fresh_until < fresh_until {
            if latest.token != token {
                self.forget(&mut status, latest.token);
            }
            self.latest.set(Current { token, fresh_until });
        }
        true
    }

    /// Records that the server has had `token` and has another one now, or none.
    fn forget(&self, status: &mut Status, token: Token) {
        if token != Current::UNKNOWN.token {
            status.past.truncate(MAX_PAST - 1);
            status.past.push_front((token, self.clock.monotonic()));
        }
    }

    /// Begins a clear, which ends when the server [has removed](Self::cleared) its token. The token for the time until then
    /// never gets to the server: what is stored under it is void when the clear ends.
    pub(crate) fn begin_clear(&self) -> Token {
        let mut status = lock(&self.status);
        let token = random_token();
        if status.pending.is_none()
            && let Some(latest) = self.latest.get()
        {
            self.forget(&mut status, latest.token);
        }
        status.pending = Some(token);
        status.epoch += 1;
        self.latest.set(Current { token, fresh_until: u64::MAX });
        token
    }

    /// The token of the clear that the server doesn't know of yet.
    pub(crate) fn pending(&self) -> Option<Token> {
        lock(&self.status).pending
    }

    /// The clear that began with `token` has reached the server, which had `removed` until then.
    pub(crate) fn cleared(&self, token: Token, removed: Option<Token>) {
        let mut status = lock(&self.status);
        if let Some(removed) = removed {
            self.forget(&mut status, removed);
        }
        if status.pending == Some(token) {
            status.pending = None;
            status.epoch += 1;
            self.latest.set(Current::UNKNOWN);
        }
    }
}

impl Current {
    /// Never used.
    const UNKNOWN: Self = Self { token: [0; 16], fresh_until: 0 };
}

impl Latest {
    /// `None` before the first write, and during one.
    fn get(&self) -> Option<Current> {
        let words = || self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        let [first, second, fresh_until] = self.version.read(|version| (version > 0).then(words))?;
        let mut token = Token::default();
        token.as_chunks_mut().0.copy_from_slice(&[first.to_le_bytes(), second.to_le_bytes()]);
        Some(Current { token, fresh_until })
    }

    fn set(&self, Current { token, fresh_until }: Current) {
        self.version.write(|| {
            let halves = token.as_chunks().0.iter().map(|half| u64::from_le_bytes(*half));
            let values = halves.chain([fresh_until]);
            self.words.iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        });
    }
}

/// A token that no other process makes, not even a child of `fork`.
pub(crate) fn random_token() -> Token {
    random::bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_read_before_a_clear_is_not_used_after_it() {
        let clock = Clock::manual();
        let generation = Generation::new(clock.clone());
        let before = generation.known().unwrap_err();
        let token = generation.begin_clear();
        let meanwhile = generation.ask();
        for asked in [before, meanwhile] {
            assert!(generation.learn([1; 16], asked));
        }
        assert_eq!(generation.known(), Ok(token));
        generation.cleared(token, None);
        for asked in [before, meanwhile] {
            assert!(generation.learn([1; 16], asked));
        }
        let after = generation.known().unwrap_err();
        assert!(generation.learn([2; 16], after));
        assert_eq!(generation.known(), Ok([2; 16]));
        clock.advance(TOKEN_FRESH);
        assert!(generation.known().is_err());
    }

    #[test]
    fn the_token_of_a_clear_is_used_until_the_server_knows_of_it() {
        let clock = Clock::manual();
        let generation = Generation::new(clock.clone());
        let first = generation.begin_clear();
        clock.advance(TOKEN_FRESH);
        assert_eq!((generation.known(), generation.pending()), (Ok(first), Some(first)));
        let second = generation.begin_clear();
        generation.cleared(first, None);
        assert_eq!(generation.pending(), Some(second), "a later clear is still pending");
        generation.cleared(second, None);
        assert_eq!(generation.pending(), None);
    }

    #[test]
    fn a_void_token_is_not_taken_back() {
        let clock = Clock::manual();
        let generation = Generation::new(clock.clone());
        let ask = || {
            clock.advance(TOKEN_FRESH);
            generation.ask()
        };
        assert!(generation.learn([1; 16], ask()));
        let late = ask();
        assert!(generation.learn([2; 16], ask()), "another process has cleared");
        assert!(generation.learn([1; 16], late), "an old answer is not a restored server");
        assert!(!generation.learn([1; 16], ask()), "void since it was replaced");
        let clear = generation.begin_clear();
        generation.cleared(clear, Some([3; 16]));
        for void in 1..=3 {
            assert!(!generation.learn([void; 16], ask()), "{void}: void since the clear");
        }
        assert!(generation.learn([4; 16], ask()));
        for n in 0..2 * MAX_PAST as u64 {
            assert!(generation.learn(u128::from(n + 1000).to_le_bytes(), ask()));
        }
        assert_eq!(lock(&generation.status).past.len(), MAX_PAST);
    }

    #[test]
    fn a_reader_gets_one_value_or_the_other_while_it_changes() {
        let latest = &Latest::default();
        let current = |n: u8| Current { token: [n; 16], fresh_until: n.into() };
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
    fn a_token_is_as_old_as_its_question() {
        let clock = Clock::manual();
        let generation = Generation::new(clock.clone());
        let asked = generation.known().unwrap_err();
        // Another process clears; another call here reads the new token.
        clock.advance(Duration::from_secs(10));
        assert!(generation.learn([2; 16], generation.ask()));
        // Only now is the first answer used.
        assert!(generation.learn([1; 16], asked));
        assert_eq!(generation.known(), Ok([2; 16]));
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(random_token(), random_token());
    }
}
