//! Removals that a server has not taken yet: delivered in the background, and kept from being served until then.
//!
//! A removal is owed from the moment it is asked for. If the server takes it at once that is all; if it doesn't, or
//! the caller gives up, it is late, and is tried again until it is taken. Too many late ones become one clear.
//!
//! All that is ever sent are deletions, of entries and of the generation's token: they may arrive twice, late and in any
//! order, and nothing that was void becomes valid by that.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::background;
use crate::common::clock::{Clock, nanos};
use crate::common::wait::{Io, block_on};
use crate::config::context::{Connected, lock};
use crate::error::Error;
use crate::remote::envelope::Group as Token;
use crate::remote::generation::Generation;

/// The pause between two deliveries. While the breaker is open one costs next to nothing.
const PAUSE: Duration = Duration::from_millis(250);

/// Late removals that are remembered one by one.
const MAX_LATE: usize = 1024;

/// How long a removal is tried: entries that have no lifetime would be owed for ever.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// What one function owes to its server.
pub(crate) struct Owed {
    connected: Arc<Connected>,
    clock: Clock,
    pub(crate) generation: Generation,
    generation_key: String,
    /// Whether single removals are owed: while none is, no call takes the lock.
    has_removals: AtomicBool,
    debts: Mutex<Debts>,
}

#[derive(Default)]
struct Debts {
    /// By key on the server.
    removals: HashMap<Vec<u8>, Removal>,
    /// How many of them are late.
    late: usize,
    removals_ever: u64,
    is_scheduled: bool,
}

/// The latest removal of a key.
struct Removal {
    number: u64,
    /// When it is given up.
    until: u64,
    is_late: bool,
}

/// A removal on its way. Dropped while it is still owed, it is delivered in the background.
#[must_use]
pub(crate) struct Debt {
    owed: Arc<Owed>,
    what: What,
}

enum What {
    Entry { key: Vec<u8>, number: u64 },
    Generation(Token),
}

impl Owed {
    pub(crate) fn new(connected: Arc<Connected>, clock: Clock, generation_key: String) -> Self {
        Self {
            connected,
            clock,
            generation: Generation::default(),
            generation_key,
            has_removals: AtomicBool::new(false),
            debts: Mutex::default(),
        }
    }

    /// The entry under `key` is to go.
    pub(crate) fn removal(self: &Arc<Self>, key: Vec<u8>) -> Debt {
        let until = self.clock.monotonic().saturating_add(nanos(PATIENCE));
        let number = self.change(|debts| {
            debts.remove(&key, |_| true);
            debts.removals_ever += 1;
            let number = debts.removals_ever;
            debts.removals.insert(key.clone(), Removal { number, until, is_late: false });
            number
        });
        Debt { owed: self.clone(), what: What::Entry { key, number } }
    }

    /// All entries are to go, and with them those whose removal is owed.
    pub(crate) fn clear(self: &Arc<Self>) -> Debt {
        let what = What::Generation(self.generation.begin());
        self.change(Debts::clear);
        Debt { owed: self.clone(), what }
    }

    /// Whether the entry under `key` is to go, so that it must not be served.
    #[inline]
    pub(crate) fn has_removal(&self, key: &[u8]) -> bool {
        self.has_removals.load(Ordering::Acquire) && lock(&self.debts).removals.contains_key(key)
    }

    /// The number of the latest removal.
    pub(crate) fn latest(&self) -> u64 {
        if self.has_removals.load(Ordering::Acquire) { lock(&self.debts).removals_ever } else { 0 }
    }

    /// What was under `key` has been replaced, as far as removals go up to the number `since`.
    pub(crate) fn replaced(&self, key: &[u8], since: u64) {
        if self.has_removals.load(Ordering::Acquire) {
            self.change(|debts| debts.remove(key, |removal| removal.number <= since));
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Debts) -> T) -> T {
        let mut debts = lock(&self.debts);
        let changed = change(&mut debts);
        self.has_removals.store(!debts.removals.is_empty(), Ordering::Release);
        changed
    }

    async fn settle(&self, what: &What, io: Io) -> Result<(), Error> {
        let (backend, deadline) = (self.connected.of(io), Instant::now() + self.connected.timeout);
        match what {
            What::Entry { key, number } => {
                backend.delete(key, deadline).await?;
                self.change(|debts| debts.remove(key, |removal| removal.number == *number));
            }
            What::Generation(token) => {
                backend.delete(self.generation_key.as_bytes(), deadline).await?;
                self.generation.told(*token);
            }
        }
        Ok(())
    }

    /// Notes that `what` has not been taken at once, if it hasn't.
    fn is_late(self: &Arc<Self>, what: &What) -> bool {
        let (is_late, are_too_many) = match what {
            What::Generation(token) => (self.generation.owed() == Some(*token), false),
            What::Entry { key, number } => self.change(|debts| debts.is_late(key, *number)),
        };
        if are_too_many {
            drop(self.clear());
        }
        is_late
    }

    fn schedule(self: &Arc<Self>) {
        let mut debts = lock(&self.debts);
        if !debts.is_scheduled {
            let owed = Arc::downgrade(self);
            debts.is_scheduled = background::schedule(Duration::ZERO, move || owed.upgrade()?.deliver());
        }
    }

    /// Tries to deliver what is owed; returns the pause until it is tried again.
    fn deliver(&self) -> Option<Duration> {
        let started = Instant::now();
        for what in self.all() {
            // An error says that it stays owed. One budget is all that others wait for.
            let _ = block_on(pin!(self.settle(&what, Io::Blocking)));
            if started.elapsed() >= self.connected.timeout {
                break;
            }
        }
        let mut debts = lock(&self.debts);
        debts.is_scheduled = debts.late > 0 || self.generation.owed().is_some();
        debts.is_scheduled.then_some(PAUSE)
    }

    fn all(&self) -> Vec<What> {
        let now = self.clock.monotonic();
        let generation = self.generation.owed().map(What::Generation);
        let entries = self.change(|debts| debts.due(now));
        generation.into_iter().chain(entries).collect()
    }
}

impl Debts {
    /// Removes the removal of `key`, if it is as `is_it` says.
    fn remove(&mut self, key: &[u8], is_it: impl FnOnce(&Removal) -> bool) {
        if self.removals.get(key).is_some_and(is_it)
            && let Some(removal) = self.removals.remove(key)
        {
            self.late -= usize::from(removal.is_late);
        }
    }

    fn clear(&mut self) {
        self.removals.clear();
        self.late = 0;
    }

    /// Notes that the removal of this number is late; returns whether there is one, and whether too many are.
    fn is_late(&mut self, key: &[u8], number: u64) -> (bool, bool) {
        let Some(removal) = self.removals.get_mut(key).filter(|removal| removal.number == number) else {
            return (false, false);
        };
        removal.is_late = true;
        self.late += 1;
        (true, self.late > MAX_LATE)
    }

    /// What is late and not given up.
    fn due(&mut self, now: u64) -> Vec<What> {
        self.removals.retain(|_, removal| now < removal.until || !removal.is_late);
        let late = || self.removals.iter().filter(|(_, removal)| removal.is_late);
        self.late = late().count();
        late().map(|(key, removal)| What::Entry { key: key.clone(), number: removal.number }).collect()
    }
}

impl Debt {
    /// Asks the server for the removal.
    pub(crate) async fn pay(self, io: Io) -> Result<(), Error> {
        self.owed.settle(&self.what, io).await
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if self.owed.is_late(&self.what) {
            self.owed.schedule();
        }
    }
}
