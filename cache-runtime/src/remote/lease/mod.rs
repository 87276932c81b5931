//! Leases: one run per key across processes and machines.
//!
//! # How
//!
//! A lease is a [`claim`] with a mark on the server before the run begins. It lies under the key itself, where the entry
//! will be: a hollow entry, or the old entry, with a [`Mark`] in its header. A process that finds no lease there puts one
//! with `add` or `compare_and_set`, of which only one of many succeeds. While the body runs, the holder replaces the mark
//! by one with a higher heartbeat every [`HEARTBEAT`], and at the end it replaces its last mark by the entry. Everything
//! that makes its result old also fences it off: `invalidate` and `insert` overwrite the mark, and `clear` voids the
//! generation that it names. Then the last `compare_and_set` fails, and the result goes only to the waiters in the
//! holder's process.
//!
//! Other processes read the key from time to time. They take over when the mark has not changed for a [`LEASE`] by their
//! own clock, so clocks need not agree; the server drops a hollow mark after about that time too. A holder whose run had
//! nothing to share leaves a mark without a holder for [`RELEASED`], which tells its waiters to run at the same time
//! instead of one after another. A holder that panicked or was canceled leaves one that the first process to see it takes.
//!
//! [`Watch`] decides, from marks and times alone. [`claim`] is the holder's side, and [`acquire`] reads, waits and claims.

pub(super) mod acquire;
pub(super) mod claim;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::envelope::{Header, Token};
use super::generation::random_token;
use super::invalidations::VOID_FOR;
use crate::freshness::Found;

/// How long a holder may be silent. A holder that is starved for longer loses the lease, and a body runs twice; one that was
/// killed is missed for as long.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// The interval between heartbeats. Two in a row may be lost.
const HEARTBEAT: Duration = Duration::from_millis(600);

/// How long a mark stays on the server without another heartbeat, and how often one is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    ttl: Duration,
    heartbeat: Duration,
}

impl Pace {
    /// For a lease. Other processes wait for its holder, and must notice soon when it is gone.
    pub(super) const LEASE: Self = Self { ttl: LEASE, heartbeat: HEARTBEAT };

    /// For a mark that nobody waits for.
    pub(super) const UNWATCHED: Self = Self { ttl: VOID_FOR, heartbeat: Duration::from_millis(2_500) };
}

/// How long the mark of a run without a result stays: several times the longest pause.
const RELEASED: Duration = Duration::from_secs(1);

/// How long a call inside a run waits for a run elsewhere, which may be waiting for the run that the call is in. Nobody sees
/// circles across processes, so no link of one holds for longer than this.
pub(crate) const NESTED: Duration = LEASE;

/// The first and the longest pause between two looks at the key.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// The most claims that may fail in a row. Each failure means that another process won and wrote its mark, so more of them
/// mean that the backend forgets at once.
const MAX_LOST_CLAIMS: u32 = 20;

/// The most heartbeats in a row that may go without an answer. By then the server has dropped the mark.
const MAX_LOST_HEARTBEATS: usize = 4;

const NOBODY: Token = [0; 16];

/// How a call that leads in its process goes on in the cluster.
pub(crate) enum Lead {
    /// Run the body for all: the ticket has a lease.
    Run,
    /// Run the body for this process: there are no leases.
    InProcess,
    /// Take the result of a run elsewhere.
    Answer(Found),
    /// Run the body for this call only, like every waiter: the run elsewhere had nothing to share.
    Alone,
    /// Leave the lead to other waiters: this call has waited long enough.
    Leave,
}

/// What an entry's header says of its lease: the groups after the first, which is the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The name that the holder chose for this run; [`NOBODY`] if it is gone.
    holder: Token,
    heartbeat: u128,
    /// The previous holder whose run had nothing to share, or [`NOBODY`].
    ended: Token,
}

impl Mark {
    pub(super) fn of(header: &Header) -> Option<Self> {
        match header.groups[..] {
            [_, holder, heartbeat, ended] => {
                Some(Self { holder, heartbeat: u128::from_le_bytes(heartbeat), ended })
            }
            _ => None,
        }
    }

    pub(super) fn groups(&self, generation: Token) -> [Token; 4] {
        [generation, self.holder, self.heartbeat.to_le_bytes(), self.ended]
    }
}

/// A run that has ended without a result to share, for the mark that says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) generation: Token,
    holder: Token,
}

impl Ended {
    /// A mark without a holder that no other has.
    pub(super) fn mark(self) -> Mark {
        Mark { holder: NOBODY, heartbeat: u128::from_le_bytes(random_token()), ended: self.holder }
    }
}

/// What a call that wants to lead does next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Put its own mark over what it read.
    Claim {
        /// For the new mark.
        ended: Token,
    },
    /// Run the body for this process, whose waiters run at the same time: the run it waited for had nothing to share.
    Alone,
    /// Stop waiting: it took too long.
    Leave,
    /// Look again after this time.
    Wait(Duration),
}

/// What a call has seen of a key's lease so far.
struct Watch {
    started: Instant,
    until: Option<Instant>,
    /// The last mark, and when it was first seen.
    last: Option<(Mark, Instant)>,
    lost_claims: u32,
}

impl Watch {
    fn new(started: Instant, until: Option<Instant>) -> Self {
        Self { started, until, last: None, lost_claims: 0 }
    }

    /// Decides by the mark that was read at `now`; `None` if there is none of this generation.
    fn step(&mut self, mark: Option<Mark>, now: Instant) -> Step {
        let Some(mark) = mark else { return Step::Claim { ended: NOBODY } };
        if self.last.is_some_and(|(last, _)| last.holder == mark.ended) {
            return Step::Alone;
        }
        if mark.holder == NOBODY {
            return Step::Claim { ended: mark.ended };
        }
        if self.until.is_some_and(|until| until <= now) {
            return Step::Leave;
        }
        match self.last {
            Some((last, since)) if last == mark => {
                if now.saturating_duration_since(since) >= LEASE {
                    return Step::Claim { ended: mark.ended };
                }
            }
            _ => self.last = Some((mark, now)),
        }
        Step::Wait(self.pause(now))
    }

    /// What to do after a claim that another process won.
    fn claim_lost(&mut self, now: Instant) -> Step {
        self.lost_claims += 1;
        if self.lost_claims < MAX_LOST_CLAIMS { Step::Wait(self.pause(now)) } else { Step::Leave }
    }

    /// An eighth of the time so far, so an answer is noticed at most that much late, and long runs are asked about rarely.
    fn pause(&self, now: Instant) -> Duration {
        let pause = (now.saturating_duration_since(self.started) / 8).clamp(PAUSES.0, PAUSES.1);
        let left = self.until.map(|until| until.saturating_duration_since(now));
        left.map_or(pause, |left| pause.min(left))
    }
}
