//! Who runs the body: what a call that missed is to do, who renews, and how runs end.
//!
//! A part of [`State`]. How runs of one key meet in this process is decided by [`flight`](crate::flight), and among
//! processes by [`lease`]; here they are put together with what is stored.

use std::time::{Duration, Instant};

use super::spec::SingleFlight;
use super::state::{Place, State};
use crate::common::wait::Io;
use crate::error::Error;
use crate::flight::{Leader, Role, is_inside_a_run};
use crate::function::call::{Arrived, Found, Looked, Run, Source, Ticket, Turn, Write, arrive};
use crate::key::Key;
use crate::remote::lease;
use crate::remote::{Lead, Opened};
use crate::value::{MakeFormat, Packed};

impl State {
    /// How many runs have ended: see [`Flights::landed`].
    pub(crate) fn landed(&self) -> u64 {
        self.flights.landed()
    }

    /// What a call is to do that has found an entry which is due to be renewed.
    pub(crate) async fn answer_or_renew(&self, key: &Key, found: Found, landed: u64, io: Io) -> Turn {
        match self.lead_renewal(key, &found.ticket, landed, io).await {
            Some(run) => Turn::Renew(Box::new(found), Box::new(run)),
            None => found.into(),
        }
    }

    /// What a call that missed is to do; waits for the run that is under way.
    ///
    /// If runs have ended since `landed`, a call that comes to lead looks again: what it missed may be there.
    pub(crate) async fn find_turn(
        &self,
        key: &Result<Key, Error>,
        ticket: Ticket,
        landed: Option<u64>,
        format: MakeFormat,
        io: Io,
    ) -> Turn {
        let Ok(key) = key else { return Run::alone().into() };
        if self.disabled || matches!(self.place, Place::Broken(_)) {
            return Run::alone().into();
        }
        let role = (self.spec.single_flight != SingleFlight::Off).then(|| self.join(key, &ticket));
        // Counted when the call has joined: who sees the miss knows that it leads or waits.
        if landed.is_some() {
            self.counters.misses.one();
        }
        let Some(mut role) = role else {
            let target = ticket.stores().then(|| (key.clone(), ticket));
            return Run { target, ..Run::alone() }.into();
        };
        let (until, mut ticket) = (self.waits_until(), ticket);
        let leader = loop {
            match arrive(role, until).await {
                Arrived::Lead(leader) => break leader,
                Arrived::Alone => return Run::alone().into(),
                Arrived::Shared(packed) => return Found::shared(packed, ticket).into(),
                Arrived::Elsewhere => {
                    ticket = match self.look_again(key, &ticket, format, io).await {
                        Looked::Found(found) => return Found { source: Source::Run, ..found }.into(),
                        Looked::Miss(newer) => newer,
                    }
                }
            }
            role = self.join(key, &ticket);
        };
        if landed.is_some_and(|landed| landed != self.landed()) {
            match self.look_again(key, &ticket, format, io).await {
                Looked::Found(found) => return Found { source: Source::Run, ..found }.into(),
                Looked::Miss(newer) => ticket = newer,
            }
        }
        let replaces = landed.is_none();
        if self.spec.single_flight == SingleFlight::Cluster {
            return self.turn_in_cluster(leader, key, ticket, replaces, until, io).await;
        }
        let target = ticket.stores().then(|| (key.clone(), ticket));
        Run { leader: Some(leader), target, replaces }.into()
    }

    /// Joins the run of `key`, or starts it. One that began before the call looked, and had lost its key by then, was
    /// invalidated in another process.
    fn join(&self, key: &Key, ticket: &Ticket) -> Role {
        if let (SingleFlight::Cluster, Place::Remote(remote), Ticket::Remote(ticket)) =
            (self.spec.single_flight, &self.place, ticket)
        {
            self.flights.retire(key.bytes(), |began| remote.outdates(key, ticket, began));
        }
        self.flights.join(key.bytes())
    }

    /// Looks within what is left of the call's time.
    async fn look_again(&self, key: &Key, ticket: &Ticket, format: MakeFormat, io: Io) -> Looked {
        match (&self.place, ticket) {
            (Place::Typed(store), _) => self.look_typed(store, key),
            (Place::Remote(remote), Ticket::Remote(ticket)) => {
                self.looked(remote.look(key, format, ticket.left(), &self.clock, io).await)
            }
            _ => Looked::Miss(Ticket::Nothing),
        }
    }

    /// Until when a call waits for another's run, here or elsewhere.
    fn waits_until(&self) -> Option<Instant> {
        let asked = self.spec.wait.map(|wait| wait());
        let is_nested = self.spec.single_flight == SingleFlight::Cluster && is_inside_a_run();
        let longest = asked.into_iter().chain(is_nested.then_some(lease::NESTED)).min()?;
        Instant::now().checked_add(longest)
    }

