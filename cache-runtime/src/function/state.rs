//! The state of one cached function in one context, and every decision about its entries.
//!
//! Nothing here is generic over values: they arrive packed. What needs no waiting has `here` in its
//! name; the rest is async code that serves both kinds of callers (see [`io`](crate::common::wait)).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::spec::{SingleFlight, Spec};
use crate::common::clock::{Clock, nanos};
use crate::common::stripe::{self, Lane};
use crate::common::wait::{Io, Soon};
use crate::config::context::Context;
use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, Leader};
use crate::freshness::{Judge, Verdict};
use crate::function::call::{Found, Looked, Source, Ticket, Write};
use crate::function::pauses::Pauses;
use crate::key::Key;
use crate::memory::{New, Slot, Store};
use crate::remote::entries::Elsewhere;
use crate::remote::{self, Look, Opened};
use crate::stats::{Counters, Stats};
use crate::value::{MakeFormat, Packed, Value};

/// One function in one context.
pub(crate) struct State {
    pub(super) spec: &'static Spec,
    pub(super) namespace: String,
    pub(super) counters: Counters,
    pub(super) clock: Clock,
    pub(super) default_ttl: Option<Duration>,
    pub(super) place: Place,
    pub(super) flights: Flights,
    pub(super) judge: Judge,
    pub(super) pauses: Pauses,
    /// The kill switch: look-ups and stores are left out; invalidations are not.
    pub(super) disabled: bool,
    /// Hits need a decision beyond their freshness: caching is off, or entries are renewed early.
    pub(super) decides_hits: bool,
    /// Misuse is logged once.
    pub(super) said: AtomicBool,
}

/// Where entries are.
pub(super) enum Place {
    Typed(Store),
    Remote(Box<dyn Elsewhere>),
    /// Nowhere, until somebody mends the settings or the type.
    Broken(Error),
}

impl State {
    /// `path` is the one of the function, which is its namespace unless it has another.
    pub(crate) fn new(context: &Context, path: impl FnOnce() -> String, spec: &'static Spec) -> Self {
        let judge = Judge::new(&spec.freshness);
        let namespace = spec.namespace.map_or_else(path, str::to_owned);
        let place = match context.config.first_problem() {
            Some(problem) => Place::Broken(problem.clone()),
            None => (spec.place.0)(context, spec, &namespace, judge)
                .unwrap_or_else(|error| Place::Broken(error.at(namespace.clone()))),
        };
        let default_ttl = match &place {
            Place::Remote(remote) => remote.default_ttl(),
            _ => context.config.common_ttl(),
        };
        Self {
            spec,
            namespace,
            counters: Counters::default(),
            clock: context.clock.clone(),
            default_ttl,
            place,
            flights: Flights::default(),
            judge,
            pauses: Pauses::default(),
            disabled: context.config.is_disabled(),
            decides_hits: context.config.is_disabled() || judge.is_eager(),
            said: AtomicBool::new(false),
        }
    }

    /// The mistakes that keep this function, or instantiations of it, from being cached.
    pub(crate) fn misuse(&self) -> Vec<Error> {
        match &self.place {
            Place::Typed(_) => Vec::new(),
            Place::Remote(remote) => remote.misuse(),
            Place::Broken(error) => vec![error.clone()],
        }
    }

    /// Whether another function's entries would be taken for this one's.
    pub(crate) fn clashes_with(&self, other: &Self) -> bool {
        let unnamed = self.spec.namespace.is_none() || other.spec.namespace.is_none();
        match (&self.place, &other.place) {
            (Place::Remote(one), Place::Remote(another)) => {
                unnamed
                    && self.spec.version == other.spec.version
                    && one.namespace_there() == another.namespace_there()
            }
            _ => false,
        }
    }

    /// The same function, kept from being cached.
    pub(crate) fn broken_by_clash(mut self) -> Self {
        let message = format!(
            "two cached functions are both named `{}`: give one of them `namespace = \"…\"`",
            self.namespace
        );
        self.place = Place::Broken(Error::new(ErrorKind::Config, message));
        self
    }

    // Looking

