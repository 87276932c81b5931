//! Where the entries of a function live, and every decision that depends on it.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use super::call::{Lookup, RunTime, Write};
use super::spec::{SingleFlight, Spec};
use crate::common::clock::{Clock, nanos};
use crate::common::random::dice;
use crate::common::wait::{Caller, MaybeReady};
use crate::config::context::Context;
use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, Leader};
use crate::freshness::{Found, Freshness, FreshnessPolicy, Source};
use crate::key::{Key, ShortKey};
use crate::memory::{Entry, Life, New, Store};
use crate::remote::{self, Lead, Naming, Query, RemoteEntries};
use crate::value::{MakeFormat, Packed, Value};

pub(crate) enum Place {
    /// In this process, as typed values.
    Memory(MemoryEntries),
    /// On a server, encoded.
    Remote(Box<dyn RemoteEntries>),
    /// Nowhere, until the settings or the type are fixed.
    Broken(Error),
}

pub(crate) struct MemoryEntries {
    store: Store,
    clock: Clock,
    policy: FreshnessPolicy,
}

/// The right to store the result of a run that begins now. What is cleared meanwhile stays cleared.
#[derive(Clone)]
pub(crate) enum Ticket {
    /// Nothing may be stored: caching is off, or the backend has just failed.
    None,
    /// The generation of the store.
    Memory(u64),
    Remote(remote::Ticket),
}

/// A constructor of places. Each function names one, so that a program contains no code for the other.
pub(crate) struct MakePlace(fn(&Context, &Spec, &str, FreshnessPolicy) -> Result<Place, Error>);

impl MakePlace {
    /// In this process: values are kept as they are.
    pub(crate) const IN_MEMORY: Self = Self(|context, spec, _, policy| {
        if let Some(problem) = context.config.problem_in_memory() {
            return Ok(Place::Broken(problem.clone()));
        }
        let mut bound = spec.bound;
        if let Some(capacity) = spec.capacity {
            let message = "`capacity` is not a positive number of entries";
            bound.capacity = Some(capacity().ok_or_else(|| Error::new(ErrorKind::Config, message))?);
        }
        let clock = context.clock.clone();
        let store = Store::new(bound, policy.stale_window(), clock.clone());
        Ok(Place::Memory(MemoryEntries { store, clock, policy }))
    });

    /// On a server: values are encoded.
    pub(crate) const REMOTE: Self = Self(|context, spec, namespace, policy| {
        if let Some(problem) = context.config.problems().next() {
            return Ok(Place::Broken(problem.clone()));
        }
        let naming = Naming {
            namespace,
            namespace_on_servers: &spec.namespace_on_servers(namespace),
            version: spec.version,
            has_leases: spec.single_flight == SingleFlight::Cluster,
        };
        let connected = context.connected(spec.backend)?;
        Ok(Place::Remote(remote::open(connected, context.clock.clone(), &naming, policy)))
    });

    pub(super) fn make(
        &self,
        context: &Context,
        spec: &Spec,
        namespace: &str,
        policy: FreshnessPolicy,
    ) -> Place {
        (self.0)(context, spec, namespace, policy).unwrap_or_else(|error| Place::Broken(error.at(namespace)))
    }
}

impl Ticket {
    /// Whether the result may be stored.
    pub(crate) fn stores(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether the look-up was made so long ago that it should be made again before a run.
    pub(crate) fn is_old(&self) -> bool {
        matches!(self, Self::Remote(ticket) if ticket.is_old())
    }

    /// Records that the server has been lost.
    pub(crate) fn fail(&mut self, error: Error) {
        if let Self::Remote(ticket) = self {
            ticket.fail(error);
        }
    }

    /// Why the result won't be stored on the server. It has been counted already.
    pub(crate) fn failure(&self) -> Option<&Error> {
        match self {
            Self::Remote(ticket) => ticket.failure(),
            Self::None | Self::Memory(_) => None,
        }
    }
}

// What a child of `fork` takes from its parent

impl Place {
    pub(crate) fn inherit(&mut self, parent: &Self) {
        match (self, parent) {
            (Self::Memory(own), Self::Memory(parent)) => {
                if let Some(store) = parent.store.in_child() {
                    own.store = store;
                }
            }
            (own, Self::Broken(error)) => *own = Self::Broken(error.clone()),
            _ => {}
        }
    }
}

// What describes the place

impl Place {
    /// The errors that keep the function, or some instantiations of it, from being cached.
    pub(crate) fn misuse(&self) -> Vec<Error> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Remote(remote) => remote.misuse(),
            Self::Broken(error) => vec![error.clone()],
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// The lifetime of entries whose function has no `ttl`; `common` where the place has none of its own.
    pub(crate) fn default_ttl(&self, common: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Remote(remote) => remote.facts().default_ttl,
            Self::Memory(_) | Self::Broken(_) => common,
        }
    }

