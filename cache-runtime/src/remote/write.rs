//! Writing: results, values and invalidations.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::envelope::{self, Header};
use super::fallback::FallbackResult;
use super::invalidations::Invalidation;
use super::ticket::Ticket;
use super::{Query, Remote, Write};
use crate::backend::Condition;
use crate::common::clock::millis;
use crate::common::wait::Caller;
use crate::error::{Error, ErrorKind};
use crate::flight::Leader;
use crate::key::Key;
use crate::value::MakeFormat;

impl Remote {
    /// Stores a result under the generation of its ticket. A result that the server doesn't take stays in the fallback
    /// store for a moment, and the entry that it was to replace is no longer served. `false` if the run has lost its lease.
    pub(super) async fn write(&self, write: Write<'_>) -> Result<bool, Error> {
        let Write { key, mut ticket, payload, life, cost, replaces, leader, caller } = write;
        let form = self.form(ticket.format)?;
        let text = ticket.text.take().unwrap_or_else(|| key.text_bytes(&form.head).to_vec());
        let since = self.invalidations.latest();
        let result = match self.seal(&text, &payload, life, cost, &ticket) {
            Ok(bytes) => self.store(&text, bytes, life, &ticket, caller).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(false) => {}
            _ if leader.is_some_and(Leader::store_must_be_removed) => {
                drop(self.invalidations.remove(text));
            }
            Ok(true) => {
                self.invalidations.replaced(&text, since);
                self.fallback(&text).remove(&text);
            }
            Err(error) => {
                if replaces {
                    drop(self.invalidations.remove(text.clone()));
                }
                let Ticket { token, clears, .. } = ticket;
                let result = FallbackResult { payload, cost, clears, generation: token.ok() };
                self.fallback(&text).put(text, result, life, error.kind());
            }
        }
        result
    }

    /// The envelope around a payload.
    fn seal(
        &self,
        text: &[u8],
        payload: &[u8],
        life: Option<Duration>,
        cost: Duration,
        ticket: &Ticket,
    ) -> Result<Vec<u8>, Error> {
        let (token, now) = (ticket.token.clone()?, self.clock.unix_ms());
        let header = Header {
            flags: 0,
            created_ms: now,
            fresh_until_ms: life.map(|life| now.saturating_add(millis(life))),
            cost_us: Header::cost(cost),
            groups: [token].into(),
        };
        envelope::seal(&self.form(ticket.format)?.binding(text), &header, payload.len(), |out| {
            out.extend_from_slice(payload);
            Ok(())
        })
    }

    async fn store(
        &self,
        text: &[u8],
        bytes: Vec<u8>,
        life: Option<Duration>,
        ticket: &Ticket,
        caller: Caller,
    ) -> Result<bool, Error> {
        let limit = self.connected.max_value_len();
        if bytes.len() > limit {
            let message = format!("{} bytes, but the backend takes at most {limit}", bytes.len());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let stale_window = Duration::from_nanos(self.policy.stale_window());
        let ttl = life.map(|life| life.saturating_add(stale_window));
        let deadline = Instant::now() + ticket.left;
        match &ticket.lease {
            Some(lease) => lease.put(bytes.into(), ttl, deadline, caller).await,
            None => {
                let connected = &self.connected;
                connected.set(text, bytes.into(), ttl, Condition::Always, deadline, caller).await
            }
        }
    }

    /// Stores a value that no run computed. The old entry is no longer served, even if the value can't be stored.
    pub(super) async fn write_value(
        &self,
        query: Query<'_>,
        payload: Bytes,
        life: Option<Duration>,
    ) -> Result<bool, Error> {
        let _invalidation = self.invalidation(query.key, query.format)?;
        let ticket = self.make_ticket(query.format, query.caller).await?;
        let write = Write {
            key: query.key.clone(),
            ticket,
            payload,
            life,
            cost: Duration::ZERO,
            replaces: true,
            leader: None,
            caller: query.caller,
        };
        self.write(write).await
    }

    /// Begins the invalidation of an entry. Unless it is sent, or the entry replaced, before it is dropped, it is
    /// delivered in the background, and the entry is not served until it has been.
    pub(super) fn invalidation(&self, key: &Key, format: MakeFormat) -> Result<Invalidation, Error> {
        let text = key.text_bytes(&self.form(format)?.head);
        self.fallback(&text).remove(&text);
        Ok(self.invalidations.remove(text.to_vec()))
    }
}
