//! Invalidations that a server has not taken yet. They are delivered in the background, and what they void is not served
//! until then.
//!
//! An invalidation is pending from the moment it is asked for. If the server takes it at once, that is all. If it doesn't,
//! or the caller gives up, it is overdue, and is sent again until the server takes it. Too many overdue invalidations
//! become one clear.
//!
//! An invalidation of one entry overwrites it with a mark: a hollow entry with random bytes that stays for [`VOID_FOR`].
//! A run that began earlier, in any process, finds other bytes than its look-up saw, and doesn't store its result. An
//! invalidation of all entries deletes the generation token. Both may arrive twice, late and in any order, and nothing that
//! was void becomes valid by that.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::envelope::{self, HOLLOW, Header, Token};
use super::form::Form;
use super::generation::{Generation, random_token};
use super::lease::Ended;
use crate::backend::connected::Connected;
use crate::backend::{Condition, Request, SetOptions, Versioned};
use crate::common::background;
use crate::common::clock::{Clock, nanos};
use crate::common::sync::lock;
use crate::common::wait::{Caller, block_on};
use crate::error::{Error, ErrorKind};

/// The pause between two attempts. While the breaker is open, an attempt costs next to nothing.
const PAUSE: Duration = Duration::from_millis(250);

/// The most overdue invalidations that are kept one by one.
const MAX_OVERDUE: usize = 1024;

/// How long an invalidation is retried. Otherwise those of entries without a lifetime would be pending forever.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the server keeps the mark of an invalidation. A run that began before the invalidation and is still under way
/// by then has a mark of its own, which the invalidation has overwritten.
pub(crate) const VOID_FOR: Duration = Duration::from_secs(10);

/// The invalidations of one function, of one group of its keys.
pub(crate) struct PendingInvalidations {
    pub(super) connected: Arc<Connected>,
    clock: Clock,
    pub(crate) generation: Generation,
    pub(super) generation_key: String,
    /// Whether invalidations of single entries are pending. While none is, no call takes the lock.
    has_any: AtomicBool,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    /// The latest invalidation of each key on the server.
    by_key: HashMap<Arc<[u8]>, Entry>,
    /// How many of them are overdue.
    overdue: usize,
    /// How many there have been so far.
    total: u64,
    is_scheduled: bool,
}

struct Entry {
    number: u64,
    form: Option<Arc<Form>>,
    ended: Option<Ended>,
    /// When it is given up.
    until: u64,
    is_overdue: bool,
}

/// An invalidation on its way. If it is dropped while it is still pending, it is delivered in the background.
#[must_use]
pub(crate) struct Invalidation {
    pending: Arc<PendingInvalidations>,
    target: Target,
}

enum Target {
    Entry {
        key: Arc<[u8]>,
        number: u64,
        /// `None` for an entry of the plain cache, which is deleted instead of marked: `add` must find nothing there.
        form: Option<Arc<Form>>,
        ended: Option<Ended>,
    },
    /// All entries: a clear that began with this token.
    Generation(Token),
}

impl PendingInvalidations {
    pub(crate) fn new(connected: Arc<Connected>, clock: Clock, generation_key: String) -> Self {
        Self {
            connected,
            generation: Generation::new(clock.clone()),
            clock,
            generation_key,
            has_any: AtomicBool::new(false),
            pending: Mutex::default(),
        }
    }

    /// Begins the invalidation of the entry under `key`. Its mark tells of the run that has `ended`, if one has.
    pub(super) fn remove(
        self: &Arc<Self>,
        key: Arc<[u8]>,
        form: Option<Arc<Form>>,
        ended: Option<Ended>,
    ) -> Invalidation {
        let until = self.clock.monotonic().saturating_add(nanos(GIVE_UP_AFTER));
        let number = self.change(|pending| {
            pending.drop_if(&key, |_| true);
            pending.total += 1;
            let number = pending.total;
            let entry = Entry { number, form: form.clone(), ended, until, is_overdue: false };
            pending.by_key.insert(key.clone(), entry);
            number
        });
        Invalidation { pending: self.clone(), target: Target::Entry { key, number, form, ended } }
    }