    /// The longest that a call spends on the place; `None` if nothing there waits.
    pub(crate) fn budget(&self) -> Option<Duration> {
        match self {
            Self::Remote(remote) => Some(remote.facts().budget),
            Self::Memory(_) | Self::Broken(_) => None,
        }
    }

    /// Whether all processes share one run per key.
    pub(crate) fn has_leases(&self) -> bool {
        matches!(self, Self::Remote(remote) if remote.facts().has_leases)
    }

    /// How many entries are in this process, and how many their bound has evicted.
    pub(crate) fn counts(&self) -> (u64, u64) {
        match self {
            Self::Memory(memory) => memory.store.counts(),
            Self::Remote(_) | Self::Broken(_) => (0, 0),
        }
    }

    /// Whether the bound of the entries has begun to evict what is asked for again. True once.
    pub(crate) fn begins_to_miss_evicted(&self) -> bool {
        matches!(self, Self::Memory(memory) if memory.store.begins_to_miss_evicted())
    }

    /// Whether both places are the same one on a server.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Remote(one), Self::Remote(another)) => one.facts().namespace == another.facts().namespace,
            _ => false,
        }
    }

    /// The text in front of every entry's key, if entries have text keys.
    pub(crate) fn head(&self, format: MakeFormat) -> Option<String> {
        match self {
            Self::Remote(remote) => remote.head(format).ok(),
            Self::Memory(_) | Self::Broken(_) => None,
        }
    }
}

// Reading

/// A look-up under way. Not a [`MaybeReady`], which would be a box around the one of the server's answer.
pub(crate) enum Getting<'p> {
    Here(Ready<Lookup>),
    Asked(MaybeReady<'p, Result<remote::Lookup, Error>>),
}

impl Getting<'_> {
    pub(crate) fn done(lookup: Lookup) -> Self {
        Self::Here(ready(lookup))
    }

    /// For blocking callers.
    pub(crate) fn wait(self) -> Lookup {
        match self {
            Self::Here(lookup) => lookup.into_inner(),
            Self::Asked(answer) => Lookup::of_remote(answer.wait()),
        }
    }
}

impl Future for Getting<'_> {
    type Output = Lookup;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Lookup> {
        match self.get_mut() {
            Self::Here(lookup) => Pin::new(lookup).poll(cx),
            Self::Asked(answer) => Pin::new(answer).poll(cx).map(Lookup::of_remote),
        }
    }
}

impl Lookup {
    fn of_remote(answer: Result<remote::Lookup, Error>) -> Self {
        let remote::Lookup { entry, ticket } = match answer {
            Ok(lookup) => lookup,
            Err(error) => return Self::failed(error),
        };
        let failure = ticket.failure().cloned();
        let (found, undecodable) = match entry {
            Ok(found) => (found, None),
            Err(error) => (None, Some(error)),
        };
        Self { found, ticket: Ticket::Remote(ticket), failure, undecodable }
    }
}

impl Place {
    /// The number under a short key, if it is in this process and `is_hit` accepts its life.
    #[inline]
    pub(crate) fn number(&self, key: ShortKey, is_hit: impl FnOnce(&Clock, Life) -> bool) -> Option<u64> {
        let Self::Memory(MemoryEntries { store, clock, .. }) = self else { return None };
        store.number(key, |life| is_hit(clock, life))
    }

    /// What `serve` makes of the entry under `key`, if it is in this process.
    #[inline]
    pub(crate) fn hit<T>(
        &self,
        key: &Key,
        serve: impl FnOnce(&Clock, &Value, Life) -> Option<T>,
    ) -> Option<T> {
        let Self::Memory(MemoryEntries { store, clock, .. }) = self else { return None };
        store.get(key.words(), |value, life| serve(clock, value, life))
    }

    /// The right to store a result that begins to be computed now, if entries live in this process.
    #[inline]
    pub(crate) fn memory_ticket(&self) -> Option<Ticket> {
        let Self::Memory(memory) = self else { return None };
        Some(Ticket::Memory(memory.store.generation()))
    }

    /// Whether there is an entry under `key` in this process, even one that has expired.
    #[inline]
    pub(crate) fn holds(&self, key: &Key) -> bool {
        matches!(self, Self::Memory(memory) if memory.store.get(key.words(), |_, _| Some(())).is_some())
    }