    /// What a call that leads in its process is to do; waits for the run that is under way elsewhere.
    async fn turn_in_cluster(
        &self,
        leader: Leader,
        key: &Key,
        mut ticket: Ticket,
        replaces: bool,
        until: Option<Instant>,
        io: Io,
    ) -> Turn {
        let lead = match (&self.place, &mut ticket) {
            (Place::Remote(remote), Ticket::Remote(ticket)) => {
                remote.lead(key, ticket, replaces, until, &self.clock, io).await.unwrap_or_else(|error| {
                    // Without the server nobody knows of an invalidation elsewhere: nothing is to be stored there.
                    self.failed(&error);
                    ticket.fail(error);
                    Lead::InProcess
                })
            }
            _ => Lead::InProcess,
        };
        if let Ticket::Remote(ticket) = &ticket {
            ticket.begin(&leader);
        }
        match lead {
            Lead::Run | Lead::InProcess => {
                let target = ticket.stores().then(|| (key.clone(), ticket));
                Run { leader: Some(leader), target, replaces }.into()
            }
            Lead::Answer(Opened { payload, cost, verdict, .. }) => {
                leader.land_elsewhere();
                let packed = Packed::Encoded(payload);
                Found { packed, cost, ticket, source: Source::Run, verdict }.into()
            }
            Lead::Alone => {
                leader.land(None);
                Run::alone().into()
            }
            Lead::Leave => Run::alone().into(),
        }
    }

    /// The run that renews an entry, if that is for this call to do: nobody else does, and no attempt failed lately.
    async fn lead_renewal(&self, key: &Key, ticket: &Ticket, landed: u64, io: Io) -> Option<Run> {
        if self.pauses.holds(key.bytes(), self.clock.monotonic()) {
            return None;
        }
        let leader = self.flights.lead(key.bytes())?;
        // A run that ended since the look-up may have renewed it.
        if landed != self.landed() {
            return None;
        }
        let mut ticket = ticket.clone();
        if let (SingleFlight::Cluster, Place::Remote(remote), Ticket::Remote(ticket)) =
            (self.spec.single_flight, &self.place, &mut ticket)
        {
            let is_elected = remote.lead_renewal(key, ticket, &self.clock, io).await;
            if !is_elected.inspect_err(|error| self.failed(error)).unwrap_or(false) {
                return None;
            }
            ticket.begin(&leader);
        }
        let target = ticket.stores().then(|| (key.clone(), ticket));
        Some(Run { leader: Some(leader), target, replaces: true })
    }

    /// Ends a renewal that gave no value: the old one goes on, and the next attempt has to wait.
    pub(crate) fn failed_to_renew(&self, run: Box<Run>) {
        if let Some((key, _)) = &run.target {
            self.pauses.start(key.bytes(), self.clock.monotonic(), self.judge.pause());
        }
        run.end_without_result();
    }

    /// Keeps the run of `key` from storing its result. What it stores already is stored when this is done, or will be
    /// removed when it is.
    pub(super) async fn detach(&self, key: &Key) {
        if let Some(storing) = self.flights.detach(key.bytes()) {
            let patience = match &self.place {
                Place::Remote(remote) => Some(remote.budget()),
                // Who stores in memory waits for nothing.
                _ => None,
            };
            storing.done(patience).await;
        }
    }

    /// Ends a run: stores its result, and hands it to all who waited. A store that fails is counted, never
    /// returned: the caller has its result.
    pub(crate) async fn store_result(
        &self,
        run: Box<Run>,
        result: Option<(Packed, Option<Duration>)>,
        cost: Duration,
        io: Io,
    ) {
        let run = *run;
        let shared = result.as_ref().map(|(packed, _)| packed.clone());
        let may_store = run.leader.as_ref().is_none_or(Leader::may_store);
        if let (true, None, Some((_, Ticket::Remote(ticket)))) = (may_store, &result, &run.target) {
            ticket.end_empty();
        }
        if let (true, Some((key, ticket))) = (may_store, run.target) {
            self.pauses.end(key.bytes());
            match result {
                Some((packed, life)) => {
                    // What has failed before is counted.
                    let is_counted = matches!(&ticket, Ticket::Remote(ticket) if ticket.failure().is_some());
                    let (replaces, leader) = (run.replaces, run.leader.as_ref());
                    let write = Write { key, ticket, packed, life, cost, replaces, leader };
                    let result = self.store(write, io).await;
                    if !is_counted {
                        self.stored(result);
                    }
                }
                None if run.replaces => self.supersede(&key, &ticket),
                None => {}
            }
        }
        if let Some(leader) = run.leader {
            leader.land(shared);
        }
    }

    /// Ends a run whose result is not to be stored. What it is newer than must not be served any more.
    pub(crate) fn finish_without_result(&self, run: Box<Run>) {
        let may_store = run.leader.as_ref().is_none_or(Leader::may_store);
        if let (true, true, Some((key, ticket))) = (may_store, run.replaces, &run.target) {
            self.pauses.end(key.bytes());
            self.supersede(key, ticket);
        }
        run.end_without_result();
    }

    fn supersede(&self, key: &Key, ticket: &Ticket) {
        match (&self.place, ticket) {
            (Place::Typed(store), _) => drop(store.delete(key.words(), self.clock.monotonic())),
            (Place::Remote(remote), Ticket::Remote(ticket)) => remote.supersede(key, ticket),
            _ => {}
        }
    }
}
