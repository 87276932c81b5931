//! What a look-up gives: an entry, and the right to store the result of a run.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::envelope::{self, Binding, Header, Token};
use super::lease::Ended;
use super::lease::claim::Under;
use crate::common::wait::{Caller, MaybeReady};
use crate::error::Error;
use crate::flight;
use crate::freshness::Found;
use crate::value::MakeFormat;

/// See [`Ticket::is_old`]: a small part of the time for which an invalidation shows.
const OLD: Duration = Duration::from_secs(1);

pub(crate) struct Lookup {
    /// The entry, if one may be served. An error if the bytes under the key are not an entry of this function.
    pub(crate) entry: Result<Option<Found>, Error>,
    /// For storing the result of a run.
    pub(crate) ticket: Ticket,
}

/// The right to store the result of a run, and what is left of the call's time.
#[derive(Clone)]
pub(crate) struct Ticket {
    /// The generation, or why the server didn't tell it.
    pub(super) token: Result<Token, Error>,
    /// See [`FallbackStore::clears`](super::fallback::FallbackStore::clears).
    pub(super) clears: u64,
    pub(super) format: MakeFormat,
    /// The text key, unless the look-up was a fresh hit: it saves computing the digest again.
    pub(super) text: Option<Arc<[u8]>>,
    pub(super) left: Duration,
    pub(super) right: Right,
}

/// What may be stored.
#[derive(Clone)]
pub(super) enum Right {
    /// Nothing: the server didn't answer.
    Nothing,
    /// The result of a run that has not begun yet.
    Seen(Seen),
    /// The result of a run that has begun.
    Claim(Arc<dyn RunClaim>),
    /// A value that replaces whatever is there.
    Value,
}

/// What a look-up read under the key, and when it began.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) under: Under,
}

/// The claim of a run on its key.
pub(crate) trait RunClaim: flight::Claim {
    /// Ends the claim of a run that has no result to share. [`release`](Self::release) leaves the key to other runs; without
    /// it, that happens when the claim is dropped.
    fn finish(&self);

    /// Leaves the key to other runs, and tells those who waited that there was no result to share.
    fn release(&self, caller: Caller) -> MaybeReady<'_, ()>;

    /// Ends the claim for an invalidation, whose mark must say what is returned.
    fn give_up(&self) -> Option<Ended>;

    /// Stores `entry`. `false` if the key has changed since the run's look-up.
    fn put(
        &self,
        entry: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        caller: Caller,
    ) -> MaybeReady<'_, Result<bool, Error>>;
}

impl Ticket {
    pub(super) fn new(token: Result<Token, Error>, clears: u64, format: MakeFormat, left: Duration) -> Self {
        Self { token, clears, format, text: None, left, right: Right::Nothing }
    }

    /// What the look-up saw, unless the run has begun. It is for one claim.
    pub(super) fn take_seen(&mut self) -> Option<Seen> {
        match mem::replace(&mut self.right, Right::Nothing) {
            Right::Seen(seen) => Some(seen),
            right => {
                self.right = right;
                None
            }
        }
    }

    /// The claim of the run, for its flight.
    pub(crate) fn claim(&self) -> Option<Arc<dyn flight::Claim>> {
        match &self.right {
            Right::Claim(claim) => Some(claim.clone()),
            _ => None,
        }
    }

    /// Whether the look-up was made so long ago that its run could hardly prove its right to store.
    pub(crate) fn is_old(&self) -> bool {
        matches!(&self.right, Right::Seen(seen) if seen.at.elapsed() > OLD)
    }

    /// Records that the server has been lost.
    pub(crate) fn fail(&mut self, error: Error) {
        self.token = Err(error);
    }

    /// Why the result won't be stored on the server.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.token.as_ref().err()
    }

    /// The time that is left for the call.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// Whether the run with this claim began before this look-up, and lost the key by then.
    pub(crate) fn outdates(&self, claim: &dyn flight::Claim) -> bool {
        let Right::Seen(Seen { at, under }) = &self.right else { return false };
        claim.is_outdated(*at, under.as_ref().map(|under| &*under.bytes))
    }

    /// The header and payload of `bytes`, if they belong to the ticket's generation.
    pub(super) fn open(&self, binding: &Binding<'_>, bytes: Option<&Bytes>) -> Option<(Header, Bytes)> {
        let (header, payload) = envelope::open(binding, bytes?.clone()).ok()?;
        let is_current = header.groups.first() == self.token.as_ref().ok();
        is_current.then_some((header, payload))
    }
}