    /// Looks up the entry of `query`. `left` is what is left of the call's time; `None` is all of it.
    pub(crate) fn get<'p>(&'p self, query: Query<'p>, left: Option<Duration>) -> Getting<'p> {
        match self {
            Self::Memory(memory) => Getting::done(memory.get(query.key)),
            Self::Remote(remote) => {
                let budget = left.unwrap_or(remote.facts().budget);
                Getting::Asked(remote.get(query, budget))
            }
            Self::Broken(error) => Getting::done(Lookup::failed(error.clone())),
        }
    }

    /// Looks again, within what `ticket` says is left of the call's time.
    pub(crate) fn get_again<'p>(&'p self, query: Query<'p>, ticket: &Ticket) -> Getting<'p> {
        match (self, ticket) {
            (Self::Remote(_), Ticket::Remote(ticket)) => self.get(query, Some(ticket.left())),
            (Self::Memory(_), _) => self.get(query, None),
            _ => Getting::done(Lookup::miss(Ticket::None)),
        }
    }

    /// The right to store the result of a run that begins without a look-up.
    pub(crate) async fn ticket(&self, query: Query<'_>) -> Result<Ticket, Error> {
        match self {
            Self::Memory(memory) => Ok(Ticket::Memory(memory.store.generation())),
            Self::Remote(remote) => {
                let lookup = remote.get(query, remote.facts().budget).await?;
                Ok(Ticket::Remote(lookup.ticket))
            }
            Self::Broken(error) => Err(error.clone()),
        }
    }
}

impl MemoryEntries {
    #[inline]
    fn get(&self, key: &Key) -> Lookup {
        let mut lookup = Lookup::miss(Ticket::Memory(self.store.generation()));
        let now = self.clock.monotonic();
        if let Some(idle) = self.policy.idle() {
            self.store.live_until(key.words(), now, now.saturating_add(idle));
        }
        lookup.found = self.store.get(key.words(), |value, Life { deadline, cost }| {
            let cost = Duration::from_nanos(cost);
            let freshness = self.policy.freshness(now, deadline, cost, dice);
            let packed = || Packed::Typed(value.clone(), 0);
            (freshness != Freshness::Expired).then(|| Found {
                packed: packed(),
                cost,
                freshness,
                source: Source::Entry,
            })
        });
        lookup
    }
}

// Writing

impl Place {
    /// Stores the result of a run. `false` if the run has lost the right to.
    pub(crate) async fn put(&self, write: Write<'_>) -> Result<bool, Error> {
        match self {
            Self::Remote(remote) => remote.put(write.into_remote()?).await,
            _ => Err(Error::new(ErrorKind::Encode, "a result for a server, without a server")),
        }
    }

    /// [`put`](Self::put) where there is no server to wait for.
    pub(crate) fn put_at_once(
        &self,
        key: &Key,
        ticket: &Ticket,
        packed: Packed,
        life: Option<Duration>,
        time: RunTime,
        leader: Option<&Leader>,
    ) -> Result<bool, Error> {
        let Self::Memory(memory) = self else {
            return Err(Error::new(ErrorKind::Encode, "a result for memory, without a store"));
        };
        // The old value is dropped here, and that drop may invalidate the key, which must not wait for this store.
        let inside = leader.map(Leader::enter);
        let now = memory.clock.monotonic_at(time.ended);
        memory.store(key, ticket, packed, life, time.cost, now)?;
        drop(inside);
        if leader.is_some_and(Leader::store_must_be_removed) {
            memory.remove(key);
        }
        Ok(true)
    }

    /// Stores a value that no run computed.
    pub(crate) async fn insert(
        &self,
        query: Query<'_>,
        packed: Packed,
        life: Option<Duration>,
    ) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => {
                let ticket = Ticket::Memory(memory.store.generation());
                let now = memory.clock.monotonic();
                memory.store(query.key, &ticket, packed, life, Duration::ZERO, now).map(|()| true)
            }
            Self::Remote(remote) => remote.insert(query, encoded(packed)?, life).await,
            Self::Broken(error) => Err(error.clone()),
        }
    }

    /// Removes the entry of `query`.
    pub(crate) async fn remove(&self, query: Query<'_>) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => {
                memory.remove(query.key);
                Ok(())
            }
            Self::Remote(remote) => remote.remove(query).await,
            Self::Broken(error) => Err(error.clone()),
        }
    }

    /// Ends a run of `key` that stores nothing. `removes` is whether what is under the key must not be served any more. A
    /// future that is dropped leaves the rest to the background.
    pub(crate) fn end(&self, key: &Key, ticket: Ticket, removes: bool, caller: Caller) -> MaybeReady<'_, ()> {
        match (self, ticket) {
            (Self::Memory(memory), _) if removes => memory.remove(key),
            (Self::Remote(remote), Ticket::Remote(ticket)) => {
                return remote.end(key, ticket, removes, caller);
            }
            _ => {}
        }
        MaybeReady::done(())
    }

    /// Voids every entry.
    pub(crate) async fn clear(&self, caller: Caller) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => {
                memory.store.clear();
                Ok(())
            }
            Self::Remote(remote) => remote.clear(caller).await,
            Self::Broken(error) => Err(error.clone()),
        }
    }
}