    /// Begins the invalidation of all entries, which includes those that are pending.
    pub(crate) fn clear(self: &Arc<Self>) -> Invalidation {
        let target = Target::Generation(self.generation.begin_clear());
        self.change(Pending::clear);
        Invalidation { pending: self.clone(), target }
    }

    /// Whether the entry under `key` must not be served.
    #[inline]
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.has_any.load(Ordering::Acquire) && lock(&self.pending).by_key.contains_key(key)
    }

    /// Whether anything is still to be delivered.
    pub(super) fn is_pending(&self) -> bool {
        self.has_any.load(Ordering::Acquire) || self.generation.pending().is_some()
    }

    /// The number of the latest invalidation.
    pub(crate) fn latest(&self) -> u64 {
        if self.has_any.load(Ordering::Acquire) { lock(&self.pending).total } else { 0 }
    }

    /// The entry under `key` has been replaced, which settles its invalidation up to the number `since`.
    pub(crate) fn replaced(&self, key: &[u8], since: u64) {
        if self.has_any.load(Ordering::Acquire) {
            self.change(|pending| pending.drop_if(key, |entry| entry.number <= since));
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Pending) -> T) -> T {
        let mut pending = lock(&self.pending);
        let changed = change(&mut pending);
        self.has_any.store(!pending.by_key.is_empty(), Ordering::Release);
        changed
    }

    async fn send(&self, target: &Target, caller: Caller) -> Result<(), Error> {
        let deadline = Instant::now() + self.connected.timeout;
        match target {
            Target::Entry { key, number, form, ended } => {
                match form {
                    Some(form) => self.put_mark(key, form, *ended, deadline, caller).await?,
                    None => _ = self.connected.delete(key, deadline, caller).await?,
                }
                self.change(|pending| pending.drop_if(key, |entry| entry.number == *number));
            }
            Target::Generation(token) => {
                let key = self.generation_key.as_bytes();
                // Read first, so that it is known again if the server brings it back.
                let removed = self.connected.get(key, deadline, caller).await?;
                self.connected.delete(key, deadline, caller).await?;
                self.cleared(*token, removed);
            }
        }
        Ok(())
    }

    /// The clear that began with `token` has removed what was there until then.
    fn cleared(&self, token: Token, removed: Option<Versioned>) {
        let removed = removed.and_then(|removed| Token::try_from(&*removed.bytes).ok());
        self.generation.cleared(token, removed);
    }

    /// Overwrites the entry under `key` with a mark that nothing had before.
    async fn put_mark(
        &self,
        key: &[u8],
        form: &Form,
        ended: Option<Ended>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<(), Error> {
        let groups = match ended {
            Some(ended) => ended.mark().groups(ended.generation).into_iter().collect(),
            None => [random_token()].into(),
        };
        let created_ms = self.clock.unix_ms();
        let header = Header { flags: HOLLOW, created_ms, groups, ..Header::default() };
        let mark = envelope::seal(&form.binding(key), &header, 0, |_| Ok(()))?.into();
        match self
            .connected
            .set(key, mark, SetOptions::new().ttl(VOID_FOR), Condition::Always, deadline, caller)
            .await
        {
            // A server whose memory is full takes no mark, and no result that is older than it either.
            Err(error) if error.kind() == ErrorKind::Server => {
                self.connected.delete(key, deadline, caller).await.map(drop)
            }
            result => result.map(drop),
        }
    }

    /// Marks `target` as overdue if it is still pending; returns whether it is.
    fn mark_overdue(self: &Arc<Self>, target: &Target) -> bool {
        let (is_overdue, are_too_many) = match target {
            Target::Generation(token) => (self.generation.pending() == Some(*token), false),
            Target::Entry { key, number, .. } => self.change(|pending| pending.mark_overdue(key, *number)),
        };
        if are_too_many {
            drop(self.clear());
        }
        is_overdue
    }

    fn schedule(self: &Arc<Self>) {
        let mut pending = lock(&self.pending);
        if !pending.is_scheduled {
            let weak = Arc::downgrade(self);
            pending.is_scheduled = background::schedule(Duration::ZERO, move || weak.upgrade()?.deliver());
        }
    }

    /// Tries to deliver what is overdue. Returns the pause until the next attempt.
    fn deliver(&self) -> Option<Duration> {
        let started = Instant::now();
        for target in self.overdue() {
            // After an error it stays pending. Other background work waits for one budget at most.
            let _ = block_on(pin!(self.send(&target, Caller::Blocking)));
            if started.elapsed() >= self.connected.timeout {
                break;
            }
        }
        let mut pending = lock(&self.pending);
        pending.is_scheduled = pending.overdue > 0 || self.generation.pending().is_some();
        pending.is_scheduled.then_some(PAUSE)
    }

    fn overdue(&self) -> Vec<Target> {
        let now = self.clock.monotonic();
        let generation = self.generation.pending().map(Target::Generation);
        let entries = self.change(|pending| pending.overdue(now));
        generation.into_iter().chain(entries).collect()
    }
}

