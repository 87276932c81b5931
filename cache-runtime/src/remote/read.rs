//! Reading: an entry, the generation token, or both in one round trip.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::envelope::{self, Header, Token};
use super::form::Form;
use super::generation::Asked;
use super::lease::claim::Under;
use super::ticket::{Lookup, Right, Seen, Ticket};
use super::{Query, Remote};
use crate::common::random::dice;
use crate::common::wait::Caller;
use crate::error::Error;
use crate::freshness::{Found, Freshness, Source, is_from_future};
use crate::key::TextBytes;
use crate::value::Packed;

/// What was read under a key.
struct Read {
    entry: Result<Option<Found>, Error>,
    /// The generation, or why the server didn't tell it.
    token: Result<Token, Error>,
    seen: Option<Seen>,
}

impl Remote {
    /// Reads the entry of `query` within `budget`, together with the generation token when that is due. If the server
    /// doesn't answer, looks in the fallback store.
    pub(super) async fn read(&self, query: Query<'_>, budget: Duration) -> Result<Lookup, Error> {
        let (form, clears, mut text) = (self.form(query.format)?, self.clears(), TextBytes::new());
        query.key.append_text(&form.head, &mut text);
        if let Some(rejection) = self.connected.rejection(&text) {
            let ticket = Ticket::new(Err(rejection), clears, query.format, budget);
            return Ok(Lookup { entry: Ok(self.get_while_down(&text)), ticket });
        }
        let started = Instant::now();
        let Read { entry, token, seen } =
            self.read_entry(form, &text, started, started + budget, query.caller).await;
        let is_fresh = matches!(&entry, Ok(Some(found)) if found.freshness == Freshness::Fresh);
        // `into_vec` would copy byte by byte.
        let text = if is_fresh && token.is_ok() { None } else { Some(text.as_slice().into()) };
        let left = budget.saturating_sub(started.elapsed());
        let right = seen.map_or(Right::Nothing, Right::Seen);
        let ticket = Ticket { text, right, ..Ticket::new(token, clears, query.format, left) };
        Ok(Lookup { entry, ticket })
    }

    async fn read_entry(
        &self,
        form: &Form,
        text: &[u8],
        started: Instant,
        deadline: Instant,
        caller: Caller,
    ) -> Read {
        // An entry with a pending invalidation must not be served. It is delivered at any moment, so that one is looked for
        // before the read and after it.
        let group = self.group(text);
        let was_pending = group.has(text);
        let read = match group.generation.known() {
            Ok(token) => self.connected.get(text, deadline, caller).await.map(|bytes| (bytes, token)),
            // Boxed, like everything that few hits need: it would dominate the size of their futures.
            Err(asked) => Box::pin(self.read_both(text, asked, caller, deadline)).await,
        };
        match read {
            Ok((under, token)) => {
                let bytes = under.as_ref().map(|under| under.bytes.clone());
                let entry = match was_pending || group.has(text) {
                    true => Ok(self.get_while_down(text)),
                    false => self.open_answer(form, text, bytes, token),
                };
                Read { entry, token: Ok(token), seen: Some(Seen { at: started, under }) }
            }
            Err(error) => Read { entry: Ok(self.get_while_down(text)), token: Err(error), seen: None },
        }
    }

    /// The entry in the server's answer, or a result that the server has just refused to store.
    fn open_answer(
        &self,
        form: &Form,
        text: &[u8],
        bytes: Option<Bytes>,
        token: Token,
    ) -> Result<Option<Found>, Error> {
        self.fallback(text).server_answered();
        match bytes.map_or(Ok(None), |bytes| self.open_entry(form, text, bytes, token)) {
            Ok(Some(found)) => Ok(Some(found)),
            nothing => match self.fallback(text).get_after_miss(text, token) {
                Some(result) => Ok(Some(result.into())),
                None => nothing,
            },
        }
    }

    /// The entry in `bytes`, if it may be served now.
    #[inline]
    fn open_entry(
        &self,
        form: &Form,
        text: &[u8],
        bytes: Bytes,
        token: Token,
    ) -> Result<Option<Found>, Error> {
        let (header, payload) = envelope::open(&form.binding(text), bytes)?;
        let is_current = header.groups.first() == Some(&token);
        Ok(if is_current { self.found(&header, payload) } else { None })
    }

    /// An entry of the current generation, if it may be served.
    #[inline]
    pub(super) fn found(&self, header: &Header, payload: Bytes) -> Option<Found> {
        let cost = Duration::from_micros(header.cost_us.into());
        let freshness = self.freshness(header, cost);
        let is_served = freshness != Freshness::Expired && !header.is_hollow();
        let packed = Packed::Encoded(payload);
        is_served.then_some(Found { packed, cost, freshness, source: Source::Entry })
    }

    /// Not inlined, so that its callers can be: otherwise an entry is copied from call to call.
    #[inline(never)]
    fn freshness(&self, header: &Header, cost: Duration) -> Freshness {
        let nanos = |millis: u64| millis.saturating_mul(1_000_000);
        let now = self.clock.unix_ms();
        let fresh_until = match header.fresh_until_ms {
            None => u64::MAX,
            Some(_) if is_from_future(now, header.created_ms) => {
                self.tell_of_clocks(header.created_ms - now);
                nanos(now)
            }
            Some(until) => nanos(until),
        };
        self.policy.freshness(nanos(now), fresh_until, cost, dice)
    }

    #[cold]
    fn tell_of_clocks(&self, ahead_ms: u64) {
        if !self.has_told_of_clocks.swap(true, Ordering::Relaxed) {
            let namespace = &self.namespace;
            log::warn!(
                "{namespace}: another machine's clock is {ahead_ms} ms ahead of this one's, so its entries are renewed at \
                 once: synchronize the clocks"
            );
        }
    }

    fn get_while_down(&self, text: &[u8]) -> Option<Found> {
        self.fallback(text).get_while_down(text).map(Found::from)
    }

    /// The right to store a value of `query` now.
    pub(super) async fn make_ticket(&self, query: Query<'_>) -> Result<Ticket, Error> {
        // Fails early for a type that can't be stored.
        let text = query.key.text_bytes(&self.form(query.format)?.head);
        let (clears, started) = (self.clears(), Instant::now());
        let token = self.token(&text, query.caller, started + self.facts.budget).await;
        let left = self.facts.budget.saturating_sub(started.elapsed());
        Ok(Ticket { right: Right::Value, ..Ticket::new(token, clears, query.format, left) })
    }

    /// The number of clears so far, which is the same for all servers.
    fn clears(&self) -> u64 {
        self.fallback[0].clears()
    }

    /// The generation token that the entry under `text` must have.
    async fn token(&self, text: &[u8], caller: Caller, deadline: Instant) -> Result<Token, Error> {
        let group = self.group(text);
        match group.generation.known() {
            Ok(token) => Ok(token),
            Err(asked) => {
                let found = self.connected.get(group.generation_key.as_bytes(), deadline, caller).await?;
                group.learn(found, asked, caller, deadline).await
            }
        }
    }

    /// The bytes under `text`, and the generation token as the server has it.
    pub(super) async fn read_both(
        &self,
        text: &[u8],
        asked: Asked,
        caller: Caller,
        deadline: Instant,
    ) -> Result<(Under, Token), Error> {
        let group = self.group(text);
        let keys = [text, group.generation_key.as_bytes()];
        let mut found = self.connected.get_many(&keys, deadline, caller).await?.into_iter();
        let (under, generation) = (found.next().flatten(), found.next().flatten());
        Ok((under, group.learn(generation, asked, caller, deadline).await?))
    }
}
