//! Coming to lead a run in the whole cluster: the side of [`lease`](crate::remote::lease) that reads and waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::common::clock::Clock;
use crate::common::wait::{self, Io};
use crate::config::context::lock;
use crate::error::{Error, ErrorKind};
use crate::flight::{Began, Leader};
use crate::key::Key;
use crate::remote::envelope::{self, Binding, Group as Token, Header};
use crate::remote::lease::{Carrier, Lease, Mark, Next, Place, Watch};
use crate::remote::{Opened, Remote, Ticket};

/// Keys whose renewal elsewhere is watched at once; beyond these, watching begins anew.
const WATCHED: usize = 1024;

/// What one function knows of leases on its server.
#[derive(Default)]
pub(in crate::remote) struct Leases {
    /// Whether the backend can do what leases need, once it has been asked.
    are_possible: OnceLock<bool>,
    /// By key, the renewals that others make: calls see them in passing.
    renewals: Mutex<HashMap<String, Watch>>,
}

/// What a call that leads in its process is to do in the cluster.
pub(crate) enum Lead {
    /// Run the body for all: the ticket has a lease.
    Run,
    /// Run the body for this process: there are no leases.
    InProcess,
    /// Take what a run elsewhere gave.
    Answer(Opened),
    /// Run the body, like all who waited: the run elsewhere gave nothing to share.
    Alone,
    /// Leave the lead to others who wait: it has taken long enough.
    Leave,
}

/// What lies under a key.
struct Under {
    bytes: Option<Bytes>,
    /// The entry, if it may be served.
    entry: Option<(Header, Opened)>,
    /// The mark of a lease in this generation.
    mark: Option<Mark>,
}

impl Ticket {
    /// Notes when the run of `leader` begins, if it has a lease.
    pub(crate) fn begin(&self, leader: &Leader) {
        if let Some(lease) = &self.lease {
            leader.begin_under(lease.holder());
        }
    }

    /// Whether a run that `began` had lost its lease when this call looked.
    pub(crate) fn outdates(&self, key: &Key, began: Began) -> bool {
        let Some(seen) = &self.seen else { return false };
        let opened = self.opened(&seen.form.binding(&key.text_bytes(&seen.form.head)), seen.bytes.as_ref());
        let mark = opened.and_then(|(header, _)| Mark::of(&header));
        began.at < seen.at && !mark.is_some_and(|mark| mark.is_of(began.lease))
    }

    /// The header and payload of `bytes`, if they are of the ticket's generation.
    fn opened(&self, binding: &Binding<'_>, bytes: Option<&Bytes>) -> Option<(Header, Bytes)> {
        let (header, payload) = envelope::open(binding, bytes?.clone()).ok()?;
        let is_current = header.groups.first() == self.token.as_ref().ok();
        is_current.then_some((header, payload))
    }
}

impl Remote {
    /// Comes to lead the run of `key` in the whole cluster, or waits for the one that does, until `until`.
    ///
    /// What was there when the call looked is no answer: it missed. If it `replaces` an entry, that is served by
    /// others meanwhile. Waiting takes nothing from the call's time for the server: each look has as much again.
    pub(crate) async fn lead(
        &self,
        key: &Key,
        ticket: &mut Ticket,
        replaces: bool,
        until: Option<Instant>,
        clock: &Clock,
        io: Io,
    ) -> Result<Lead, Error> {
        let Some(place) = self.place(key, ticket, clock, io).await? else { return Ok(Lead::InProcess) };
        let seen = ticket.seen.take().and_then(|seen| seen.bytes);
        let mut under = self.under(&place, ticket, seen);
        let (before, mut watch) = (under.bytes.clone(), Watch::new(Instant::now(), until));
        loop {
            // What is owed a removal is neither an answer nor a lease.
            if self.owed.has_removal(place.text.as_bytes()) {
                return Ok(Lead::InProcess);
            }
            let is_newer = under.bytes != before && !(replaces && under.mark.is_some());
            let carried = match under.entry {
                Some((_, opened)) if is_newer => return Ok(Lead::Answer(opened)),
                entry => entry.filter(|_| replaces),
            };
            let next = match watch.next(under.mark, Instant::now()) {
                Next::Claim { ended } => {
                    if self.claim(&place, ticket, under.bytes.as_ref(), carried, ended, io).await? {
                        return Ok(Lead::Run);
                    }
                    watch.lost(Instant::now())
                }
                next => next,
            };
            match next {
                Next::Wait(pause) => wait::pause(pause, io).await,
                Next::Alone => return Ok(Lead::Alone),
                Next::Leave | Next::Claim { .. } => return Ok(Lead::Leave),
            }
            under = self.read_under(&place, ticket, io).await?;
        }
    }

