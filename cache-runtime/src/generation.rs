//! What this process knows of a function's generation: the token that its entries must carry.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use crate::clock::{Clock, nanos};
use crate::context::lock;
use crate::entry::Group as Token;

/// How long a token that was read is used before it is read again.
pub(crate) const TOKEN_FRESH: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Generation(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The token, and when it was read, by the monotonic clock.
    token: Option<(Token, u64)>,
    /// Counts the clears of this process, so that a token read before one isn't learnt after it.
    epoch: u64,
    /// Made by a clear of this process that the server doesn't know of yet: no token from there counts.
    is_owed: bool,
}

impl Generation {
    /// The token if it was read lately, else the epoch in which it is read now.
    pub(crate) fn known(&self, clock: &Clock) -> Result<Token, u64> {
        let known = lock(&self.0);
        let is_fresh = |read: u64| clock.is_before(read.saturating_add(nanos(TOKEN_FRESH)));
        match known.token {
            Some((token, read)) if known.is_owed || is_fresh(read) => Ok(token),
            _ => Err(known.epoch),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        lock(&self.0).epoch
    }

    pub(crate) fn learn(&self, token: Token, epoch: u64, clock: &Clock) {
        let mut known = lock(&self.0);
        if known.epoch == epoch {
            known.token = Some((token, clock.monotonic()));
        }
    }

    /// Begins a generation that the server is still to be told of.
    pub(crate) fn begin(&self) -> Token {
        let mut known = lock(&self.0);
        let token = random_token();
        *known = Known { token: Some((token, 0)), epoch: known.epoch + 1, is_owed: true };
        token
    }

    /// The token that the server is still to be told.
    pub(crate) fn owed(&self) -> Option<Token> {
        let known = lock(&self.0);
        known.token.filter(|_| known.is_owed).map(|(token, _)| token)
    }

    /// The server has been told `token`.
    pub(crate) fn told(&self, token: Token, clock: &Clock) {
        let mut known = lock(&self.0);
        if known.is_owed && known.token.is_some_and(|(current, _)| current == token) {
            known.token = Some((token, clock.monotonic()));
            known.is_owed = false;
        }
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
        let epoch = generation.known(&clock).unwrap_err();
        let token = generation.begin();
        generation.learn([1; 16], epoch, &clock);
        generation.told(token, &clock);
        generation.learn([1; 16], epoch, &clock);
        assert_eq!(generation.known(&clock), Ok(token));
        clock.advance(TOKEN_FRESH);
        assert!(generation.known(&clock).is_err());
    }

    #[test]
    fn a_token_that_the_server_does_not_know_is_used_until_it_does() {
        let (generation, clock) = (Generation::default(), Clock::manual());
        let first = generation.begin();
        clock.advance(TOKEN_FRESH);
        assert_eq!((generation.known(&clock), generation.owed()), (Ok(first), Some(first)));
        let second = generation.begin();
        generation.told(first, &clock);
        assert_eq!(generation.owed(), Some(second), "a later clear is still owed");
        generation.told(second, &clock);
        assert_eq!(generation.owed(), None);
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(random_token(), random_token());
    }
}
