//! What a look-up gives: an entry, and the right to store the result of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::envelope::{self, Binding, Header, Token};
use super::form::Form;
use super::lease::Mark;
use crate::common::wait::{Caller, MaybeReady};
use crate::error::Error;
use crate::flight::{Began, Leader};
use crate::freshness::Found;
use crate::key::Key;
use crate::value::MakeFormat;

pub(crate) struct Lookup {
    /// The entry, if one may be served. An error if the bytes under the key are not an entry of this function.
    pub(crate) entry: Result<Option<Found>, Error>,
    /// For storing the result of a run.
    pub(crate) ticket: Ticket,
}

/// When a run began, and what is left of the call's time.
#[derive(Clone)]
pub(crate) struct Ticket {
    /// The generation, or why the server didn't tell it.
    pub(super) token: Result<Token, Error>,
    /// See [`FallbackStore::clears`](super::fallback::FallbackStore::clears).
    pub(super) clears: u64,
    pub(super) format: MakeFormat,
    /// The text key, unless the look-up was a fresh hit: it saves computing the digest again.
    pub(super) text: Option<Vec<u8>>,
    pub(super) left: Duration,
    /// For leases. Boxed, because tickets are moved with every hit.
    pub(super) seen: Option<Box<Seen>>,
    /// The right to run the body for the whole cluster.
    pub(super) lease: Option<Arc<dyn RunLease>>,
}

/// What a look-up found under the key, and when it began.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) form: Arc<Form>,
    pub(super) bytes: Option<Bytes>,
}

/// The right to run a body for the whole cluster.
pub(crate) trait RunLease: Send + Sync {
    /// The name of the holder. No other lease has the same.
    fn holder(&self) -> Token;

    /// Records that the run has no result to share.
    fn finish_empty(&self);

    /// Replaces the mark of the lease by `entry`. `false` if the mark is gone.
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
        Self { token, clears, format, text: None, left, seen: None, lease: None }
    }

    pub(crate) fn format(&self) -> MakeFormat {
        self.format
    }

    /// Records when the run of `leader` begins, if it has a lease.
    pub(crate) fn begin(&self, leader: &Leader) {
        if let Some(lease) = &self.lease {
            leader.begin_under(lease.holder());
        }
    }

    /// Records that the run has no result to share.
    pub(crate) fn finish_empty(&self) {
        if let Some(lease) = &self.lease {
            lease.finish_empty();
        }
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

    /// Whether a run that `began` had lost its lease when this look-up was made.
    pub(super) fn is_outdated(&self, key: &Key, began: Began) -> bool {
        let Some(seen) = &self.seen else { return false };
        let opened = self.open(&seen.form.binding(&key.text_bytes(&seen.form.head)), seen.bytes.as_ref());
        let mark = opened.and_then(|(header, _)| Mark::of(&header));
        began.at < seen.at && !mark.is_some_and(|mark| mark.is_held_by(began.lease))
    }

    /// The header and payload of `bytes`, if they belong to the ticket's generation.
    pub(super) fn open(&self, binding: &Binding<'_>, bytes: Option<&Bytes>) -> Option<(Header, Bytes)> {
        let (header, payload) = envelope::open(binding, bytes?.clone()).ok()?;
        let is_current = header.groups.first() == self.token.as_ref().ok();
        is_current.then_some((header, payload))
    }
}
