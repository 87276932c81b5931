//! Leases: one run per key across processes and machines.
//!
//! # How
//!
//! The lease of a key lies under the key itself, where its entry will be: an entry without a value, or the old entry,
//! with a [`Mark`] in its header. Whoever finds no lease there puts one with `add` or `replace`, of which one of many
//! succeeds. While the body runs, the holder replaces the mark by one with a higher beat every [`BEAT`]; at the end it
//! replaces its last mark by the entry. What fences it off is what makes its result old: `invalidate` removes the mark,
//! `insert` overwrites it, `clear` voids the generation that it names. The last `replace` fails then, and the result
//! goes to those who wait in the holder's process only.
//!
//! Others read the key again from time to time. They take over when the mark has not changed for a [`LEASE`] by their
//! own clock, so clocks need not agree; the server drops a mark without a value after about that time too. A holder
//! whose run gave nothing to share leaves a mark of nobody for [`RELEASED`], which tells those who wait for it to run at
//! the same time, not one after another. A holder that panicked or was cancelled leaves one that the first to see it
//! takes.
//!
//! [`Watch`] decides, from marks and times alone; [`Lease`] is the holder's side. Who waits, and what else lies under
//! a key, is [`remote`](crate::remote)'s business.

pub(crate) mod acquire;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::common::background;
use crate::common::clock::{Clock, millis};
use crate::common::wait::{Io, block_on};
use crate::config::context::{Connected, lock};
use crate::error::Error;
use crate::remote::envelope::{self, Binding, Group as Token, HOLLOW, Header};
use crate::remote::generation::random_token;

/// How long a holder may be silent. A holder that is starved for longer loses the lease, and a body runs twice; one
/// that was killed is missed for as long.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Two beats may be lost.
const BEAT: Duration = Duration::from_millis(600);

/// How long the mark of a run without a result stays: several times the longest pause.
const RELEASED: Duration = Duration::from_secs(1);

/// How long a call inside a run waits for a run elsewhere. That may wait for the run the call is in: nobody sees
/// circles across processes, so no link of one holds for longer than this.
pub(crate) const NESTED: Duration = LEASE;

/// The pauses between two looks at the key, from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// Claims in a row that may be lost to others. They read what the winner wrote, so more show a backend that forgets
/// at once.
const LOST_CLAIMS: u32 = 20;

/// Beats in a row that may go without an answer: by then the server has dropped the mark.
const LOST_BEATS: usize = 4;

const NOBODY: Token = [0; 16];

/// What an entry's header says of its lease: the groups after the first, which is the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// A name that the holder gave itself for this run; [`NOBODY`] if it is gone.
    holder: Token,
    beat: u128,
    /// The holder before this one whose run gave nothing to share, or [`NOBODY`].
    ended: Token,
}

impl Mark {
    pub(crate) fn of(header: &Header) -> Option<Self> {
        match header.groups[..] {
            [_, holder, beat, ended] => Some(Self { holder, beat: u128::from_le_bytes(beat), ended }),
            _ => None,
        }
    }

    /// Whether the lease is the one of this name.
    pub(crate) fn is_of(&self, holder: Token) -> bool {
        self.holder == holder
    }

    fn groups(&self, generation: Token) -> [Token; 4] {
        [generation, self.holder, self.beat.to_le_bytes(), self.ended]
    }
}

/// What a call that would lead a run is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Put its own mark over what it read.
    Claim {
        /// For the new mark.
        ended: Token,
    },
    /// Run the body for the callers of this process, who don't wait for one another: the run it waited for gave
    /// nothing to share.
    Alone,
    /// Stop waiting: it took too long.
    Leave,
    /// Look again after this time.
    Wait(Duration),
}

/// What a call has seen of a key's lease so far.
pub(crate) struct Watch {
    started: Instant,
    until: Option<Instant>,
    /// The last mark, and when it was first seen.
    last: Option<(Mark, Instant)>,
    lost_claims: u32,
}

impl Watch {
    pub(crate) fn new(started: Instant, until: Option<Instant>) -> Self {
        Self { started, until, last: None, lost_claims: 0 }
    }

    /// Decides by the mark that was read at `now`; `None` if there is none of this generation.
    pub(crate) fn next(&mut self, mark: Option<Mark>, now: Instant) -> Next {
        let Some(mark) = mark else { return Next::Claim { ended: NOBODY } };
        if self.last.is_some_and(|(last, _)| last.holder == mark.ended) {
            return Next::Alone;
        }
        if mark.holder == NOBODY {
            return Next::Claim { ended: mark.ended };
        }
        if self.until.is_some_and(|until| until <= now) {
            return Next::Leave;
        }
        match self.last {
            Some((last, since)) if last == mark => {
                if now.saturating_duration_since(since) >= LEASE {
                    return Next::Claim { ended: mark.ended };
                }
            }
            _ => self.last = Some((mark, now)),
        }
        Next::Wait(self.pause(now))
    }

