//! Reading: an entry, the generation token, or both in one round trip.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::envelope::{self, Header, Token};
use super::form::Form;
use super::generation::{Asked, random_token};
use super::ticket::{Lookup, Seen, Ticket};
use super::{Query, Remote};
use crate::backend::Condition;
use crate::common::wait::Caller;
use crate::error::{Error, ErrorKind};
use crate::freshness::{Found, Freshness, Source};
use crate::key::TextBytes;
use crate::value::{MakeFormat, Packed};

/// What was read under a key.
struct Read {
    entry: Result<Option<Found>, Error>,
    /// The generation, or why the server didn't tell it.
    token: Result<Token, Error>,
    seen: Option<Box<Seen>>,
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
        let text = if is_fresh && token.is_ok() { None } else { Some(text.to_vec()) };
        let left = budget.saturating_sub(started.elapsed());
        let ticket = Ticket { text, seen, ..Ticket::new(token, clears, query.format, left) };
        Ok(Lookup { entry, ticket })
    }

    async fn read_entry(
        &self,
        form: &std::sync::Arc<Form>,
        text: &[u8],
        started: Instant,
        deadline: Instant,
        caller: Caller,
    ) -> Read {
        if self.invalidations.has(text) {
            // The server's entry must not be served, so only the token is read.
            let token = Box::pin(self.token(caller, deadline)).await;
            return Read { entry: Ok(self.get_while_down(text)), token, seen: None };
        }
        let read = match self.generation().known() {
            Ok(token) => self.connected.get(text, deadline, caller).await.map(|bytes| (bytes, token)),
            // Boxed, like everything that few hits need: it would dominate the size of their futures.
            Err(asked) => Box::pin(self.read_both(text, asked, caller, deadline)).await,
        };
        match read {
            Ok((bytes, token)) => {
                let seen = || Box::new(Seen { at: started, form: form.clone(), bytes: bytes.clone() });
                let seen = self.facts.has_leases.then(seen);
                Read { entry: self.open_answer(form, text, bytes, token), token: Ok(token), seen }
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
        let freshness = self.freshness(header.fresh_until_ms, cost);
        let is_served = freshness != Freshness::Expired && !header.is_hollow();
        let packed = Packed::Encoded(payload);
        is_served.then_some(Found { packed, cost, freshness, source: Source::Entry })
    }

    /// Not inlined, so that its callers can be: otherwise an entry is copied from call to call.
    #[inline(never)]
    fn freshness(&self, fresh_until_ms: Option<u64>, cost: Duration) -> Freshness {
        let nanos = |millis: u64| millis.saturating_mul(1_000_000);
        let fresh_until = fresh_until_ms.map_or(u64::MAX, nanos);
        self.policy.freshness(nanos(self.clock.unix_ms()), fresh_until, cost, fastrand::f64)
    }

    fn get_while_down(&self, text: &[u8]) -> Option<Found> {
        self.fallback(text).get_while_down(text).map(Found::from)
    }

    /// The right to store the result of a run that begins now.
    pub(super) async fn make_ticket(&self, format: MakeFormat, caller: Caller) -> Result<Ticket, Error> {
        // Fails early for a type that can't be stored.
        self.form(format)?;
        let (clears, started) = (self.clears(), Instant::now());
        let token = self.token(caller, started + self.facts.budget).await;
        Ok(Ticket::new(token, clears, format, self.facts.budget.saturating_sub(started.elapsed())))
    }

    /// The number of clears so far, which is the same for all servers.
    fn clears(&self) -> u64 {
        self.fallback[0].clears()
    }

    /// The generation token that an entry must have.
    async fn token(&self, caller: Caller, deadline: Instant) -> Result<Token, Error> {
        match self.generation().known() {
            Ok(token) => Ok(token),
            Err(asked) => {
                let found = self.connected.get(self.generation_key.as_bytes(), deadline, caller).await?;
                self.learn(found, asked, caller, deadline).await
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
    ) -> Result<(Option<Bytes>, Token), Error> {
        let keys = [text, self.generation_key.as_bytes()];
        let mut found = self.connected.get_many(&keys, deadline, caller).await?.into_iter();
        let (entry, generation) = (found.next().flatten(), found.next().flatten());
        Ok((entry, self.learn(generation, asked, caller, deadline).await?))
    }

    /// The generation token in the server's answer; a new one if there is none.
    async fn learn(
        &self,
        found: Option<Bytes>,
        asked: Asked,
        caller: Caller,
        deadline: Instant,
    ) -> Result<Token, Error> {
        let token = match found.as_deref().map(Token::try_from) {
            Some(Ok(token)) => token,
            _ => self.make_token(caller, deadline).await?,
        };
        self.generation().learn(token, asked);
        Ok(token)
    }

    /// Puts a new token on the server, or takes the one that another process has put there first.
    async fn make_token(&self, caller: Caller, deadline: Instant) -> Result<Token, Error> {
        let key = self.generation_key.as_bytes();
        for _ in 0..3 {
            let token = random_token();
            let bytes = Bytes::copy_from_slice(&token);
            if self.connected.set(key, bytes, None, Condition::Absent, deadline, caller).await? {
                return Ok(token);
            }
            match self.connected.get(key, deadline, caller).await?.as_deref().map(Token::try_from) {
                Some(Ok(token)) => return Ok(token),
                // Not a token.
                Some(Err(_)) => drop(self.connected.delete(key, deadline, caller).await?),
                // Another process has cleared the function.
                None => {}
            }
        }
        let message = "the backend loses the function's generation token as soon as it is stored";
        Err(Error::new(ErrorKind::Server, message))
    }
}