    /// The number under `key`, if that is at hand in this process and there is nothing to decide about it: it is fresh, and not
    /// to be renewed early. If there is one, that is a hit.
    #[inline]
    pub(crate) fn number(&self, key: &Result<Key, Error>) -> Option<u64> {
        let (Ok(key), Place::Typed(store), false) = (key, &self.place, self.decides_hits) else {
            return None;
        };
        let (short, lane) = (key.short()?, stripe::current()?);
        store.number(short, |life| {
            let is_hit = self.clock.is_before(life.deadline());
            if is_hit {
                self.counters.hits.one(life.cost(), lane);
            }
            is_hit
        })
    }

    /// As [`number`](Self::number), of one that is yet to be copied to where it is at hand. Compiled once.
    #[cold]
    #[inline(never)]
    pub(crate) fn number_in_index(&self, key: &Result<Key, Error>) -> Option<u64> {
        self.hit(key, |value| match value {
            Value::Number(bits) => Some(*bits),
            Value::Shared(_) => None,
        })
    }

    /// What `serve` makes of the value under `key`, if that is in this process and there is nothing to decide about it. If it
    /// makes something, that is a hit, and all that most hits need.
    #[inline]
    pub(crate) fn hit<T>(
        &self,
        key: &Result<Key, Error>,
        serve: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let (Ok(key), Place::Typed(store), false) = (key, &self.place, self.decides_hits) else {
            return None;
        };
        let lane = stripe::current()?;
        store.read(key.words(), move |slot| {
            let served = self.clock.is_before(slot.deadline).then(|| serve(&slot.value))??;
            self.counters.hits.one(slot.cost, lane);
            Some(served)
        })
    }

