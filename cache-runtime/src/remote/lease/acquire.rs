//! Coming to lead a run in the whole cluster: reading, waiting and claiming.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::holder::{Carrier, Lease, LeaseKey};
use super::{Lead, Mark, Step, Watch};
use crate::common::sync::lock;
use crate::common::wait::{self, Caller};
use crate::error::{Error, ErrorKind};
use crate::freshness::Found;
use crate::remote::envelope::{Header, Token};
use crate::remote::ticket::Ticket;
use crate::remote::{Query, Remote};

/// The most keys whose renewal elsewhere is watched. Beyond it, watching starts anew.
const MAX_WATCHED: usize = 1024;

/// What one function knows of leases on its server.
#[derive(Default)]
pub(in crate::remote) struct Leases {
    /// Whether the backend has what leases need, once it has been asked.
    are_possible: OnceLock<bool>,
    /// By key, the renewals that other processes make. Calls see them in passing.
    renewals: Mutex<HashMap<String, Watch>>,
}

/// What lies under a key.
struct Under {
    bytes: Option<Bytes>,
    /// The entry, if it may be served, with its payload.
    entry: Option<(Header, Bytes, Found)>,
    /// The mark of a lease in this generation.
    mark: Option<Mark>,
}

impl Remote {
    /// Comes to lead the run of a key in the whole cluster, or waits until `until` for the process that does.
    ///
    /// What was there when the call looked is no answer, because the call missed. If the run `replaces` an entry, others are
    /// served that meanwhile. Waiting takes nothing from the call's budget: each look has a whole one.
    pub(in crate::remote) async fn acquire(
        &self,
        query: Query<'_>,
        ticket: &mut Ticket,
        replaces: bool,
        until: Option<Instant>,
    ) -> Result<Lead, Error> {
        let Some(key) = self.lease_key(query, ticket).await? else { return Ok(Lead::InProcess) };
        let caller = query.caller;
        let seen = ticket.seen.take().and_then(|seen| seen.bytes);
        let mut under = self.under(&key, ticket, seen);
        let (before, mut watch) = (under.bytes.clone(), Watch::new(Instant::now(), until));
        loop {
            // An entry with a pending invalidation is neither an answer nor a lease.
            if self.invalidations.has(key.text.as_bytes()) {
                return Ok(Lead::InProcess);
            }
            let is_newer = under.bytes != before && !(replaces && under.mark.is_some());
            let carried = match under.entry {
                Some((_, _, found)) if is_newer => return Ok(Lead::Answer(found)),
                entry => entry.filter(|_| replaces),
            };
            let step = match watch.step(under.mark, Instant::now()) {
                Step::Claim { ended } => {
                    if self.claim(&key, ticket, under.bytes.as_ref(), carried, ended, caller).await? {
                        return Ok(Lead::Run);
                    }
                    watch.claim_lost(Instant::now())
                }
                step => step,
            };
            match step {
                Step::Wait(pause) => wait::pause(pause, caller).await,
                Step::Alone => return Ok(Lead::Alone),
                Step::Leave | Step::Claim { .. } => return Ok(Lead::Leave),
            }
            under = self.read_under(&key, ticket, caller).await?;
        }
    }

    /// Comes to renew the entry that the call has found, unless another process does.
    pub(in crate::remote) async fn acquire_renewal(
        &self,
        query: Query<'_>,
        ticket: &mut Ticket,
    ) -> Result<bool, Error> {
        let Some(key) = self.lease_key(query, ticket).await? else { return Ok(true) };
        let seen = ticket.seen.take().and_then(|seen| seen.bytes);
        let under = self.under(&key, ticket, seen);
        let ended = {
            let (mut renewals, now) = (lock(&self.leases.renewals), Instant::now());
            if renewals.len() >= MAX_WATCHED {
                renewals.clear();
            }
            let watch = renewals.entry(key.text.clone()).or_insert_with(|| Watch::new(now, None));
            match watch.step(under.mark, now) {
                Step::Wait(_) | Step::Leave => return Ok(false),
                Step::Claim { ended } => ended,
                Step::Alone => Token::default(),
            }
        };
        let is_claimed =
            self.claim(&key, ticket, under.bytes.as_ref(), under.entry, ended, query.caller).await?;
        lock(&self.leases.renewals).remove(&key.text);
        Ok(is_claimed)
    }

    /// Where the lease of a key lies; `None` if the backend can't do leases, or the look-up did not read the key.
    async fn lease_key(&self, query: Query<'_>, ticket: &Ticket) -> Result<Option<LeaseKey>, Error> {
        let form = self.form(query.format)?;
        let key = LeaseKey {
            connected: self.connected.clone(),
            text: query.key.text(&form.head),
            shape: form.shape,
            codec: form.codec,
            clock: self.clock.clone(),
        };
        let are_possible = match self.leases.are_possible.get() {
            _ if ticket.seen.is_none() => false,
            Some(known) => *known,
            None => match Lease::check_possible(&key, query.caller).await {
                Ok(()) => *self.leases.are_possible.get_or_init(|| true),
                Err(error) if matches!(error.kind(), ErrorKind::Config | ErrorKind::Denied) => {
                    log::warn!("{}: one run per process, not per cluster: {error:?}", self.namespace);
                    *self.leases.are_possible.get_or_init(|| false)
                }
                Err(error) => return Err(error),
            },
        };
        Ok(are_possible.then_some(key))
    }

    /// Puts a mark over what is `under` the key: on the entry that is `carried`, or on a hollow one.
    async fn claim(
        &self,
        key: &LeaseKey,
        ticket: &mut Ticket,
        under: Option<&Bytes>,
        carried: Option<(Header, Bytes, Found)>,
        ended: Token,
        caller: Caller,
    ) -> Result<bool, Error> {
        let carrier = match carried {
            Some((header, payload, _)) => {
                Carrier::entry(header, payload, Duration::from_nanos(self.policy.stale_window()))
            }
            None => Carrier::hollow(ticket.token.clone()?, &key.clock),
        };
        let started = Instant::now();
        let lease = Lease::claim(key.clone(), under, carrier, ended, caller).await?;
        ticket.left = ticket.left.saturating_sub(started.elapsed());
        ticket.lease = lease.map(|lease| Arc::new(lease) as _);
        Ok(ticket.lease.is_some())
    }

    /// What lies under the key now. Updates the generation of the ticket.
    async fn read_under(&self, key: &LeaseKey, ticket: &mut Ticket, caller: Caller) -> Result<Under, Error> {
        let (deadline, asked) = (Instant::now() + self.facts.budget, self.generation().ask());
        let (bytes, token) = self.read_both(key.text.as_bytes(), asked, caller, deadline).await?;
        // A clear by this process that the server doesn't know of yet takes precedence.
        ticket.token = Ok(self.generation().pending().unwrap_or(token));
        Ok(self.under(key, ticket, bytes))
    }

    fn under(&self, key: &LeaseKey, ticket: &Ticket, bytes: Option<Bytes>) -> Under {
        let (mut entry, mut mark) = (None, None);
        if let Some((header, payload)) = ticket.open(&key.binding(), bytes.as_ref()) {
            mark = Mark::of(&header);
            let found = self.found(&header, payload.clone());
            entry = found.map(|found| (header, payload, found));
        }
        Under { bytes, entry, mark }
    }
}
