//! The holder's side of a lease: claiming it, renewing it, and replacing it by the result.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{HEARTBEAT, LEASE, MAX_LOST_HEARTBEATS, Mark, NOBODY, RELEASED};
use crate::backend::Condition;
use crate::backend::connected::Connected;
use crate::common::background;
use crate::common::clock::{Clock, millis};
use crate::common::sync::lock;
use crate::common::wait::{Caller, MaybeReady, block_on};
use crate::error::Error;
use crate::remote::envelope::{self, Binding, HOLLOW, Header, Token};
use crate::remote::generation::random_token;
use crate::remote::ticket::RunLease;

/// A key on a server, and what entries under it are bound to.
#[derive(Clone)]
pub(super) struct LeaseKey {
    pub(super) connected: Arc<Connected>,
    pub(super) text: String,
    pub(super) shape: u64,
    pub(super) codec: u8,
    pub(super) clock: Clock,
}

impl LeaseKey {
    pub(super) fn binding(&self) -> Binding<'_> {
        Binding { key: self.text.as_bytes(), shape: self.shape, codec: self.codec }
    }

    /// Puts `new` over `old`, if that is what the server holds.
    async fn compare_and_set(
        &self,
        old: &[u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<bool, Error> {
        let condition = Condition::Equals(old);
        self.connected.set(self.text.as_bytes(), new, ttl, condition, deadline, caller).await
    }
}

/// The entry that carries a mark.
pub(super) struct Carrier {
    header: Header,
    payload: Bytes,
    /// How long the entry is kept on the server after its lifetime.
    stale_window: Duration,
}

impl Carrier {
    /// No value: readers have a miss.
    pub(super) fn hollow(generation: Token, clock: &Clock) -> Self {
        let header = Header {
            flags: HOLLOW,
            created_ms: clock.unix_ms(),
            groups: [generation].into_iter().collect(),
            ..Header::default()
        };
        Self { header, payload: Bytes::new(), stale_window: Duration::ZERO }
    }

    /// An entry that is served while a newer one is computed.
    pub(super) fn entry(header: Header, payload: Bytes, stale_window: Duration) -> Self {
        Self { header, payload, stale_window }
    }

    /// Its bytes with `mark` on it.
    fn seal(&self, mark: &Mark, key: &LeaseKey) -> Result<Bytes, Error> {
        let generation = self.header.groups.first().copied().unwrap_or_default();
        let header = Header { groups: mark.groups(generation).into_iter().collect(), ..self.header.clone() };
        let bytes = envelope::seal(&key.binding(), &header, self.payload.len(), |out| {
            out.extend_from_slice(&self.payload);
            Ok(())
        })?;
        Ok(bytes.into())
    }

    /// How long the server keeps it: for the entry's own time, and at least as long as the `mark` must be seen.
    fn ttl(&self, mark: Duration, clock: &Clock) -> Option<Duration> {
        if self.header.is_hollow() {
            return Some(mark);
        }
        let end = self.header.fresh_until_ms?.saturating_add(millis(self.stale_window));
        Some(Duration::from_millis(end.saturating_sub(clock.unix_ms())).max(mark))
    }
}

/// The right to run the body for the whole cluster, and to store its result. Dropping it gives it back.
pub(super) struct Lease(Arc<Shared>);

/// Shared with the heartbeats.
struct Shared {
    key: LeaseKey,
    carrier: Carrier,
    first: Mark,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The marks that may lie on the server, the last one sent at the end: more than one while an answer is outstanding, or
    /// after it was lost.
    marks: Vec<Bytes>,
    heartbeat: u128,
    /// How the run ended. There are no more heartbeats then.
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its result is stored, or the key belongs to another process.
    Done,
    /// It has no result to share.
    Empty,
}

impl Lease {
    /// Puts a mark over `old`, which is what the server held when it was last read; `None` if it no longer does.
    pub(super) async fn claim(
        key: LeaseKey,
        old: Option<&Bytes>,
        carrier: Carrier,
        ended: Token,
        caller: Caller,
    ) -> Result<Option<Self>, Error> {
        let first = Mark { holder: random_token(), heartbeat: 0, ended };
        let bytes = carrier.seal(&first, &key)?;
        let progress = Mutex::new(Progress { marks: vec![bytes.clone()], heartbeat: 0, end: None });
        // Made before the answer is there: if the answer is lost, or nobody waits for it, the mark must not stay.
        let lease = Self(Arc::new(Shared { key, carrier, first, progress }));
        match lease.0.put_first(old, bytes, caller).await {
            Ok(true) => {
                lease.start_heartbeats();
                Ok(Some(lease))
            }
            Ok(false) => {
                lease.0.finish(End::Done);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Fails if the backend has no compare-and-set.
    pub(super) async fn check_possible(key: &LeaseKey, caller: Caller) -> Result<(), Error> {
        let unknown = Bytes::copy_from_slice(&random_token());
        let deadline = Instant::now() + key.connected.timeout;
        key.compare_and_set(&unknown, unknown.clone(), Some(LEASE), deadline, caller).await.map(drop)
    }

    fn start_heartbeats(&self) {
        let shared = Arc::downgrade(&self.0);
        background::schedule(HEARTBEAT, move || {
            let shared = shared.upgrade()?;
            block_on(pin!(shared.send_heartbeat())).then_some(HEARTBEAT)
        });
    }

    async fn store(
        &self,
        entry: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<bool, Error> {
        let marks = self.0.finish(End::Empty);
        let stored = self.0.replace_any(&marks, &entry, ttl, deadline, caller).await?;
        self.0.finish(End::Done);
        Ok(stored)
    }
}

impl RunLease for Lease {
    fn holder(&self) -> Token {
        self.0.first.holder
    }

    fn finish_empty(&self) {
        self.0.finish(End::Empty);
    }

    fn put(
        &self,
        entry: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        caller: Caller,
    ) -> MaybeReady<'_, Result<bool, Error>> {
        MaybeReady::of(self.store(entry, ttl, deadline, caller), caller)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let end = lock(&self.0.progress).end;
        if end == Some(End::Done) {
            return;
        }
        // In the background, because the caller may be panicking or a task that ends.
        let shared = self.0.clone();
        background::schedule(Duration::ZERO, move || {
            block_on(pin!(shared.release(end)));
            None
        });
    }
}

impl Shared {
    async fn put_first(&self, old: Option<&Bytes>, mark: Bytes, caller: Caller) -> Result<bool, Error> {
        let deadline = Instant::now() + self.key.connected.timeout;
        let ttl = self.carrier.ttl(LEASE, &self.key.clock);
        let condition = old.map_or(Condition::Absent, |old| Condition::Equals(old));
        let text = self.key.text.as_bytes();
        self.key.connected.set(text, mark, ttl, condition, deadline, caller).await
    }

    /// Ends the heartbeats. Returns the marks that may lie under the key, the likeliest first. One heartbeat may arrive while
    /// these are being tried, so the likeliest is tried twice.
    fn finish(&self, end: End) -> Vec<Bytes> {
        let mut progress = lock(&self.progress);
        progress.end = Some(end);
        let mut marks: Vec<Bytes> = progress.marks.iter().rev().cloned().collect();
        if marks.len() > 1 {
            marks.push(marks[0].clone());
        }
        marks
    }

    /// Puts `new` over the first of `marks` that is there.
    async fn replace_any(
        &self,
        marks: &[Bytes],
        new: &Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<bool, Error> {
        for mark in marks {
            if self.key.compare_and_set(mark, new.clone(), ttl, deadline, caller).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends a heartbeat; returns whether there will be another.
    async fn send_heartbeat(&self) -> bool {
        let Some((before, next)) = self.next_heartbeat() else { return false };
        let deadline = Instant::now() + self.key.connected.timeout.min(HEARTBEAT);
        let ttl = self.carrier.ttl(LEASE, &self.key.clock);
        match self.replace_any(&before, &next, ttl, deadline, Caller::Blocking).await {
            Ok(true) => lock(&self.progress).marks = vec![next],
            // Invalidated, overwritten or taken over. Storing the result will find the same.
            Ok(false) => return false,
            Err(error) => log::debug!("{}: a lease was not renewed: {error:?}", self.key.text),
        }
        true
    }

    /// The marks that may lie there, the likeliest first, and the one that follows them; `None` if the run is over, or has
    /// lost its lease because too many heartbeats were lost.
    fn next_heartbeat(&self) -> Option<(Vec<Bytes>, Bytes)> {
        let mut progress = lock(&self.progress);
        if progress.end.is_some() || progress.marks.len() > MAX_LOST_HEARTBEATS {
            return None;
        }
        progress.heartbeat += 1;
        let mark = Mark { heartbeat: progress.heartbeat, ..self.first };
        let next = self.carrier.seal(&mark, &self.key).ok()?;
        let before = progress.marks.iter().rev().cloned().collect();
        progress.marks.push(next.clone());
        Some((before, next))
    }

    /// Leaves the key to other processes.
    async fn release(&self, end: Option<End>) {
        let ended = if end == Some(End::Empty) { self.first.holder } else { NOBODY };
        let marks = self.finish(End::Done);
        let Ok(released) = self.carrier.seal(&Mark { holder: NOBODY, heartbeat: 0, ended }, &self.key) else {
            return;
        };
        let deadline = Instant::now() + self.key.connected.timeout;
        let ttl = self.carrier.ttl(RELEASED, &self.key.clock);
        if let Err(error) = self.replace_any(&marks, &released, ttl, deadline, Caller::Blocking).await {
            log::debug!("{}: a lease is left to expire: {error:?}", self.key.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_with_a_mark_stays_for_its_own_time() {
        let clock = Clock::manual();
        let stale_window = Duration::from_secs(60);
        let ends = |in_ms| Header { fresh_until_ms: Some(clock.unix_ms() + in_ms), ..Header::default() };
        let ttl = |header| Carrier::entry(header, Bytes::new(), stale_window).ttl(LEASE, &clock);
        assert_eq!(ttl(Header::default()), None);
        assert_eq!(ttl(ends(5_000)), Some(Duration::from_secs(65)));
        let stale = ends(0);
        clock.advance(Duration::from_secs(20));
        assert_eq!(ttl(stale.clone()), Some(Duration::from_secs(40)));
        clock.advance(Duration::from_secs(39));
        assert_eq!(ttl(stale), Some(LEASE), "the mark must be seen");
    }
}