    /// Comes to renew the entry that the call has found, unless another process does.
    pub(crate) async fn lead_renewal(
        &self,
        key: &Key,
        ticket: &mut Ticket,
        clock: &Clock,
        io: Io,
    ) -> Result<bool, Error> {
        let Some(place) = self.place(key, ticket, clock, io).await? else { return Ok(true) };
        let seen = ticket.seen.take().and_then(|seen| seen.bytes);
        let under = self.under(&place, ticket, seen);
        let ended = {
            let (mut renewals, now) = (lock(&self.leases.renewals), Instant::now());
            if renewals.len() >= WATCHED {
                renewals.clear();
            }
            let watch = renewals.entry(place.text.clone()).or_insert_with(|| Watch::new(now, None));
            match watch.next(under.mark, now) {
                Next::Wait(_) | Next::Leave => return Ok(false),
                Next::Claim { ended } => ended,
                Next::Alone => Token::default(),
            }
        };
        let is_claimed = self.claim(&place, ticket, under.bytes.as_ref(), under.entry, ended, io).await?;
        lock(&self.leases.renewals).remove(&place.text);
        Ok(is_claimed)
    }

    /// Where leases of `key` are; `None` if there can't be any.
    async fn place(&self, key: &Key, ticket: &Ticket, clock: &Clock, io: Io) -> Result<Option<Place>, Error> {
        let form = self.form(ticket.format)?;
        let place = Place {
            connected: self.connected.clone(),
            text: key.text(&form.head),
            shape: form.shape,
            codec: form.codec,
            clock: clock.clone(),
        };
        let are_possible = match self.leases.are_possible.get() {
            _ if ticket.seen.is_none() => false,
            Some(known) => *known,
            None => match Lease::is_possible(&place, io).await {
                Ok(()) => *self.leases.are_possible.get_or_init(|| true),
                Err(error) if matches!(error.kind(), ErrorKind::Config | ErrorKind::Denied) => {
                    log::warn!("{}: one run per process, not per cluster: {error:?}", self.namespace);
                    *self.leases.are_possible.get_or_init(|| false)
                }
                Err(error) => return Err(error),
            },
        };
        Ok(are_possible.then_some(place))
    }

    /// Puts a mark over what is `under` the key, on an entry that is `carried` or on nothing.
    async fn claim(
        &self,
        place: &Place,
        ticket: &mut Ticket,
        under: Option<&Bytes>,
        carried: Option<(Header, Opened)>,
        ended: Token,
        io: Io,
    ) -> Result<bool, Error> {
        let carrier = match carried {
            Some((header, opened)) => {
                Carrier::entry(header, opened.payload, Duration::from_nanos(self.judge.grace()))
            }
            None => Carrier::hollow(ticket.token.clone()?, &place.clock),
        };
        let started = Instant::now();
        let lease = Lease::claim(place.clone(), under, carrier, ended, io).await?;
        ticket.left = ticket.left.saturating_sub(started.elapsed());
        ticket.lease = lease.map(|lease| Arc::new(lease) as _);
        Ok(ticket.lease.is_some())
    }

    /// What lies under the key now, and the generation for the ticket.
    async fn read_under(&self, place: &Place, ticket: &mut Ticket, io: Io) -> Result<Under, Error> {
        let (deadline, asked) = (Instant::now() + self.budget(), self.owed.generation.ask(&place.clock));
        let (bytes, token) = self.read_both(place.text.as_bytes(), asked, &place.clock, io, deadline).await?;
        // A clear of this process that the server doesn't know of yet counts for more.
        ticket.token = Ok(self.owed.generation.owed().unwrap_or(token));
        Ok(self.under(place, ticket, bytes))
    }

    fn under(&self, place: &Place, ticket: &Ticket, bytes: Option<Bytes>) -> Under {
        let (mut entry, mut mark) = (None, None);
        if let Some((header, payload)) = ticket.opened(&place.binding(), bytes.as_ref()) {
            mark = Mark::of(&header);
            let opened = self.judged(&header, payload, &place.clock);
            entry = opened.map(|opened| (header, opened));
        }
        Under { bytes, entry, mark }
    }
}
