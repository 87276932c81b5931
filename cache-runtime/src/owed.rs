//! Removals that a server has not taken yet: delivered in the background, and kept from being served until then.
//!
//! A removal is owed from the moment it is asked for. If the server takes it at once that is all; if it doesn't, or
//! the caller gives up, it is tried again until it is taken. Too many at once become one clear.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::background;
use crate::clock::{Clock, nanos};
use crate::context::{Connected, lock};
use crate::entry::Group as Token;
use crate::error::Error;
use crate::generation::Generation;
use crate::io::{Io, block_on};

/// The pause between two deliveries. While the breaker is open one costs next to nothing.
const PAUSE: Duration = Duration::from_millis(250);

/// Removals that are remembered one by one.
const MAX_REMOVALS: usize = 1024;

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
    removals: Removals,
    removals_ever: u64,
    is_scheduled: bool,
}

/// By key on the server: the number of the latest removal, and when it is given up.
type Removals = HashMap<Vec<u8>, (u64, u64)>;

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
        let mut debts = lock(&self.debts);
        if debts.removals.len() >= MAX_REMOVALS && !debts.removals.contains_key(&key) {
            drop(debts);
            drop(self.clear());
            debts = lock(&self.debts);
        }
        debts.removals_ever += 1;
        let number = debts.removals_ever;
        let until = self.clock.monotonic().saturating_add(nanos(PATIENCE));
        debts.removals.insert(key.clone(), (number, until));
        self.has_removals.store(true, Ordering::Release);
        Debt { owed: self.clone(), what: What::Entry { key, number } }
    }

    /// All entries are to go, and with them those whose removal is owed.
    pub(crate) fn clear(self: &Arc<Self>) -> Debt {
        let what = What::Generation(self.generation.begin());
        self.change(HashMap::clear);
        Debt { owed: self.clone(), what }
    }

    /// Whether the entry under `key` is to go, so that it must not be served.
    #[inline]
    pub(crate) fn has_removal(&self, key: &[u8]) -> bool {
        self.has_removals.load(Ordering::Acquire) && lock(&self.debts).removals.contains_key(key)
    }

    /// What was under `key` has been replaced.
    pub(crate) fn replaced(&self, key: &[u8]) {
        if self.has_removals.load(Ordering::Acquire) {
            self.change(|removals| removals.remove(key));
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Removals) -> T) {
        let mut debts = lock(&self.debts);
        change(&mut debts.removals);
        self.has_removals.store(!debts.removals.is_empty(), Ordering::Release);
    }

    async fn settle(&self, what: &What, io: Io) -> Result<(), Error> {
        let (backend, deadline) = (self.connected.of(io), Instant::now() + self.connected.timeout);
        match what {
            What::Entry { key, .. } => {
                backend.delete(key, deadline).await?;
                if self.is_owed(what) {
                    self.change(|removals| removals.remove(key));
                }
            }
            What::Generation(token) => {
                let value = Bytes::copy_from_slice(token);
                backend.set(self.generation_key.as_bytes(), value, None, deadline).await?;
                self.generation.told(*token, &self.clock);
            }
        }
        Ok(())
    }

    fn is_owed(&self, what: &What) -> bool {
        match what {
            What::Entry { key, number } => {
                lock(&self.debts).removals.get(key).is_some_and(|debt| debt.0 == *number)
            }
            What::Generation(token) => self.generation.owed() == Some(*token),
        }
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
        debts.is_scheduled = !debts.removals.is_empty() || self.generation.owed().is_some();
        debts.is_scheduled.then_some(PAUSE)
    }

    fn all(&self) -> Vec<What> {
        let now = self.clock.monotonic();
        self.change(|removals| removals.retain(|_, (_, until)| now < *until));
        let generation = self.generation.owed().map(What::Generation);
        let debts = lock(&self.debts);
        let entries =
            debts.removals.iter().map(|(key, (number, _))| What::Entry { key: key.clone(), number: *number });
        generation.into_iter().chain(entries).collect()
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
        if self.owed.is_owed(&self.what) {
            self.owed.schedule();
        }
    }
}