    /// Looks where no waiting is needed; says whom to ask for which key where it is.
    pub(crate) fn look_here<'k>(
        &self,
        key: &'k Result<Key, Error>,
    ) -> Result<Looked, (&dyn Elsewhere, &'k Key)> {
        if self.disabled {
            return Ok(Looked::Miss(Ticket::Nothing));
        }
        match (key, &self.place) {
            (Ok(key), Place::Typed(store)) => Ok(self.look_typed(store, key)),
            (Ok(key), Place::Remote(remote)) => Err((&**remote, key)),
            (Err(error), _) | (_, Place::Broken(error)) => {
                self.failed(error);
                Ok(Looked::Miss(Ticket::Nothing))
            }
        }
    }

    #[inline]
    pub(super) fn look_typed(&self, store: &Store, key: &Key) -> Looked {
        let ticket = Ticket::Typed(store.generation());
        let now = self.clock.monotonic();
        let Some(slot) = store.get(key.words(), now) else { return Looked::Miss(ticket) };
        let cost = Duration::from_nanos(slot.cost);
        match self.judge.verdict(now, slot.deadline, cost, fastrand::f64) {
            Verdict::Gone => Looked::Miss(ticket),
            verdict => {
                let packed = Packed::Typed(slot.value, 0);
                Looked::Found(Found { packed, cost, ticket, source: Source::Entry, verdict })
            }
        }
    }

    /// Looks on the server; what it answers is to be told to [`looked`](Self::looked).
    pub(crate) fn ask<'a>(
        &'a self,
        remote: &'a dyn Elsewhere,
        key: &'a Key,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'a, Result<Look, Error>> {
        remote.look(key, format, remote.budget(), &self.clock, io)
    }

    /// What the server's answer comes to.
    pub(crate) fn looked(&self, answer: Result<Look, Error>) -> Looked {
        let looked = match answer {
            Ok(looked) => looked,
            Err(error) => {
                self.failed(&error);
                return Looked::Miss(Ticket::Nothing);
            }
        };
        if let Some(error) = looked.ticket.failure() {
            self.failed(error);
        }
        match looked.entry {
            Ok(Some(Opened { payload, cost, verdict, source })) => {
                let (packed, ticket) = (Packed::Encoded(payload), Ticket::Remote(looked.ticket));
                return Looked::Found(Found { packed, cost, ticket, source, verdict });
            }
            Ok(None) => {}
            Err(error) => self.undecodable(&error),
        }
        Looked::Miss(Ticket::Remote(looked.ticket))
    }

    /// What is under `key`, without counting it.
    pub(super) async fn find(&self, key: &Key, format: MakeFormat, io: Io) -> Result<Option<Packed>, Error> {
        if self.disabled {
            return Ok(None);
        }
        match &self.place {
            Place::Typed(store) => {
                Ok(store.get(key.words(), self.clock.monotonic()).map(|slot| Packed::Typed(slot.value, 0)))
            }
            Place::Remote(remote) => {
                let looked = remote.look(key, format, remote.budget(), &self.clock, io).await?;
                match looked.ticket.failure() {
                    Some(error) => Err(error.clone()),
                    // What can't be opened is not there.
                    None => Ok(looked.entry.unwrap_or(None).map(|opened| Packed::Encoded(opened.payload))),
                }
            }
            Place::Broken(error) => Err(error.clone()),
        }
    }

    /// The right to store the result of a run that begins without a look-up.
    pub(super) async fn find_ticket(&self, key: &Result<Key, Error>, format: MakeFormat, io: Io) -> Ticket {
        if self.disabled {
            return Ticket::Nothing;
        }
        let error = match &self.place {
            Place::Typed(store) => return Ticket::Typed(store.generation()),
            Place::Remote(remote) => match self.ticket_remote(&**remote, key, format, io).await {
                Ok(ticket) => {
                    ticket.failure().into_iter().for_each(|error| self.failed(error));
                    return Ticket::Remote(ticket);
                }
                Err(error) => error,
            },
            Place::Broken(error) => error.clone(),
        };
        self.failed(&error);
        Ticket::Nothing
    }

    /// In a cluster what lies under the key tells of leases.
    async fn ticket_remote(
        &self,
        remote: &dyn Elsewhere,
        key: &Result<Key, Error>,
        format: MakeFormat,
        io: Io,
    ) -> Result<remote::Ticket, Error> {
        match (self.spec.single_flight, key) {
            (SingleFlight::Cluster, Ok(key)) => {
                let looked = remote.look(key, format, remote.budget(), &self.clock, io).await;
                looked.map(|looked| looked.ticket)
            }
            _ => remote.ticket(format, &self.clock, io).await,
        }
    }

    // Storing

    /// `false` if the run has lost the right to store.
    pub(super) async fn store(&self, write: Write<'_>, io: Io) -> Result<bool, Error> {
        match &self.place {
            Place::Typed(store) => {
                let (leader, key) = (write.leader, write.key.clone());
                // What was there may be dropped, and invalidate itself: it must not wait for this store.
                let inside = leader.map(Leader::enter);
                self.store_typed(store, write)?;
                drop(inside);
                if leader.is_some_and(Leader::is_given_up) {
                    store.delete(key.words(), self.clock.monotonic());
                }
                Ok(true)
            }
            Place::Remote(remote) => remote.store(write, &self.clock, io).await,
            Place::Broken(error) => Err(error.clone()),
        }
    }

    /// Stores a value that no run gave.
    pub(super) async fn store_value(
        &self,
        key: Key,
        packed: Packed,
        life: Option<Duration>,
        format: MakeFormat,
        io: Io,
    ) -> Result<(), Error> {
        if self.disabled {
            return Ok(());
        }
        self.detach(&key).await;
        let result = match &self.place {
            Place::Typed(store) => {
                let ticket = Ticket::Typed(store.generation());
                let write =
                    Write { key, ticket, packed, life, cost: Duration::ZERO, replaces: true, leader: None };
                self.store_typed(store, write).map(|()| true)
            }
            Place::Remote(remote) => remote.insert(key, packed, life, format, &self.clock, io).await,
            Place::Broken(error) => return Err(error.clone()),
        };
        self.stored(result.clone());
        result.map(drop)
    }

    pub(super) fn store_typed(&self, store: &Store, write: Write<'_>) -> Result<(), Error> {
        let (Packed::Typed(value, size), Ticket::Typed(generation)) = (write.packed, write.ticket) else {
            return Err(Error::new(ErrorKind::Encode, "a typed store takes typed values only"));
        };
        let now = self.clock.monotonic();
        let deadline = write.life.map_or(u64::MAX, |life| now.saturating_add(nanos(life)));
        let slot = Slot { value, deadline, cost: nanos(write.cost) };
        store.set(write.key.words(), New { slot, generation, size }, now)
    }

    // Removing

    /// Removes what is under `key`, also while caching is switched off: others may still read it.
    pub(super) async fn remove(&self, key: &Key, format: MakeFormat, io: Io) -> Result<(), Error> {
        self.detach(key).await;
        match &self.place {
            Place::Typed(store) => {
                store.delete(key.words(), self.clock.monotonic());
                Ok(())
            }
            Place::Remote(remote) => self.reported(remote.delete(key, format, io).await),
            Place::Broken(error) => Err(error.clone()),
        }
    }

    /// Ends the life of every entry, also while caching is switched off.
    pub(super) async fn remove_all(&self, io: Io) -> Result<(), Error> {
        // What is being stored is of the generation that ends now, so there is nothing to wait for.
        self.flights.detach_all();
        match &self.place {
            Place::Typed(store) => {
                store.clear();
                Ok(())
            }
            Place::Remote(remote) => self.reported(remote.clear(io).await),
            Place::Broken(error) => Err(error.clone()),
        }
    }

    // Telling

    /// The text key; without arguments that serialise, one that no entry has.
    pub(crate) fn text_key(&self, key: Option<&Key>, format: MakeFormat) -> String {
        let head = match &self.place {
            Place::Remote(remote) => remote.head(format).ok(),
            _ => None,
        };
        let head = head.unwrap_or_else(|| format!("{}:{}:", self.namespace, self.spec.version));
        key.map_or_else(|| format!("{head}!"), |key| key.text(&head))
    }

    /// A lifetime as it is to be stored, after chance has taken its part.
    pub(crate) fn jittered(&self, life: Duration) -> Duration {
        self.judge.lifetime(life, fastrand::f64)
    }

    pub(crate) fn default_ttl(&self) -> Option<Duration> {
        self.default_ttl
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot(&self.namespace, self.spec.backend)
    }

    // Counting

    fn count_hit(&self, cost: Duration) {
        self.counters.hits.one(nanos(cost), stripe::current().unwrap_or(Lane::ANY));
    }

    pub(crate) fn answered(&self, found: &Found) {
        match found.source {
            Source::Entry => self.count_hit(found.cost),
            Source::Outage => {
                self.count_hit(found.cost);
                self.counters.outage.one();
            }
            Source::Run => {
                self.counters.waits.one();
                self.counters.saved_nanos.time(found.cost);
            }
        }
        if found.verdict == Verdict::Stale {
            self.counters.stale.one();
        }
    }

    /// Counts a run; returns what it took.
    pub(crate) fn ran(&self, started: Instant) -> Duration {
        let cost = started.elapsed();
        self.counters.runs.one();
        self.counters.body_nanos.time(cost);
        cost
    }

    /// An entry was found that could not be served: a miss.
    pub(crate) fn undecodable(&self, error: &Error) {
        self.counters.decode_failures.one();
        log::debug!("{}: an entry can't be used: {error}", self.namespace);
    }

    pub(super) fn stored(&self, result: Result<bool, Error>) {
        match result {
            Ok(true) => self.counters.stores.one(),
            Ok(false) => log::debug!("{}: a result is older than what became of its key", self.namespace),
            Err(error) if error.kind() == ErrorKind::TooLarge => self.counters.oversize.one(),
            Err(error) => self.failed(&error),
        }
    }

    pub(super) fn reported(&self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &result {
            self.failed(error);
        }
        result
    }

    /// Whether a success of a type of this name, which was taken for plain, is a `Result` or an `Option`, because a type
    /// parameter hid it. Then it says so. Inlined, because the answer is a constant where the name is one.
    #[inline]
    pub(crate) fn is_hidden_failure(&self, type_name: &str) -> bool {
        let is_hidden =
            type_name.starts_with("core::result::Result<") || type_name.starts_with("core::option::Option<");
        if is_hidden {
            self.failed_hidden(type_name);
        }
        is_hidden
    }

    #[cold]
    fn failed_hidden(&self, type_name: &str) {
        let message = "a type parameter stands for a `Result` or an `Option` there, whose `Err` or `None` would be stored: \
                       write `Result<…>` or `Option<…>` in the return type";
        self.failed(&Error::new(ErrorKind::Config, message).at(type_name));
    }

    /// Counts a failure. Misuse is an error in the log, once; what may pass is for the debug log.
    pub(crate) fn failed(&self, error: &Error) {
        self.counters.errors.one();
        if error.is_temporary() {
            log::debug!("{}: {error:?}", self.namespace);
        } else if !self.said.swap(true, Ordering::Relaxed) {
            log::error!("{} is not cached: {error:?}", self.namespace);
        }
    }
}

/// States are shared between threads and tasks.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<State>>();
};