    /// How long to wait after a claim that another won.
    pub(crate) fn lost(&mut self, now: Instant) -> Next {
        self.lost_claims += 1;
        match self.lost_claims < LOST_CLAIMS {
            true => Next::Wait(self.pause(now)),
            false => Next::Leave,
        }
    }

    /// An eighth of the time so far: the answer comes that much late at the most, and long runs are asked for rarely.
    fn pause(&self, now: Instant) -> Duration {
        let pause = (now.saturating_duration_since(self.started) / 8).clamp(PAUSES.0, PAUSES.1);
        let left = self.until.map(|until| until.saturating_duration_since(now));
        left.map_or(pause, |left| pause.min(left))
    }
}

/// A key on a server, and what entries under it are bound to.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) connected: Arc<Connected>,
    pub(crate) text: String,
    pub(crate) shape: u64,
    pub(crate) codec: u8,
    pub(crate) clock: Clock,
}

impl Place {
    pub(crate) fn binding(&self) -> Binding<'_> {
        Binding { key: self.text.as_bytes(), shape: self.shape, codec: self.codec }
    }
}

/// What a mark rides on.
pub(crate) struct Carrier {
    header: Header,
    payload: Bytes,
    /// For how long after its lifetime the entry is kept on the server.
    grace: Duration,
}

impl Carrier {
    /// Nothing: who reads it has a miss.
    pub(crate) fn hollow(generation: Token, clock: &Clock) -> Self {
        let header = Header {
            flags: HOLLOW,
            created_ms: clock.unix_ms(),
            groups: [generation].into_iter().collect(),
            ..Header::default()
        };
        Self { header, payload: Bytes::new(), grace: Duration::ZERO }
    }

    /// An entry that is served while a newer one is made.
    pub(crate) fn entry(header: Header, payload: Bytes, grace: Duration) -> Self {
        Self { header, payload, grace }
    }

    /// Its bytes with `mark` on it.
    fn sealed(&self, mark: &Mark, place: &Place) -> Result<Bytes, Error> {
        let generation = self.header.groups.first().copied().unwrap_or_default();
        let header = Header { groups: mark.groups(generation).into_iter().collect(), ..self.header.clone() };
        let bytes = envelope::seal(&place.binding(), &header, self.payload.len(), |out| {
            out.extend_from_slice(&self.payload);
            Ok(())
        })?;
        Ok(bytes.into())
    }

    /// How long the server keeps it: for the entry's own time, and as long as the `mark` is to be seen.
    fn ttl(&self, mark: Duration, clock: &Clock) -> Option<Duration> {
        if self.header.is_hollow() {
            return Some(mark);
        }
        let end = self.header.fresh_until_ms?.saturating_add(millis(self.grace));
        Some(Duration::from_millis(end.saturating_sub(clock.unix_ms())).max(mark))
    }
}

/// The right to run the body for the whole cluster, and to store its result; given back when dropped.
pub(crate) struct Lease(Arc<Held>);

struct Held {
    place: Place,
    carrier: Carrier,
    first: Mark,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The marks that may lie on the server, the last one sent at the end: more than one while an answer is
    /// outstanding, or after it was lost.
    marks: Vec<Bytes>,
    beat: u128,
    /// What the run came to; beats end then.
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its result is stored, or another process's business.
    Done,
    /// It gave nothing to share.
    Empty,
}

