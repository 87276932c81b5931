//! Writing: results, values and invalidations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::envelope::{self, Header};
use super::fallback::FallbackResult;
use super::form::Form;
use super::invalidations::{Invalidation, VOID_FOR};
use super::ticket::{Right, Ticket};
use super::{Query, Remote, Write};
use crate::backend::{Condition, SetOptions};
use crate::common::clock::millis;
use crate::common::wait::Caller;
use crate::error::Error;
use crate::flight::Leader;
use crate::key::Key;
use crate::value::MakeFormat;

impl Remote {
    /// Stores a result under the generation of its ticket. A result that the server doesn't take stays in the fallback
    /// store for a moment, and the entry that it was to replace is no longer served. `false` if the key has changed since
    /// the run began.
    pub(super) async fn write(&self, write: Write<'_>) -> Result<bool, Error> {
        let Write { key, mut ticket, payload, life, cost, replaces, leader, caller } = write;
        let form = self.form(ticket.format)?;
        let text = ticket.text.take().unwrap_or_else(|| key.text_bytes(&form.head).as_slice().into());
        let group = self.group(&text);
        let since = group.latest();
        let sealed = self.seal(&text, &payload, life, cost, &ticket);
        let is_sent = sealed.is_ok();
        let result = match sealed {
            Ok(bytes) => self.store(&text, bytes, life, &ticket, caller).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(false) => {}
            _ if leader.is_some_and(Leader::store_must_be_removed) => {
                drop(group.remove(text, Some(form.clone()), None));
            }
            Ok(true) => {
                group.replaced(&text, since);
                self.fallback(&text).remove(&text);
            }
            Err(error) => {
                // A server that gave no answer may still store the result, when it has become old.
                let removes = replaces || (is_sent && error.is_without_answer());
                let ended = self.end(text.clone(), form, &ticket.right, removes, caller);
                // Asking the same server again would exceed the call's time.
                if !error.is_without_answer() {
                    ended.await;
                }
                let Ticket { token, clears, .. } = ticket;
                let result = FallbackResult { payload, cost, clears, generation: token.ok() };
                self.fallback(&text).put(text.to_vec(), result, life, error);
            }
        }
        result
    }

    /// Ends a run that stores nothing. `removes` is whether what is under the key must not be served any more. A future that
    /// is dropped leaves the rest to the background.
    pub(super) fn end(
        &self,
        text: Arc<[u8]>,
        form: &Arc<Form>,
        right: &Right,
        removes: bool,
        caller: Caller,
    ) -> impl Future<Output = ()> + Send + use<> {
        let claim = if let Right::Claim(claim) = right { Some(claim.clone()) } else { None };
        // Now, because the future may be dropped.
        claim.iter().for_each(|claim| claim.finish());
        let invalidation = removes.then(|| {
            self.fallback(&text).remove(&text);
            let ended = claim.as_ref().and_then(|claim| claim.give_up());
            self.group(&text).remove(text.clone(), Some(form.clone()), ended)
        });
        async move {
            if let Some(invalidation) = invalidation {
                // After an error it is pending.
                _ = invalidation.send(caller).await;
            } else if let Some(claim) = claim {
                claim.release(caller).await;
            }
        }
    }

    /// The envelope around a payload.
    fn seal(
        &self,
        text: &[u8],
        payload: &[u8],
        life: Option<Duration>,
        cost: Duration,
        ticket: &Ticket,
    ) -> Result<Bytes, Error> {
        let (token, now) = (ticket.token.clone()?, self.clock.unix_ms());
        let header = Header {
            flags: 0,
            created_ms: now,
            fresh_until_ms: life.map(|life| now.saturating_add(millis(life))),
            cost_us: Header::cost(cost),
            groups: [token].into(),
        };
        let bytes =
            envelope::seal(&self.form(ticket.format)?.binding(text), &header, payload.len(), |out| {
                out.extend_from_slice(payload);
                Ok(())
            })?;
        self.connected.check_len(bytes.len())?;
        Ok(bytes.into())
    }

    async fn store(
        &self,
        text: &[u8],
        bytes: Bytes,
        life: Option<Duration>,
        ticket: &Ticket,
        caller: Caller,
    ) -> Result<bool, Error> {
        let stale_window = Duration::from_nanos(self.policy.stale_window());
        let ttl = life.map(|life| life.saturating_add(stale_window));
        let deadline = Instant::now() + ticket.left;
        match &ticket.right {
            Right::Nothing | Right::Seen(_) => Ok(false),
            Right::Claim(claim) => claim.put(bytes, ttl, deadline, caller).await,
            Right::Value => {
                // The value replaces what is there, and may replace the mark of an invalidation.
                let ttl = ttl.map(|ttl| ttl.max(VOID_FOR));
                self.connected
                    .set(text, bytes, SetOptions::new().ttl(ttl), Condition::Always, deadline, caller)
                    .await?;
                Ok(true)
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
        let ticket = self.make_ticket(query).await?;
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
        let form = self.form(format)?;
        let text = key.text_bytes(&form.head);
        self.fallback(&text).remove(&text);
        Ok(self.group(&text).remove(text.as_slice().into(), Some(form.clone()), None))
    }
}