impl MemoryEntries {
    fn store(
        &self,
        key: &Key,
        ticket: &Ticket,
        packed: Packed,
        life: Option<Duration>,
        cost: Duration,
        now: u64,
    ) -> Result<(), Error> {
        let (Packed::Typed(value, size), Ticket::Memory(generation)) = (packed, ticket) else {
            return Err(Error::new(ErrorKind::Encode, "a memory store takes only typed values"));
        };
        let end = life.map_or(u64::MAX, |life| now.saturating_add(nanos(life)));
        let deadline = self.policy.idle().map_or(end, |idle| end.min(now.saturating_add(idle)));
        let entry = Entry { value, deadline, end, cost: nanos(cost) };
        self.store.set(key.words(), New { entry, generation: *generation, size }, now)
    }

    fn remove(&self, key: &Key) {
        self.store.delete(key.words());
    }
}

impl<'r> Write<'r> {
    fn into_remote(self) -> Result<remote::Write<'r>, Error> {
        let Self { key, ticket, packed, life, time, replaces, leader, caller } = self;
        let Ticket::Remote(ticket) = ticket else {
            return Err(Error::new(ErrorKind::Encode, "a result without the right to be stored on a server"));
        };
        let payload = encoded(packed)?;
        Ok(remote::Write { key, ticket, payload, life, cost: time.cost, replaces, leader, caller })
    }
}

fn encoded(packed: Packed) -> Result<bytes::Bytes, Error> {
    match packed {
        Packed::Encoded(payload) => Ok(payload),
        Packed::Typed(..) => Err(Error::new(ErrorKind::Encode, "a server takes only encoded values")),
    }
}

// Runs of the whole cluster

impl Place {
    /// Detaches the run of `key` in this process if another process has changed the key since it began.
    pub(crate) fn detach_outdated(&self, flights: &Flights, key: &Key, ticket: &Ticket) {
        if let Ticket::Remote(ticket) = ticket {
            flights.invalidate_if(key.bytes(), |claim| ticket.outdates(claim));
        }
    }

    /// Gives the run of `key` that is about to begin what it needs to store its result later.
    pub(crate) fn begin(&self, flights: &Flights, leader: &Leader, key: &Key, ticket: &mut Ticket) {
        if let (Self::Remote(remote), Ticket::Remote(ticket)) = (self, ticket) {
            remote.claim(key, ticket);
            if let Some(claim) = ticket.claim() {
                leader.begin(claim);
                flights.watch();
            }
        }
    }

    /// Comes to lead the run of a key in the whole cluster, or waits until `until` for the process that does.
    pub(crate) async fn lead(
        &self,
        query: Query<'_>,
        ticket: &mut Ticket,
        until: Option<Instant>,
    ) -> Result<Lead, Error> {
        match (self, ticket) {
            (Self::Remote(remote), Ticket::Remote(ticket)) if remote.facts().has_leases => {
                remote.lead(query, ticket, until).await
            }
            _ => Ok(Lead::InProcess),
        }
    }

    /// Takes the key for a run that replaces whatever is there: no run that began earlier can store its result any more.
    /// May wait until `until` for a run that another process leads.
    pub(crate) async fn take_over(
        &self,
        query: Query<'_>,
        ticket: &mut Ticket,
        until: Option<Instant>,
    ) -> Result<Lead, Error> {
        match (self, ticket) {
            (Self::Remote(remote), Ticket::Remote(ticket)) => remote.take_over(query, ticket, until).await,
            _ => Ok(Lead::InProcess),
        }
    }

    /// Comes to renew the entry of `query`, unless another process does.
    pub(crate) async fn lead_renewal(&self, query: Query<'_>, ticket: &mut Ticket) -> Result<bool, Error> {
        match (self, ticket) {
            (Self::Remote(remote), Ticket::Remote(ticket)) if remote.facts().has_leases => {
                remote.lead_renewal(query, ticket).await
            }
            _ => Ok(true),
        }
    }
}