impl Lease {
    /// Puts a mark over `old`, which is what the server holds as far as is known; `None` if it doesn't.
    pub(crate) async fn claim(
        place: Place,
        old: Option<&Bytes>,
        carrier: Carrier,
        ended: Token,
        io: Io,
    ) -> Result<Option<Self>, Error> {
        let first = Mark { holder: random_token(), beat: 0, ended };
        let bytes = carrier.sealed(&first, &place)?;
        let progress = Mutex::new(Progress { marks: vec![bytes.clone()], beat: 0, end: None });
        // Made before the answer is there: if that is lost, or not waited for, the mark must not stay.
        let lease = Self(Arc::new(Held { place, carrier, first, progress }));
        match lease.0.put(old, bytes, io).await {
            Ok(true) => {
                lease.beat();
                Ok(Some(lease))
            }
            Ok(false) => {
                lease.0.end(End::Done);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Its name: no other has the same.
    pub(crate) fn holder(&self) -> Token {
        self.0.first.holder
    }

    /// Whether the backend can replace at all.
    pub(crate) async fn is_possible(place: &Place, io: Io) -> Result<(), Error> {
        let nobodys = Bytes::copy_from_slice(&random_token());
        let deadline = Instant::now() + place.connected.timeout;
        let backend = place.connected.of(io);
        backend
            .replace(place.text.as_bytes(), &nobodys, nobodys.clone(), Some(LEASE), deadline)
            .await
            .map(drop)
    }

    /// Renews the mark from now on.
    fn beat(&self) {
        let held = Arc::downgrade(&self.0);
        background::schedule(BEAT, move || {
            let held = held.upgrade()?;
            block_on(pin!(held.renew())).then_some(BEAT)
        });
    }

    /// Replaces the mark by `entry`; `false` if it is no more there, so that the result is of no use to others.
    pub(crate) async fn store(
        &self,
        entry: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        io: Io,
    ) -> Result<bool, Error> {
        let stored = self.0.replace(&self.0.end(End::Empty), &entry, ttl, deadline, io).await?;
        self.0.end(End::Done);
        Ok(stored)
    }

    /// Notes that the run gave nothing to share.
    pub(crate) fn end_empty(&self) {
        self.0.end(End::Empty);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let end = lock(&self.0.progress).end;
        if end == Some(End::Done) {
            return;
        }
        // Off the caller's path, which may be a panic or the end of a task.
        let held = self.0.clone();
        background::schedule(Duration::ZERO, move || {
            block_on(pin!(held.release(end)));
            None
        });
    }
}

impl Held {
    async fn put(&self, old: Option<&Bytes>, mark: Bytes, io: Io) -> Result<bool, Error> {
        let (backend, key) = (self.place.connected.of(io), self.place.text.as_bytes());
        let deadline = Instant::now() + self.place.connected.timeout;
        let ttl = self.carrier.ttl(LEASE, &self.place.clock);
        match old {
            None => backend.add(key, mark, ttl, deadline).await,
            Some(old) => backend.replace(key, old, mark, ttl, deadline).await,
        }
    }

    /// Ends the beats; the marks that may lie under the key, the likeliest first. A beat may arrive between the
    /// questions for them, hence the last one, twice.
    fn end(&self, end: End) -> Vec<Bytes> {
        let mut progress = lock(&self.progress);
        progress.end = Some(end);
        let mut marks: Vec<Bytes> = progress.marks.iter().rev().cloned().collect();
        if marks.len() > 1 {
            marks.push(marks[0].clone());
        }
        marks
    }

    /// Puts `new` over the first of `marks` that is there.
    async fn replace(
        &self,
        marks: &[Bytes],
        new: &Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        io: Io,
    ) -> Result<bool, Error> {
        let backend = self.place.connected.of(io);
        for mark in marks {
            if backend.replace(self.place.text.as_bytes(), mark, new.clone(), ttl, deadline).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One beat; whether there will be more.
    async fn renew(&self) -> bool {
        let Some((before, next)) = self.next_beat() else { return false };
        let deadline = Instant::now() + self.place.connected.timeout.min(BEAT);
        let ttl = self.carrier.ttl(LEASE, &self.place.clock);
        match self.replace(&before, &next, ttl, deadline, Io::Blocking).await {
            Ok(true) => lock(&self.progress).marks = vec![next],
            // Taken away: invalidated, overwritten or taken over. The store will find the same.
            Ok(false) => return false,
            Err(error) => log::debug!("{}: a lease is not renewed: {error:?}", self.place.text),
        }
        true
    }

    /// The marks that may lie there, the likeliest first, and the one that follows them; `None` if the run is over, or
    /// has lost its lease because nothing was heard for too long.
    fn next_beat(&self) -> Option<(Vec<Bytes>, Bytes)> {
        let mut progress = lock(&self.progress);
        if progress.end.is_some() || progress.marks.len() > LOST_BEATS {
            return None;
        }
        progress.beat += 1;
        let next = self.carrier.sealed(&Mark { beat: progress.beat, ..self.first }, &self.place).ok()?;
        let before = progress.marks.iter().rev().cloned().collect();
        progress.marks.push(next.clone());
        Some((before, next))
    }

    /// Leaves the key to others.
    async fn release(&self, end: Option<End>) {
        let ended = if end == Some(End::Empty) { self.first.holder } else { NOBODY };
        let marks = self.end(End::Done);
        let Ok(nobodys) = self.carrier.sealed(&Mark { holder: NOBODY, beat: 0, ended }, &self.place) else {
            return;
        };
        let deadline = Instant::now() + self.place.connected.timeout;
        let ttl = self.carrier.ttl(RELEASED, &self.place.clock);
        if let Err(error) = self.replace(&marks, &nobodys, ttl, deadline, Io::Blocking).await {
            log::debug!("{}: a lease is left to expire: {error:?}", self.place.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(holder: u8, beat: u128) -> Mark {
        Mark { holder: [holder; 16], beat, ended: NOBODY }
    }

    fn ended(holder: u8, before: u8) -> Mark {
        Mark { ended: [before; 16], ..mark(holder, 0) }
    }

    const CLAIM: Next = Next::Claim { ended: NOBODY };

    fn waits(next: &Next) -> bool {
        matches!(next, Next::Wait(_))
    }

    #[test]
    fn what_nobody_holds_is_claimed() {
        let now = Instant::now();
        let mut watch = Watch::new(now, None);
        assert_eq!(watch.next(None, now), CLAIM);
        assert_eq!(watch.next(Some(mark(0, 7)), now), CLAIM);
        assert_eq!(
            watch.next(Some(ended(0, 1)), now),
            Next::Claim { ended: [1; 16] },
            "it waited for nobody"
        );
    }

    #[test]
    fn a_holder_that_beats_is_waited_for_and_a_silent_one_is_not() {
        let start = Instant::now();
        let mut watch = Watch::new(start, None);
        for beat in 0..100 {
            let now = start + BEAT * u32::try_from(beat).unwrap();
            assert!(waits(&watch.next(Some(mark(1, beat)), now)));
        }
        let last = start + BEAT * 99;
        assert!(waits(&watch.next(Some(mark(1, 99)), last + LEASE - Duration::from_millis(1))));
        assert_eq!(watch.next(Some(mark(1, 99)), last + LEASE), CLAIM);
        assert!(waits(&watch.next(Some(mark(2, 0)), last + LEASE)), "another was faster");
    }

    #[test]
    fn when_a_run_gives_nothing_those_who_waited_for_it_run_at_the_same_time() {
        let now = Instant::now();
        for seen in [ended(0, 1), ended(2, 1)] {
            let mut watch = Watch::new(now, None);
            assert!(waits(&watch.next(Some(mark(1, 0)), now)));
            assert_eq!(watch.next(Some(seen), now), Next::Alone);
            let mut other = Watch::new(now, None);
            assert!(waits(&other.next(Some(mark(3, 0)), now)));
            assert_ne!(other.next(Some(seen), now), Next::Alone);
        }
    }

    #[test]
    fn waiting_ends_when_asked() {
        let start = Instant::now();
        let until = start + Duration::from_secs(1);
        let mut watch = Watch::new(start, Some(until));
        assert!(waits(&watch.next(Some(mark(1, 0)), start)));
        let just_before = until - Duration::from_millis(3);
        assert_eq!(watch.next(Some(mark(1, 1)), just_before), Next::Wait(Duration::from_millis(3)));
        assert_eq!(watch.next(Some(mark(1, 1)), until), Next::Leave);
        assert_eq!(watch.next(None, until), CLAIM, "no need to leave");
    }

    #[test]
    fn pauses_grow() {
        let start = Instant::now();
        let mut watch = Watch::new(start, None);
        for (beat, (waited, pause)) in (0..).zip([(0, 2), (80, 10), (400, 50), (100_000, 50)]) {
            let now = start + Duration::from_millis(waited);
            assert_eq!(watch.next(Some(mark(1, beat)), now), Next::Wait(Duration::from_millis(pause)));
        }
    }

    #[test]
    fn claims_are_not_lost_for_ever() {
        let now = Instant::now();
        let mut watch = Watch::new(now, None);
        let waited = (0..100).take_while(|_| waits(&watch.lost(now))).count();
        assert_eq!(waited, 19);
    }

    #[test]
    fn a_mark_is_what_is_read() {
        let mark = Mark { holder: [1; 16], beat: 5, ended: [2; 16] };
        let header = Header { groups: mark.groups([9; 16]).into_iter().collect(), ..Header::default() };
        assert_eq!(Mark::of(&header), Some(mark));
        assert_eq!(Mark::of(&Header { groups: [[9; 16]].into_iter().collect(), ..header }), None);
    }

    #[test]
    fn an_entry_under_a_lease_stays_for_its_own_time() {
        let clock = Clock::manual();
        let grace = Duration::from_secs(60);
        let ends = |in_ms| Header { fresh_until_ms: Some(clock.unix_ms() + in_ms), ..Header::default() };
        let ttl = |header| Carrier::entry(header, Bytes::new(), grace).ttl(LEASE, &clock);
        assert_eq!(ttl(Header::default()), None);
        assert_eq!(ttl(ends(5_000)), Some(Duration::from_secs(65)));
        let stale = ends(0);
        clock.advance(Duration::from_secs(20));
        assert_eq!(ttl(stale.clone()), Some(Duration::from_secs(40)));
        clock.advance(Duration::from_secs(39));
        assert_eq!(ttl(stale), Some(LEASE), "the mark has to be seen");
    }
}
