//! Coming to lead a run in the whole cluster: reading, waiting and claiming.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::claim::{Carrier, Claim, ClaimKey};
use super::{Lead, Mark, NOBODY, Pace, RELEASED, Step, Watch};
use crate::backend::{SetOptions, Versioned};
use crate::common::sync::lock;
use crate::common::wait::{self, Caller};
use crate::error::{Error, ErrorKind};
use crate::freshness::{Found, Freshness};
use crate::remote::envelope::{Header, Token};
use crate::remote::generation::random_token;
use crate::remote::ticket::{Right, Seen, Ticket};
use crate::remote::{Query, Remote};

/// The most keys whose renewal elsewhere is watched. Beyond it, watching starts anew.
const MAX_WATCHED: usize = 1024;

/// What one function knows of leases on its server.
#[derive(Default)]
pub(in crate::remote) struct Leases {
    /// Whether the backend can replace what it holds, once that is known for good.
    are_possible: OnceLock<bool>,
    /// By key, the renewals that other processes make. Calls see them in passing.
    renewals: Mutex<HashMap<Vec<u8>, Watch>>,
}

/// What a look-up read under a key.
struct Look {
    seen: Seen,
    /// An invalidation was pending: an entry is neither an answer nor a lease.
    is_pending: bool,
    /// The entry, if it may be served, with its payload.
    entry: Option<(Header, Bytes, Found)>,
    /// The mark of a lease in this generation.
    mark: Option<Mark>,
}

impl Look {
    /// The entry, unless it is only there to fall back on.
    fn take_answer(&mut self) -> Option<Found> {
        self.entry.take_if(|(_, _, found)| found.freshness != Freshness::Reserve).map(|(_, _, found)| found)
    }
}

impl Remote {
    /// Comes to lead the run of a key in the whole cluster, or waits until `until` for the process that does.
    ///
    /// What was there when the call looked is no answer, because the call missed. Waiting takes nothing from the call's
    /// budget: each look has a whole one.
    pub(in crate::remote) async fn acquire(
        &self,
        query: Query<'_>,
        ticket: &mut Ticket,
        until: Option<Instant>,
    ) -> Result<Lead, Error> {
        let Some((key, mut look)) = self.first_look(query, ticket).await? else { return Ok(Lead::InProcess) };
        let (before, mut watch) = (look.seen.under.clone(), Watch::new(Instant::now(), until));
        loop {
            if look.is_pending {
                ticket.right = Right::Seen(look.seen);
                return Ok(Lead::InProcess);
            }
            if look.seen.under != before
                && let Some(found) = look.take_answer()
            {
                return Ok(Lead::Answer(found));
            }
            let step = match watch.step(look.mark, Instant::now()) {
                Step::Claim { ended } => {
                    // Only a value to fall back on stays there under the mark.
                    look.entry = look.entry.filter(|(_, _, found)| found.freshness == Freshness::Reserve);
                    if self.claim(&key, ticket, look, ended, query.caller).await? {
                        return Ok(Lead::Run);
                    }
                    watch.claim_lost(Instant::now())
                }
                step => step,
            };
            match step {
                Step::Wait(pause) => wait::pause(pause, query.caller).await,
                Step::Alone => return Ok(Lead::Alone),
                Step::Leave | Step::Claim { .. } => return Ok(Lead::Leave),
            }
            look = self.look_again(&key, ticket, query.caller).await?;
        }
    }

    /// Takes the key for a run that replaces whatever is there: from now on, no run that began earlier can store its
    /// result. An entry that is there is served to others meanwhile.
    ///
    /// With leases, processes that do so at the same time share a run. What another process is computing when the call
    /// looks for the first time may be too old, and is awaited; what it begins later is an answer.
    pub(in crate::remote) async fn take_over(
        &self,
        query: Query<'_>,
        ticket: &mut Ticket,
        until: Option<Instant>,
    ) -> Result<Lead, Error> {
        let Some((key, mut look)) = self.first_look(query, ticket).await? else { return Ok(Lead::InProcess) };
        let holder = |look: &Look| look.mark.map(|mark| mark.holder).filter(|holder| *holder != NOBODY);
        let (first, mut later) = (holder(&look), None);
        let mut watch = Watch::new(Instant::now(), until);
        loop {
            let current = holder(&look);
            if current.is_some() && current != first {
                later = current;
            }
            if current.is_none()
                && later.is_some()
                && let Some(found) = look.take_answer()
            {
                return Ok(Lead::Answer(found));
            }
            let step = match watch.step(look.mark, Instant::now()) {
                Step::Wait(pause) if self.facts.has_leases => Step::Wait(pause),
                _ if self.claim(&key, ticket, look, NOBODY, query.caller).await? => return Ok(Lead::Run),
                _ => watch.claim_lost(Instant::now()),
            };
            let Step::Wait(pause) = step else {
                return Err(Error::new(ErrorKind::Server, "other processes change the key all the time"));
            };
            wait::pause(pause, query.caller).await;
            look = self.look_again(&key, ticket, query.caller).await?;
        }
    }

