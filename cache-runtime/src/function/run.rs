//! Who runs the body: how a call that missed goes on, and who renews an entry.
//!
//! How calls of one key meet in this process is decided by [`flight`](crate::flight), and among processes by the leases of
//! [`remote`](crate::remote). Here both are combined with what is stored.

use std::time::Instant;

use super::call::{Action, Answer, Call, Lookup, Run, driven};
use super::place::Ticket;
use super::spec::SingleFlight;
use super::state::State;
use crate::common::wait::{Caller, MaybeReady};
use crate::error::Error;
use crate::flight::{Leader, Role, RunNumber, Turn, is_inside_a_run, next_run};
use crate::freshness::{Found, Freshness};
use crate::key::Key;
use crate::remote::{Lead, NESTED, Query};
use crate::value::{MakeFormat, Shared};

/// `action` that returns `reserve` if it runs the body and that fails.
fn with_reserve(mut action: Action, reserve: Option<Found>) -> Action {
    if let Action::Run(run) = &mut action {
        run.replaces |= reserve.is_some();
        run.reserve = reserve.map(Box::new);
    }
    action
}

impl State {
    /// A call that begins now.
    pub(crate) fn call<'k>(
        &self,
        key: &'k Result<Key, Error>,
        format: MakeFormat,
        caller: Caller,
    ) -> Call<'k> {
        Call { key, format, caller, completed: Some(self.flights.completed()) }
    }

    /// The run of a call that missed in memory and leads at once. `None` if there is anything to decide: an entry to serve or
    /// renew, a run to wait for, or a failure to report.
    #[inline]
    pub(crate) fn lead_at_once(&self, key: &Result<Key, Error>) -> Option<Run> {
        let Ok(key) = key else { return None };
        if self.decides_hits {
            return None;
        }
        let ticket = self.place.memory_ticket()?;
        let leader = match self.spec.single_flight {
            SingleFlight::Off => self.flights.lead_apart(key.bytes()),
            _ => self.flights.lead(key.bytes())?,
        };
        // Looked for again: a run that has ended meanwhile may have stored it.
        if self.place.holds(key) {
            return None;
        }
        self.counters.misses.one();
        Some(Run::new(Some(leader), Some((key.clone(), ticket)), false))
    }

    /// How a call goes on after its look-up. If the look-up found a fresh entry, that entry doesn't unpack.
    #[inline(never)]
    pub(crate) fn decide<'s>(&'s self, call: Call<'s>, lookup: Lookup) -> MaybeReady<'s, Action> {
        let ticket = lookup.ticket;
        match (lookup.found.filter(|found| found.freshness != Freshness::Fresh), call.query()) {
            (Some(found), Ok(query)) if found.freshness == Freshness::Reserve => {
                MaybeReady::of(self.run_or_fall_back(call, query, found, ticket), call.caller)
            }
            (Some(found), Ok(query)) => {
                let answer = Answer { found, ticket };
                MaybeReady::of(self.answer_or_renew(call, query, answer), call.caller)
            }
            _ => MaybeReady::of(self.join_run(call, ticket, 0), call.caller),
        }
    }

    /// How a call goes on that found a value to fall back on: it runs the body, unless that has failed recently.
    async fn run_or_fall_back(
        &self,
        call: Call<'_>,
        query: Query<'_>,
        found: Found,
        ticket: Ticket,
    ) -> Action {
        if self.pauses.holds(query.key.bytes(), self.clock.monotonic()) {
            let found = Found { freshness: Freshness::Stale, ..found };
            return Answer { found, ticket }.into();
        }
        with_reserve(self.join_run(call, ticket, 0).await, Some(found))
    }

    /// How a call goes on whose answer doesn't unpack.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "it is unboxed here once, and not in every caller")]
    pub(crate) fn decide_again<'s>(&'s self, call: Call<'s>, answer: Box<Answer>) -> MaybeReady<'s, Action> {
        MaybeReady::of(self.join_run(call, answer.ticket, 0), call.caller)
    }

    /// How a call goes on that runs the body whatever the cache holds.
    #[inline(never)]
    pub(crate) fn decide_to_run<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        format: MakeFormat,
        caller: Caller,
    ) -> MaybeReady<'s, Action> {
        let call = Call { key, format, caller, completed: None };
        let since = next_run();
        let join = async move {
            let (ticket, reserve) = self.ticket(call).await;
            with_reserve(self.join_run(call, ticket, since).await, reserve)
        };
        MaybeReady::of(join, caller)
    }

    /// The right to store the result of a run that begins whatever the cache holds, and what to return if it fails.
    async fn ticket(&self, call: Call<'_>) -> (Ticket, Option<Found>) {
        if self.is_disabled {
            return (Ticket::None, None);
        }
        let ticket = match call.query() {
            Ok(query) if self.policy.keeps_reserves() => {
                let lookup = self.place.get(query, None).await;
                self.count_failures(&lookup);
                let reserve = lookup.found.map(|found| Found { freshness: Freshness::Reserve, ..found });
                return (lookup.ticket, reserve);
            }
            Ok(query) => self.place.ticket(query).await,
            Err(error) => Err(error.clone()),
        };
        let ticket = match ticket {
            Ok(ticket) => {
                ticket.failure().into_iter().for_each(|error| self.failed(error));
                ticket
            }
            Err(error) => {
                self.failed(&error);
                Ticket::None
            }
        };
        (ticket, None)
    }

    /// Joins the run of the call's key, and waits for it if another call leads. The call takes no result of a run that
    /// began before `since`.
    ///
    /// If runs have ended since the call began, a call that comes to lead looks again: the value it missed may be there.
    async fn join_run(&self, call: Call<'_>, mut ticket: Ticket, since: RunNumber) -> Action {
        let Ok(query) = call.query() else { return Run::alone().into() };
        if self.is_disabled || self.place.is_broken() {
            return Run::alone().into();
        }
        let refreshes = call.completed.is_none();
        let role =
            (self.spec.single_flight != SingleFlight::Off).then(|| self.join(query.key, &ticket, since));
        // Counted after the call has joined: whoever sees the miss knows that the call leads or waits.
        if !refreshes {
            self.counters.misses.one();
        }
        let until = self.waits_until();
        let leader = match role {
            None => self.flights.lead_apart(query.key.bytes()),
            Some(mut role) => loop {
                match role.turn(until).await {
                    Turn::Lead(leader) => break leader,
                    Turn::Alone => return Run::alone().into(),
                    Turn::Shared(Shared::Value(packed)) => return Answer::shared(packed, ticket).into(),
                    Turn::Shared(shared) => return Action::Share(shared),
                    // What a run elsewhere has stored may be older than this call.
                    Turn::Again => {}
                    Turn::InStore if refreshes => {}
                    Turn::InStore => match self.get_again(query, ticket).await {
                        Ok(answer) => return answer.into(),
                        Err(newer) => ticket = newer,
                    },
                }
                role = self.join(query.key, &ticket, since);
            },
        };
        let polls = Some(leader.polls());
        let has_news = || call.completed.is_some_and(|completed| completed != self.flights.completed());
        if !refreshes && (ticket.is_old() || has_news()) {
            match driven(polls.clone(), self.get_again(query, ticket)).await {
                Ok(answer) => return answer.into(),
                Err(newer) => ticket = newer,
            }
        }
        let lead = match refreshes {
            true => driven(polls, self.place.take_over(query, &mut ticket, until)).await,
            false => driven(polls, self.place.lead(query, &mut ticket, until)).await,
        };
        let lead = lead.unwrap_or_else(|error| {
            // Without the server, an invalidation elsewhere can't be noticed, so nothing may be stored there.
            self.failed(&error);
            ticket.fail(error);
            Lead::InProcess
        });
        match lead {
            Lead::Run | Lead::InProcess => self.run(leader, query.key, ticket, refreshes).into(),
            Lead::Answer(found) => {
                leader.complete_in_store();
                Answer::stored_by_run(found, ticket).into()
            }
            Lead::Alone => {
                leader.complete(None);
                Run::alone().into()
            }
            Lead::Leave => Run::alone().into(),
        }
    }

    /// A run of `key` that stores its result if `ticket` allows it.
    fn run(&self, leader: Leader, key: &Key, mut ticket: Ticket, replaces: bool) -> Run {
        self.place.begin(&self.flights, &leader, key, &mut ticket);
        let target = ticket.stores().then(|| (key.clone(), ticket));
        Run::new(Some(leader), target, replaces)
    }

    /// Joins the run of `key`, or starts it. A run is not joined if another process has changed the key since it began.
    fn join(&self, key: &Key, ticket: &Ticket, since: RunNumber) -> Role {
        self.place.detach_outdated(&self.flights, key, ticket);
        let role = self.flights.join(key.bytes(), since);
        if matches!(role, Role::Wait(_)) {
            self.flights.watch();
        }
        role
    }

    /// Looks for the result of a run that has ended; gives the newer ticket if it is not there.
    async fn get_again(&self, query: Query<'_>, ticket: Ticket) -> Result<Answer, Ticket> {
        let lookup = self.place.get_again(query, &ticket).await;
        self.count_failures(&lookup);
        match lookup.found {
            Some(found) if found.freshness != Freshness::Reserve => {
                Ok(Answer::stored_by_run(found, lookup.ticket))
            }
            _ => Err(lookup.ticket),
        }
    }

    /// How long a call waits for another's run, here or elsewhere.
    fn waits_until(&self) -> Option<Instant> {
        let option = self.spec.wait.map(|wait| wait());
        let is_nested = self.place.has_leases() && is_inside_a_run();
        let longest = option.into_iter().chain(is_nested.then_some(NESTED)).min()?;
        Instant::now().checked_add(longest)
    }

    /// How a call goes on that found an entry which is due for renewal.
    async fn answer_or_renew(&self, call: Call<'_>, query: Query<'_>, answer: Answer) -> Action {
        match self.lead_renewal(call, query, &answer.ticket).await {
            Some(run) => Action::Renew(Box::new(answer), Box::new(run)),
            None => answer.into(),
        }
    }

    /// The run that renews an entry, if it is for this call: nobody else renews it, and no attempt has failed recently.
    async fn lead_renewal(&self, call: Call<'_>, query: Query<'_>, ticket: &Ticket) -> Option<Run> {
        let key = query.key;
        if self.pauses.holds(key.bytes(), self.clock.monotonic()) {
            return None;
        }
        let leader = self.flights.lead(key.bytes())?;
        // A run that has ended since the look-up may have renewed it.
        if call.completed.is_some_and(|completed| completed != self.flights.completed()) {
            return None;
        }
        let mut ticket = ticket.clone();
        let is_elected = self.place.lead_renewal(query, &mut ticket).await;
        if !is_elected.inspect_err(|error| self.failed(error)).unwrap_or(false) {
            return None;
        }
        Some(self.run(leader, key, ticket, true))
    }

    /// Ends a renewal that failed: the old value is served on, and the next attempt has to wait. Waiters take `old`.
    pub(crate) fn renewal_failed(&self, run: Run, old: Option<&Found>, caller: Caller) {
        if let Some((key, _)) = &run.target {
            self.pauses.start(key.bytes(), self.clock.monotonic(), self.policy.pause());
        }
        let shared = old.map(|old| Shared::Value(old.packed.clone()));
        self.finish_without_result(run, shared, false, caller);
    }
}
