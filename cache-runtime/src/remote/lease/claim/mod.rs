//! The claim of a run on its key: the result is stored only if nobody else has changed the key since the run's look-up.
//!
//! A claim costs nothing until its result is stored, with one conditional store. It can put a [`Mark`] on the server: a
//! run for the whole cluster and a `refresh` do so before they begin, and any other run once it has become slow. From then
//! on the claim renews its mark with heartbeats, and its result replaces the last one.
//!
//! # Why nothing old is stored
//!
//! An invalidation leaves bytes under the key that nothing has had before, and that stay for [`VOID_FOR`]. So does
//! whatever replaces them. So for that long after its look-up, a claim that still finds the bytes it saw knows that the
//! key has not been invalidated, and so does one that finds nothing: what was there has expired. Later it knows only if
//! its own mark is there.

#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Ended, MAX_LOST_HEARTBEATS, Mark, NOBODY, Pace, RELEASED};
use crate::backend::connected::Connected;
use crate::backend::{Condition, SetOptions, Version, Versioned};
use crate::common::background;
use crate::common::clock::{Clock, millis};
use crate::common::process::Process;
use crate::common::sync::lock;
use crate::common::wait::{Caller, MaybeReady, block_on};
use crate::error::Error;
use crate::flight;
use crate::remote::envelope::{self, Binding, HOLLOW, Header, Token};
use crate::remote::generation::random_token;
use crate::remote::invalidations::VOID_FOR;
use crate::remote::ticket::{RunClaim, Seen};

/// A key on a server, and what entries under it are bound to.
#[derive(Clone)]
pub(in crate::remote) struct ClaimKey {
    pub(in crate::remote) connected: Arc<Connected>,
    pub(in crate::remote) text: Arc<[u8]>,
    pub(in crate::remote) shape: u64,
    pub(in crate::remote) codec: u8,
    pub(in crate::remote) clock: Clock,
}