    /// Comes to renew the entry that the call has found, unless another process does.
    pub(in crate::remote) async fn acquire_renewal(
        &self,
        query: Query<'_>,
        ticket: &mut Ticket,
    ) -> Result<bool, Error> {
        let Some((key, look)) = self.first_look(query, ticket).await? else { return Ok(true) };
        let ended = {
            let (mut renewals, now) = (lock(&self.leases.renewals), Instant::now());
            if renewals.len() >= MAX_WATCHED {
                renewals.clear();
            }
            let watch = renewals.entry(key.text.to_vec()).or_insert_with(|| Watch::new(now, None));
            match watch.step(look.mark, now) {
                Step::Wait(_) | Step::Leave => return Ok(false),
                Step::Claim { ended } => ended,
                Step::Alone => NOBODY,
            }
        };
        let is_claimed = self.claim(&key, ticket, look, ended, query.caller).await?;
        lock(&self.leases.renewals).remove(&*key.text);
        Ok(is_claimed)
    }

    /// Puts a mark over what the look found: on the entry that is served, or on a hollow one.
    async fn claim(
        &self,
        key: &ClaimKey,
        ticket: &mut Ticket,
        look: Look,
        ended: Token,
        caller: Caller,
    ) -> Result<bool, Error> {
        let token = ticket.token.clone()?;
        let carrier = match look.entry {
            Some((header, payload, _)) => {
                Carrier::entry(header, payload, Duration::from_nanos(self.policy.stale_window()))
            }
            None => Carrier::hollow(token, &key.clock),
        };
        let pace = if self.facts.has_leases { Pace::LEASE } else { Pace::UNWATCHED };
        let started = Instant::now();
        let stays = self.group(&key.text).has(&key.text);
        let claim = Claim::new(key.clone(), look.seen, token, stays);
        let is_marked = claim.mark(carrier, ended, pace, caller).await?;
        ticket.left = ticket.left.saturating_sub(started.elapsed());
        if is_marked {
            ticket.right = Right::Claim(Arc::new(claim));
        }
        Ok(is_marked)
    }

    /// Whether the backend can replace what it holds.
    async fn can_replace(&self, caller: Caller) -> Result<bool, Error> {
        if let Some(known) = self.leases.are_possible.get() {
            return Ok(*known);
        }
        match self.check_compare_and_set(caller).await {
            Ok(()) => Ok(*self.leases.are_possible.get_or_init(|| true)),
            // The backend asks the server again from time to time, and has told.
            Err(error) if error.refusal().is_some() && error.kind() == ErrorKind::Denied => Ok(false),
            Err(error) if error.kind() == ErrorKind::Denied => {
                log::warn!("{}: runs are not shared between processes: {error:?}", self.namespace);
                Ok(*self.leases.are_possible.get_or_init(|| false))
            }
            Err(error) => Err(error),
        }
    }

    /// Fails if the backend can't replace what it holds. Asks for a replacement whose condition never holds.
    pub(in crate::remote) async fn check_compare_and_set(&self, caller: Caller) -> Result<(), Error> {
        let unknown = Versioned::from(Bytes::copy_from_slice(&random_token()));
        let (key, deadline) = (self.groups[0].generation_key.as_bytes(), Instant::now() + self.facts.budget);
        let (value, condition) = (unknown.bytes.clone(), unknown.is_unchanged());
        self.connected
            .set(key, value, SetOptions::new().ttl(RELEASED), condition, deadline, caller)
            .await
            .map(drop)
    }

    /// What the look-up of `ticket` read; `None` if it read nothing, or if the backend can't replace what it holds.
    async fn first_look(
        &self,
        query: Query<'_>,
        ticket: &mut Ticket,
    ) -> Result<Option<(ClaimKey, Look)>, Error> {
        let key = self.claim_key(query.key, ticket)?;
        let Some(seen) = ticket.take_seen() else { return Ok(None) };
        if !self.can_replace(query.caller).await? {
            ticket.right = Right::Seen(seen);
            return Ok(None);
        }
        let look = self.look(&key, ticket, seen, self.group(&key.text).has(&key.text));
        Ok(Some((key, look)))
    }

    /// Reads the key now, and updates the generation of the ticket.
    async fn look_again(&self, key: &ClaimKey, ticket: &mut Ticket, caller: Caller) -> Result<Look, Error> {
        let group = self.group(&key.text);
        let (at, asked) = (Instant::now(), group.generation.ask());
        let was_pending = group.has(&key.text);
        let (under, token) = self.read_both(&key.text, asked, caller, at + self.facts.budget).await?;
        // A clear by this process that the server doesn't know of yet takes precedence.
        ticket.token = Ok(group.generation.pending().unwrap_or(token));
        let is_pending = was_pending || group.has(&key.text);
        Ok(self.look(key, ticket, Seen { at, under }, is_pending))
    }

    fn look(&self, key: &ClaimKey, ticket: &Ticket, seen: Seen, is_pending: bool) -> Look {
        let (mut entry, mut mark) = (None, None);
        let bytes = seen.under.as_ref().map(|under| &under.bytes);
        if !is_pending && let Some((header, payload)) = ticket.open(&key.binding(), bytes) {
            mark = Mark::of(&header);
            let found = self.found(&header, payload.clone());
            entry = found.map(|found| (header, payload, found));
        }
        Look { seen, is_pending, entry, mark }
    }
}
