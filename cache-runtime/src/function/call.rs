//! The steps of a call, as values: what a look-up found, how the call goes on, and what becomes of its result.
//!
//! [`State`](super::state::State) makes them and [`Function`](super::Function) acts on them. Nothing is decided here.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::place::Ticket;
use crate::common::process::Process;
use crate::common::wait::Caller;
use crate::error::Error;
use crate::flight::{Leader, LeaderPolls};
use crate::freshness::{Found, Freshness, Source};
use crate::key::Key;
use crate::remote::Query;
use crate::value::{MakeFormat, Packed, Shared};

/// One call of a function.
#[derive(Clone, Copy)]
pub(crate) struct Call<'k> {
    pub(crate) key: &'k Result<Key, Error>,
    pub(crate) format: MakeFormat,
    pub(crate) caller: Caller,
    /// How many runs had ended when the call began; `None` for a call that runs whatever the cache holds.
    pub(crate) completed: Option<u64>,
}

impl<'k> Call<'k> {
    /// What the call asks for, if its arguments make a key.
    pub(crate) fn query(self) -> Result<Query<'k>, &'k Error> {
        let Self { key, format, caller, .. } = self;
        key.as_ref().map(|key| Query { key, format, caller })
    }
}

/// What a look-up gives.
pub(crate) struct Lookup {
    pub(crate) found: Option<Found>,
    /// For storing the result of a run.
    pub(crate) ticket: Ticket,
    /// Why nothing could be read.
    pub(crate) failure: Option<Error>,
    /// Why what was read is not an entry of the function.
    pub(crate) undecodable: Option<Error>,
}

impl Lookup {
    pub(crate) fn miss(ticket: Ticket) -> Self {
        Self { found: None, ticket, failure: None, undecodable: None }
    }

    pub(crate) fn failed(failure: Error) -> Self {
        Self { failure: Some(failure), ..Self::miss(Ticket::None) }
    }
}

/// An answer, if it unpacks, and the ticket for a run if it doesn't.
pub(crate) struct Answer {
    pub(crate) found: Found,
    pub(crate) ticket: Ticket,
}

impl Answer {
    /// A value of another call's run.
    pub(crate) fn shared(packed: Packed, ticket: Ticket) -> Self {
        let found = Found { packed, cost: Duration::ZERO, freshness: Freshness::Fresh, source: Source::Run };
        Self { found, ticket }
    }

    /// An entry that another call's run has stored.
    pub(crate) fn stored_by_run(found: Found, ticket: Ticket) -> Self {
        Self { found: Found { source: Source::Run, ..found }, ticket }
    }
}

/// How a call goes on that was not answered by a fresh entry. Boxed, because it passes through many hands, and next to
/// a miss an allocation is nothing.
pub(crate) enum Action {
    Return(Box<Answer>),
    /// Return a result of another call's run that isn't stored.
    Share(Shared),
    /// Run the body.
    Run(Box<Run>),
    /// Run the body to renew the entry, which others are served meanwhile.
    Renew(Box<Answer>, Box<Run>),
}

impl From<Answer> for Action {
    fn from(answer: Answer) -> Self {
        Self::Return(Box::new(answer))
    }
}

impl From<Run> for Action {
    fn from(run: Run) -> Self {
        Self::Run(Box::new(run))
    }
}

/// A run of the body that is about to happen.
pub(crate) struct Run {
    process: Process,
    /// The lead of the calls that wait for the result.
    pub(crate) leader: Option<Leader>,
    /// Where the result is stored, if it may be.
    pub(crate) target: Option<(Key, Ticket)>,
    /// Whether there may be an older entry, which must not outlive a result that is not stored.
    pub(crate) replaces: bool,
    /// An older value, to return if the body fails.
    pub(crate) reserve: Option<Box<Found>>,
}

impl Run {
    /// A run for the caller only. Its result is not stored, because an invalidation would not notice it.
    pub(crate) fn alone() -> Self {
        Self::new(None, None, false)
    }

    pub(crate) fn new(leader: Option<Leader>, target: Option<(Key, Ticket)>, replaces: bool) -> Self {
        Self { process: Process::current(), leader, target, replaces, reserve: None }
    }

    /// The run after its body. A body that has forked returns twice, and the run is the parent's.
    pub(crate) fn after_body(self) -> Self {
        if self.process.is_current() { self } else { Self::alone() }
    }

    /// Ends the run: its lead, and where its result goes if it may still be stored.
    pub(crate) fn end(self) -> (Option<Leader>, Option<(Key, Ticket)>) {
        let Self { leader, target, .. } = self;
        let may_store = leader.as_ref().is_none_or(Leader::may_store);
        (leader, target.filter(|_| may_store))
    }

    /// Whether the result is for anybody but the caller.
    pub(crate) fn wants_result(&self) -> bool {
        self.leader.is_some() || self.stores()
    }

    pub(crate) fn stores(&self) -> bool {
        self.target.is_some()
    }

    /// Whether calls wait for the result.
    pub(crate) fn has_waiters(&self) -> bool {
        self.leader.as_ref().is_some_and(Leader::has_waiters)
    }

    /// Runs `body` as this run, so that calls of the same key inside it don't wait for it.
    pub(crate) fn inside<T>(&self, body: impl FnOnce() -> T) -> T {
        let _inside = self.leader.as_ref().map(Leader::enter);
        body()
    }

    /// [`inside`](Self::inside) for a future.
    pub(crate) async fn inside_async<F: Future>(&self, mut body: Pin<&mut F>) -> F::Output {
        let polls = self.polls();
        poll_fn(|context| self.inside(|| poll(polls.as_ref(), body.as_mut(), context))).await
    }

    /// For polling the futures of the run.
    pub(crate) fn polls(&self) -> Option<LeaderPolls> {
        self.leader.as_ref().map(Leader::polls)
    }
}

/// Waits for `future`, which belongs to the run that `polls` is of.
pub(crate) async fn driven<F: Future>(polls: Option<LeaderPolls>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| poll(polls.as_ref(), future.as_mut(), context)).await
}

fn poll<F: Future>(
    polls: Option<&LeaderPolls>,
    future: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Poll<F::Output> {
    match polls {
        Some(polls) => polls.poll(future, context),
        None => future.poll(context),
    }
}

/// A result that is shared, and may be stored.
pub(crate) struct Packaged {
    pub(crate) packed: Packed,
    /// How long it may be served, if it is stored at all.
    pub(crate) life: Option<Life>,
}

/// How long a value may be served; `None` is forever.
pub(crate) type Life = Option<Duration>;

/// The time of a run that has ended.
#[derive(Clone, Copy)]
pub(crate) struct RunTime {
    pub(crate) cost: Duration,
    pub(crate) ended: Instant,
}

/// A result on its way into the cache.
pub(crate) struct Write<'r> {
    pub(crate) key: Key,
    pub(crate) ticket: Ticket,
    pub(crate) packed: Packed,
    pub(crate) life: Option<Duration>,
    pub(crate) time: RunTime,
    /// See [`Run::replaces`].
    pub(crate) replaces: bool,
    pub(crate) leader: Option<&'r Leader>,
    pub(crate) caller: Caller,
}
