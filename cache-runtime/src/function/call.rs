//! The steps of a call, as values: what a look-up found, what the call is to do then, and what becomes of its result.
//!
//! [`State`](crate::function::state::State) makes them and [`Function`](crate::function::Function) takes them; nothing here is
//! decided.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::flight::{Arrival, Leader, Role};
use crate::freshness::Verdict;
use crate::key::Key;
use crate::remote;
use crate::value::Packed;

/// The outcome of a look-up.
pub(crate) enum Looked {
    Found(Found),
    Miss(Ticket),
}

/// An entry that may be served, if it unpacks.
pub(crate) struct Found {
    pub(crate) packed: Packed,
    /// What the run behind it took.
    pub(crate) cost: Duration,
    /// For a run, if it doesn't unpack or is to be renewed.
    pub(crate) ticket: Ticket,
    pub(crate) source: Source,
    /// Never [`Verdict::Gone`].
    pub(crate) verdict: Verdict,
}

impl Found {
    /// The answer of another call's run.
    pub(crate) fn shared(packed: Packed, ticket: Ticket) -> Self {
        Self { packed, cost: Duration::ZERO, ticket, source: Source::Run, verdict: Verdict::Fresh }
    }
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// An entry: a hit.
    Entry,
    /// A result that the server couldn't take, kept in this process: a hit too.
    Outage,
    /// A run that another call had begun.
    Run,
}

/// The right to store the result of a run that begins now: what is cleared meanwhile stays so.
#[derive(Clone)]
pub(crate) enum Ticket {
    /// Nothing is to be stored: caching is off, or the backend has just failed.
    Nothing,
    /// The store's generation.
    Typed(u64),
    Remote(remote::Ticket),
}

impl Ticket {
    /// The same for a call that goes on, because what it found doesn't unpack.
    pub(crate) fn resumed(mut self) -> Self {
        if let Self::Remote(ticket) = &mut self {
            ticket.resume();
        }
        self
    }

    pub(crate) fn stores(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// What a call that missed is to do. In boxes, because it passes through many hands, and next to a miss an allocation is
/// nothing.
pub(crate) enum Turn {
    /// Take what another call's run gave.
    Answer(Box<Found>),
    /// Run the body.
    Run(Box<Run>),
    /// Run the body to renew what was found, which serves meanwhile.
    Renew(Box<Found>, Box<Run>),
}

impl From<Found> for Turn {
    fn from(found: Found) -> Self {
        Self::Answer(Box::new(found))
    }
}

impl From<Run> for Turn {
    fn from(run: Run) -> Self {
        Self::Run(Box::new(run))
    }
}

/// A run of the body that is to be made.
pub(crate) struct Run {
    /// For whom it is made beside the caller.
    pub(crate) leader: Option<Leader>,
    /// Where its result is stored, if it may be.
    pub(crate) target: Option<(Key, Ticket)>,
    /// Whether there may be an entry already, which must not outlive a result that is not stored.
    pub(crate) replaces: bool,
}

impl Run {
    /// A run for the caller alone. Its result is not stored, because it would not notice an invalidation.
    pub(crate) fn alone() -> Self {
        Self { leader: None, target: None, replaces: false }
    }

    /// Whether the result is for anybody but the caller.
    pub(crate) fn wants_result(&self) -> bool {
        self.leader.is_some() || self.stores()
    }

    pub(crate) fn stores(&self) -> bool {
        self.target.is_some()
    }

    /// Ends the run with nothing to store: all who waited run on their own.
    pub(crate) fn end_without_result(self) {
        if let Some((_, Ticket::Remote(ticket))) = &self.target {
            ticket.end_empty();
        }
        if let Some(leader) = self.leader {
            leader.land(None);
        }
    }

    /// Runs `body` as this run: calls of the same key within it don't wait for it.
    pub(crate) fn inside<T>(&self, body: impl FnOnce() -> T) -> T {
        let _inside = self.leader.as_ref().map(Leader::enter);
        body()
    }

    /// [`inside`](Self::inside) for a future.
    pub(crate) async fn inside_async<F: Future>(&self, mut body: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| self.inside(|| body.as_mut().poll(cx))).await
    }
}

/// A result on its way into the cache.
pub(crate) struct Write<'l> {
    pub(crate) key: Key,
    pub(crate) ticket: Ticket,
    pub(crate) packed: Packed,
    pub(crate) life: Option<Duration>,
    pub(crate) cost: Duration,
    /// See [`Run::replaces`].
    pub(crate) replaces: bool,
    /// Of the run, if others may have an interest in it.
    pub(crate) leader: Option<&'l Leader>,
}

/// What has become of the run that a call has joined.
pub(crate) enum Arrived {
    /// Run the body for all.
    Lead(Leader),
    /// Run the body for oneself.
    Alone,
    /// Take the result.
    Shared(Packed),
    /// Look again: the result is there.
    Elsewhere,
}

/// Waits for the end of a run. Who has waited until `until` runs the body alone.
pub(crate) async fn arrive(role: Role, until: Option<Instant>) -> Arrived {
    let waiter = match role {
        Role::Lead(leader) => return Arrived::Lead(leader),
        Role::Alone => return Arrived::Alone,
        Role::Wait(waiter) => waiter,
    };
    let _alarm = until.map(|until| waiter.look_again_at(until));
    loop {
        match waiter.look() {
            Arrival::Shared(packed) => return Arrived::Shared(packed),
            Arrival::Lead(leader) => return Arrived::Lead(leader),
            Arrival::Alone => return Arrived::Alone,
            Arrival::Elsewhere => return Arrived::Elsewhere,
            Arrival::Pending(_) if until.is_some_and(|until| until <= Instant::now()) => {
                return Arrived::Alone;
            }
            Arrival::Pending(change) => change.await,
        }
    }
}