impl ClaimKey {
    pub(in crate::remote) fn binding(&self) -> Binding<'_> {
        Binding { key: &self.text, shape: self.shape, codec: self.codec }
    }

    /// Stores `new` if the server holds `seen`.
    async fn replace(
        &self,
        seen: &Under,
        new: &Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<Option<Version>, Error> {
        let condition = seen.as_ref().map_or(Condition::Absent, Versioned::is_unchanged);
        self.connected
            .set(&self.text, new.clone(), SetOptions::new().ttl(ttl), condition, deadline, caller)
            .await
    }

    /// The mark in these bytes, if they are an entry of this key that carries one.
    fn mark_of(&self, bytes: &[u8]) -> Option<Mark> {
        let (header, _) = envelope::open(&self.binding(), Bytes::copy_from_slice(bytes)).ok()?;
        Mark::of(&header)
    }

    fn text_for_log(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// What lies under a key.
pub(in crate::remote) type Under = Option<Versioned>;

/// The entry that carries a mark.
pub(in crate::remote) struct Carrier {
    header: Header,
    payload: Bytes,
    /// How long the entry is kept on the server after its lifetime.
    stale_window: Duration,
}

impl Carrier {
    /// No value: readers have a miss.
    pub(in crate::remote) fn hollow(generation: Token, clock: &Clock) -> Self {
        let header = Header {
            flags: HOLLOW,
            created_ms: clock.unix_ms(),
            groups: [generation].into_iter().collect(),
            ..Header::default()
        };
        Self { header, payload: Bytes::new(), stale_window: Duration::ZERO }
    }

    /// An entry that is served while a newer one is computed.
    pub(in crate::remote) fn entry(header: Header, payload: Bytes, stale_window: Duration) -> Self {
        Self { header, payload, stale_window }
    }

    /// Its bytes with `mark` on it.
    fn seal(&self, mark: &Mark, key: &ClaimKey) -> Result<Bytes, Error> {
        let generation = self.header.groups.first().copied().unwrap_or_default();
        let header = Header { groups: mark.groups(generation).into_iter().collect(), ..self.header.clone() };
        let bytes = envelope::seal(&key.binding(), &header, self.payload.len(), |out| {
            out.extend_from_slice(&self.payload);
            Ok(())
        })?;
        Ok(bytes.into())
    }

    /// How long the server keeps it: for the entry's own time, and at least for the time of the mark.
    fn ttl(&self, mark: Duration, clock: &Clock) -> Option<Duration> {
        if self.header.is_hollow() {
            return Some(mark);
        }
        let end = self.header.fresh_until_ms?.saturating_add(millis(self.stale_window));
        Some(Duration::from_millis(end.saturating_sub(clock.unix_ms())).max(mark))
    }
}

/// See the module. Dropping a claim with a mark gives the key back.
pub(in crate::remote) struct Claim(Arc<Shared>);

/// Shared with the heartbeats.
struct Shared {
    process: Process,
    key: ClaimKey,
    /// When the look-up began that the run follows.
    since: Instant,
    /// How long what this claim stores stays at least: it may replace the mark of an invalidation.
    stays: Duration,
    /// The generation of the run.
    generation: Token,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The last time at which the key is known to have been this claim's. Look-ups from then on see its mark, if it has one.
    unchanged_at: Instant,
    /// What the look-up saw, until a mark of this claim is known to have replaced it.
    seen: Option<Under>,
    /// The marks of this claim that may lie on the server, the last one sent at the end: more than one while an answer is
    /// outstanding, or after it was lost.
    marks: Vec<Versioned>,
    marked: Option<Marked>,
    /// How the run ended. There are no more marks then.
    end: Option<End>,
}

/// The mark of this claim on the server.
#[derive(Clone)]
struct Marked {
    carrier: Arc<Carrier>,
    mark: Mark,
    pace: Pace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its result is stored, or the key belongs to another run.
    Done,
    /// It has no result to share.
    Empty,
    /// By a panic, or because nobody waits for it any more.
    Abandoned,
}

impl Claim {
    /// The claim of a run of `generation` after a look-up that saw `seen`. `stays` is whether what it stores must stay for
    /// as long as the mark of an invalidation, even where nothing was.
    pub(in crate::remote) fn new(key: ClaimKey, seen: Seen, generation: Token, stays: bool) -> Self {
        let Seen { at: since, under } = seen;
        let stays = if stays || under.is_some() { VOID_FOR } else { Duration::ZERO };
        let progress =
            Progress { unchanged_at: since, seen: Some(under), marks: Vec::new(), marked: None, end: None };
        let (process, progress) = (Process::current(), Mutex::new(progress));
        Self(Arc::new(Shared { process, key, since, stays, generation, progress }))
    }

    /// Puts a mark over what the look-up saw. `false` if the key has changed since.
    pub(in crate::remote) async fn mark(
        &self,
        carrier: Carrier,
        ended: Token,
        pace: Pace,
        caller: Caller,
    ) -> Result<bool, Error> {
        let mark = Mark { holder: random_token(), heartbeat: 0, ended };
        let is_marked = self.0.put_mark(Marked { carrier: Arc::new(carrier), mark, pace }, caller).await?;
        if is_marked {
            self.start_heartbeats(pace);
        } else {
            self.0.finish(End::Done);
        }
        Ok(is_marked)
    }

    fn start_heartbeats(&self, pace: Pace) {
        let shared = Arc::downgrade(&self.0);
        background::schedule(pace.heartbeat, move || {
            let shared = shared.upgrade()?;
            block_on(pin!(shared.send_heartbeat())).then_some(pace.heartbeat)
        });
    }

    async fn store(
        &self,
        entry: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<bool, Error> {
        let deadline = self.0.proof_ends().map_or(deadline, |end| end.min(deadline));
        let under = self.0.finish(End::Empty);
        let stored = match deadline > Instant::now() {
            true => self.0.replace_any(&under, &entry, ttl, deadline, caller).await?,
            false => None,
        };
        self.0.finish(End::Done);
        Ok(stored.is_some())
    }
}

impl RunClaim for Claim {
    fn finish(&self) {
        self.0.finish(End::Empty);
    }

    fn release(&self, caller: Caller) -> MaybeReady<'_, ()> {
        MaybeReady::of(self.0.release(End::Empty, caller), caller)
    }

    fn give_up(&self) -> Option<Ended> {
        self.0.finish(End::Done);
        let holder = lock(&self.0.progress).marked.as_ref().map(|marked| marked.mark.holder)?;
        Some(Ended { generation: self.0.generation, holder })
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

impl flight::Claim for Claim {
    fn is_outdated(&self, since: Instant, under: Option<&[u8]>) -> bool {
        self.0.is_changed(since, under)
    }

    fn secure(&self) {
        if self.0.wants_mark() {
            let carrier = Carrier::hollow(self.0.generation, &self.0.key.clock);
            let marked = self.mark(carrier, NOBODY, Pace::UNWATCHED, Caller::Blocking);
            if let Err(error) = block_on(pin!(marked)) {
                log::debug!("{}: a slow run has no mark: {error:?}", self.0.key.text_for_log());
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // In a child of `fork`, the mark belongs to the parent's run.
        if !self.0.process.is_current() {
            return;
        }
        let end = lock(&self.0.progress).end.unwrap_or(End::Abandoned);
        if end == End::Done || lock(&self.0.progress).marked.is_none() {
            return;
        }
        // In the background, because the caller may be panicking or a task that ends.
        let shared = self.0.clone();
        background::schedule(Duration::ZERO, move || {
            block_on(pin!(shared.release(end, Caller::Blocking)));
            None
        });
    }
}

impl Progress {
    /// What may lie under the key, the likeliest first. What the look-up saw may have expired since.
    fn under(&self) -> Vec<Under> {
        let expired = self.seen.iter().flatten().map(|_| None);
        self.marks.iter().rev().cloned().map(Some).chain(self.seen.clone()).chain(expired).collect()
    }
}

impl Shared {
    /// Until when the claim can tell whether the key has been invalidated; `None` if it always can, because it has a mark.
    fn proof_ends(&self) -> Option<Instant> {
        lock(&self.progress).seen.is_some().then(|| self.since + VOID_FOR)
    }

    /// Whether a mark is needed, and can be put on the key. One that another run holds is left alone: runs that take turns
    /// would keep each other from storing.
    fn wants_mark(&self) -> bool {
        let progress = lock(&self.progress);
        let Some(seen) = progress.seen.as_ref().filter(|_| progress.end.is_none()) else { return false };
        seen.as_ref().and_then(|seen| self.key.mark_of(&seen.bytes)).is_none_or(|mark| mark.holder == NOBODY)
    }

    /// Whether a look-up that began at `since`, and found `under` just now, shows a change by others.
    fn is_changed(&self, since: Instant, under: Option<&[u8]>) -> bool {
        let progress = lock(&self.progress);
        let seen = progress.seen.as_ref().map(|seen| seen.as_ref().map(|seen| &*seen.bytes));
        if since <= progress.unchanged_at || seen == Some(under) {
            return false;
        }
        let Some(under) = under else { return seen.is_none() || Instant::now() >= self.since + VOID_FOR };
        let own = progress.marked.as_ref().map(|marked| marked.mark.holder);
        let seen = seen.flatten().and_then(|bytes| self.key.mark_of(bytes)).map(|mark| mark.holder);
        let found = self.key.mark_of(under).map(|mark| mark.holder).filter(|holder| *holder != NOBODY);
        found.is_none() || (found != own && found != seen)
    }

    /// Puts `marked` over whatever of this claim is on the server. Notes it before the answer is there: if the answer is lost,
    /// or nobody waits for it, the mark must not stay.
    async fn put_mark(&self, marked: Marked, caller: Caller) -> Result<bool, Error> {
        let bytes = marked.carrier.seal(&marked.mark, &self.key)?;
        let ttl = marked.carrier.ttl(marked.pace.ttl, &self.key.clock);
        let timeout = self.key.connected.timeout.min(marked.pace.heartbeat);
        let deadline = Instant::now() + timeout;
        let deadline = self.proof_ends().map_or(deadline, |end| end.min(deadline));
        let before = {
            let mut progress = lock(&self.progress);
            let before = progress.under();
            progress.marks.push(bytes.clone().into());
            progress.marked = Some(marked);
            before
        };
        let stored = self.replace_any(&before, &bytes, ttl, deadline, caller).await?;
        if let Some(version) = stored {
            let mut progress = lock(&self.progress);
            progress.unchanged_at = Instant::now();
            progress.marks = vec![Versioned { bytes, version }];
            progress.seen = None;
        }
        Ok(stored.is_some())
    }

    /// Ends the heartbeats. Returns what may lie under the key, the likeliest first. One heartbeat may arrive while these are
    /// being tried, so the likeliest is tried twice.
    fn finish(&self, end: End) -> Vec<Under> {
        let mut progress = lock(&self.progress);
        progress.end = Some(end);
        let mut under = progress.under();
        if progress.marks.len() > 1 {
            under.push(under[0].clone());
        }
        under
    }

    /// Puts `new` over the first of `seen` that is there, for `ttl` or longer.
    async fn replace_any(
        &self,
        seen: &[Under],
        new: &Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<Option<Version>, Error> {
        let ttl = ttl.map(|ttl| ttl.max(self.stays));
        for seen in seen {
            let stored = self.key.replace(seen, new, ttl, deadline, caller).await?;
            if stored.is_some() {
                return Ok(stored);
            }
        }
        Ok(None)
    }

    /// Sends a heartbeat; returns whether there will be another.
    async fn send_heartbeat(&self) -> bool {
        let Some(next) = self.next_heartbeat() else { return false };
        match self.put_mark(next, Caller::Blocking).await {
            Ok(true) => {}
            // Invalidated, overwritten or taken over. Storing the result will find the same.
            Ok(false) => return false,
            Err(error) => log::debug!("{}: a lease was not renewed: {error:?}", self.key.text_for_log()),
        }
        true
    }

    /// The next mark; `None` if the run is over, or has lost the key because too many heartbeats were lost.
    fn next_heartbeat(&self) -> Option<Marked> {
        let progress = lock(&self.progress);
        if progress.end.is_some() || progress.marks.len() > MAX_LOST_HEARTBEATS {
            return None;
        }
        let Marked { carrier, mark, pace } = progress.marked.clone()?;
        Some(Marked { carrier, mark: Mark { heartbeat: mark.heartbeat + 1, ..mark }, pace })
    }

    /// Leaves the key to other runs.
    async fn release(&self, end: End, caller: Caller) {
        let Some(Marked { carrier, mark, .. }) = lock(&self.progress).marked.clone() else { return };
        let holder = if end == End::Empty { mark.holder } else { NOBODY };
        lock(&self.progress).seen = None;
        let marks = self.finish(End::Done);
        let ended = Ended { generation: self.generation, holder };
        let Ok(released) = carrier.seal(&ended.mark(), &self.key) else { return };
        let deadline = Instant::now() + self.key.connected.timeout;
        let ttl = carrier.ttl(RELEASED, &self.key.clock);
        if let Err(error) = self.replace_any(&marks, &released, ttl, deadline, caller).await {
            log::debug!("{}: a lease is left to expire: {error:?}", self.key.text_for_log());
        }
    }
}