impl Pending {
    /// Drops the pending invalidation of `key` if `matches` accepts it.
    fn drop_if(&mut self, key: &[u8], matches: impl FnOnce(&Entry) -> bool) {
        if self.by_key.get(key).is_some_and(matches)
            && let Some(entry) = self.by_key.remove(key)
        {
            self.overdue -= usize::from(entry.is_overdue);
        }
    }

    fn clear(&mut self) {
        self.by_key.clear();
        self.overdue = 0;
    }

    /// Marks the invalidation of this number as overdue. Returns whether it is pending, and whether too many are overdue.
    fn mark_overdue(&mut self, key: &[u8], number: u64) -> (bool, bool) {
        let Some(entry) = self.by_key.get_mut(key).filter(|entry| entry.number == number) else {
            return (false, false);
        };
        entry.is_overdue = true;
        self.overdue += 1;
        (true, self.overdue > MAX_OVERDUE)
    }

    /// What is overdue and not given up.
    fn overdue(&mut self, now: u64) -> Vec<Target> {
        self.by_key.retain(|_, entry| now < entry.until || !entry.is_overdue);
        let overdue = || self.by_key.iter().filter(|(_, entry)| entry.is_overdue);
        self.overdue = overdue().count();
        let target = |(key, entry): (&Arc<[u8]>, &Entry)| {
            let Entry { number, form, ended, .. } = entry;
            Target::Entry { key: key.clone(), number: *number, form: form.clone(), ended: *ended }
        };
        overdue().map(target).collect()
    }
}

impl Invalidation {
    /// Sends the invalidation to the server.
    pub(crate) async fn send(self, caller: Caller) -> Result<(), Error> {
        self.pending.send(&self.target, caller).await
    }
}

/// Sends the clears of all groups of a function, in as many round trips as for one.
pub(super) async fn send_clears(mut clears: Vec<Invalidation>, caller: Caller) -> Result<(), Error> {
    if clears.len() == 1
        && let Some(only) = clears.pop()
    {
        return only.send(caller).await;
    }
    let Some(first) = clears.first() else { return Ok(()) };
    let (connected, deadline) = (&first.pending.connected, Instant::now() + first.pending.connected.timeout);
    let keys: Vec<&[u8]> = clears.iter().map(|clear| clear.pending.generation_key.as_bytes()).collect();
    let removed = connected.get_many(&keys, deadline, caller).await?;
    connected.call(Request::DeleteMany(&keys), deadline, caller).await?.count()?;
    for (clear, removed) in clears.iter().zip(removed) {
        if let Target::Generation(token) = &clear.target {
            clear.pending.cleared(*token, removed);
        }
    }
    Ok(())
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        if self.pending.mark_overdue(&self.target) {
            self.pending.schedule();
        }
    }
}
