//! The entries of one function on a server: text keys, envelopes, and the generation token.
//!
//! # Clearing without scanning
//!
//! Each function has a random token on the server, and each entry carries the token that was valid when its value began
//! to be computed. `clear` removes the token and thereby voids every entry: the next reader puts a new token there, which
//! no entry has. A token is never stored twice and never over another one, so nothing that arrives late can undo a clear.
//! A process reads the token with the same request as an entry, at most twice a second. So a hit costs no extra round
//! trip, and other processes see a clear within [`TOKEN_FRESH`](generation::TOKEN_FRESH).
//!
//! # Linking
//!
//! Functions reach their remote entries through the trait [`RemoteEntries`]. Only [`open`] names what implements it, and
//! only functions with a remote backend name [`open`], so a program whose functions are all in memory links no code for
//! servers. The trait [`RunClaim`](ticket::RunClaim) does the same for claims, because every call has a ticket that may
//! hold one.

pub(crate) mod envelope;
mod fallback;
mod form;
mod generation;
mod invalidations;
mod lease;
mod read;
pub(crate) mod space;
mod ticket;
mod tokens;
mod write;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::fallback::FallbackStore;
use self::form::{Form, Forms};
use self::invalidations::{PendingInvalidations, send_clears};
use self::lease::acquire::Leases;
use self::lease::claim::{Claim, ClaimKey};
use self::ticket::Right;
use crate::backend::connected::Connected;
use crate::common::clock::Clock;
use crate::common::wait::{Caller, MaybeReady, block_on};
use crate::error::{Error, ErrorKind};
use crate::flight::Leader;
use crate::freshness::FreshnessPolicy;
use crate::key::Key;
use crate::key::path::KeySpace;
use crate::value::MakeFormat;

pub(crate) use self::lease::{Lead, NESTED};
pub(crate) use self::ticket::{Lookup, Ticket};

/// The key that a call is about, the format of its value, and who waits for the answer.
#[derive(Clone, Copy)]
pub(crate) struct Query<'k> {
    pub(crate) key: &'k Key,
    pub(crate) format: MakeFormat,
    pub(crate) caller: Caller,
}

/// The result of a run on its way to the server.
pub(crate) struct Write<'r> {
    pub(crate) key: Key,
    pub(crate) ticket: Ticket,
    pub(crate) payload: Bytes,
    /// How long the value may be served; `None` is forever.
    pub(crate) life: Option<Duration>,
    /// The time that the run took.
    pub(crate) cost: Duration,
    /// Whether there may be an older entry, which must not outlive a result that can't be stored.
    pub(crate) replaces: bool,
    pub(crate) leader: Option<&'r Leader>,
    pub(crate) caller: Caller,
}

/// What describes a function's entries, once they are opened.
pub(crate) struct Facts {
    /// The namespace as servers know it.
    pub(crate) namespace: String,
    pub(crate) default_ttl: Option<Duration>,
    /// The time that a call may spend on the server.
    pub(crate) budget: Duration,
    /// Whether one run per key is shared by the whole cluster.
    pub(crate) has_leases: bool,
}

/// The entries of one function on a server.
pub(crate) trait RemoteEntries: Send + Sync {
    fn facts(&self) -> &Facts;

    /// The text in front of every entry's key.
    fn head(&self, format: MakeFormat) -> Result<String, Error>;

    /// The value types that the codec can't handle, and what the backend can't do for this function.
    fn misuse(&self) -> Vec<Error>;

    /// Reads the entry within `budget`. If the server doesn't answer, looks in the fallback store.
    fn get<'a>(&'a self, query: Query<'a>, budget: Duration) -> MaybeReady<'a, Result<Lookup, Error>>;

    /// Stores the result of a run. `false` if the key has changed since the run began.
    fn put<'a>(&'a self, write: Write<'a>) -> MaybeReady<'a, Result<bool, Error>>;

    /// Stores a value that no run computed.
    fn insert<'a>(
        &'a self,
        query: Query<'a>,
        payload: Bytes,
        life: Option<Duration>,
    ) -> MaybeReady<'a, Result<bool, Error>>;

    /// Removes the entry.
    fn remove<'a>(&'a self, query: Query<'a>) -> MaybeReady<'a, Result<(), Error>>;

    /// Ends a run that stores nothing. `removes` is whether what is under the key must not be served any more. A future that
    /// is dropped leaves the rest to the background.
    fn end(&self, key: &Key, ticket: Ticket, removes: bool, caller: Caller) -> MaybeReady<'static, ()>;

    /// Voids every entry.
    fn clear(&self, caller: Caller) -> MaybeReady<'_, Result<(), Error>>;

    /// Gives the run that is about to begin a claim on its key, unless it has one or can't store its result.
    fn claim(&self, key: &Key, ticket: &mut Ticket);

    /// Comes to lead the run of a key in the whole cluster, or waits for the run that another process leads.
    fn lead<'a>(
        &'a self,
        query: Query<'a>,
        ticket: &'a mut Ticket,
        until: Option<Instant>,
    ) -> MaybeReady<'a, Result<Lead, Error>>;

    /// Takes the key for a run that replaces whatever is there.
    fn take_over<'a>(
        &'a self,
        query: Query<'a>,
        ticket: &'a mut Ticket,
        until: Option<Instant>,
    ) -> MaybeReady<'a, Result<Lead, Error>>;

    /// Comes to renew an entry, unless another process does.
    fn lead_renewal<'a>(
        &'a self,
        query: Query<'a>,
        ticket: &'a mut Ticket,
    ) -> MaybeReady<'a, Result<bool, Error>>;
}

/// How a function's entries are named and kept: what [`open`] needs of its options.
pub(crate) struct Naming<'n> {
    /// The function's namespace, for messages.
    pub(crate) namespace: &'n str,
    /// The same as servers know it.
    pub(crate) namespace_on_servers: &'n str,
    pub(crate) version: u32,
    pub(crate) has_leases: bool,
}

/// The entries that `naming` describes, on `connected`.
pub(crate) fn open(
    connected: Arc<Connected>,
    clock: Clock,
    naming: &Naming<'_>,
    policy: FreshnessPolicy,
) -> Box<dyn RemoteEntries> {
    Box::new(Remote::new(connected, clock, naming, policy))
}

/// The kind of the generation's key. The kinds of other keys are fingerprints of value types.
const GENERATION: u64 = 0;

struct Remote {
    facts: Facts,
    connected: Arc<Connected>,
    clock: Clock,
    namespace: String,
    forms: Forms,
    /// The invalidations that the server has not taken yet, and the generation, of each group of keys.
    groups: Box<[Arc<PendingInvalidations>]>,
    /// One for each part of the keys, because each can be out of reach by itself.
    fallback: Box<[FallbackStore]>,
    leases: Leases,
    policy: FreshnessPolicy,
    has_told_of_clocks: AtomicBool,
}

impl Remote {
    fn new(connected: Arc<Connected>, clock: Clock, naming: &Naming<'_>, policy: FreshnessPolicy) -> Self {
        let keys = KeySpace::new(&connected.prefix, naming.namespace_on_servers, naming.version);
        let generation_keys = connected.key_in_each_group(&format!("{}generation", keys.head(GENERATION)));
        let group = |key| Arc::new(PendingInvalidations::new(connected.clone(), clock.clone(), key));
        let groups = generation_keys.into_iter().map(group).collect();
        Self {
            facts: Facts {
                namespace: naming.namespace_on_servers.to_owned(),
                default_ttl: connected.default_ttl,
                budget: connected.timeout,
                has_leases: naming.has_leases,
            },
            fallback: (0..connected.parts()).map(|_| FallbackStore::new(clock.clone())).collect(),
            connected,
            clock,
            namespace: naming.namespace.to_owned(),
            forms: Forms::new(keys),
            groups,
            leases: Leases::default(),
            policy,
            has_told_of_clocks: AtomicBool::new(false),
        }
    }

    fn form(&self, make: MakeFormat) -> Result<&Arc<Form>, Error> {
        self.forms.get(make, &self.namespace)
    }

    /// The group of the entry under `text`.
    fn group(&self, text: &[u8]) -> &Arc<PendingInvalidations> {
        match &*self.groups {
            [only] => only,
            groups => &groups[self.connected.group_of(text)],
        }
    }

    /// The key on the server for the claim of a run.
    fn claim_key(&self, key: &Key, ticket: &Ticket) -> Result<ClaimKey, Error> {
        let form = self.form(ticket.format)?;
        let text = ticket.text.clone();
        Ok(ClaimKey {
            connected: self.connected.clone(),
            text: text.unwrap_or_else(|| key.text_bytes(&form.head).as_slice().into()),
            shape: form.shape,
            codec: form.codec,
            clock: self.clock.clone(),
        })
    }

    /// The fallback store for the part of the keys that `text` is in.
    fn fallback(&self, text: &[u8]) -> &FallbackStore {
        &self.fallback[self.connected.part_of(text)]
    }
}

impl RemoteEntries for Remote {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn head(&self, format: MakeFormat) -> Result<String, Error> {
        self.form(format).map(|form| form.head.clone())
    }

    fn misuse(&self) -> Vec<Error> {
        let mut misuse = self.forms.errors();
        if self.facts.has_leases
            && let Err(error) = block_on(pin!(self.check_compare_and_set(Caller::Blocking)))
            && error.kind() == ErrorKind::Denied
        {
            let message = "`single_flight = \"cluster\"` shares runs within a process only";
            misuse.push(Error::new(ErrorKind::Denied, message).with_source(error).at(&self.namespace));
        }
        misuse
    }

    fn get<'a>(&'a self, query: Query<'a>, budget: Duration) -> MaybeReady<'a, Result<Lookup, Error>> {
        MaybeReady::of(self.read(query, budget), query.caller)
    }

    fn put<'a>(&'a self, write: Write<'a>) -> MaybeReady<'a, Result<bool, Error>> {
        let caller = write.caller;
        MaybeReady::of(self.write(write), caller)
    }

    fn insert<'a>(
        &'a self,
        query: Query<'a>,
        payload: Bytes,
        life: Option<Duration>,
    ) -> MaybeReady<'a, Result<bool, Error>> {
        MaybeReady::of(self.write_value(query, payload, life), query.caller)
    }

    fn remove<'a>(&'a self, query: Query<'a>) -> MaybeReady<'a, Result<(), Error>> {
        let remove = async move { self.invalidation(query.key, query.format)?.send(query.caller).await };
        MaybeReady::of(remove, query.caller)
    }

    fn end(&self, key: &Key, ticket: Ticket, removes: bool, caller: Caller) -> MaybeReady<'static, ()> {
        let Ok(form) = self.form(ticket.format) else { return MaybeReady::done(()) };
        let text = ticket.text.unwrap_or_else(|| key.text_bytes(&form.head).as_slice().into());
        MaybeReady::of(Remote::end(self, text, form, &ticket.right, removes, caller), caller)
    }

    fn clear(&self, caller: Caller) -> MaybeReady<'_, Result<(), Error>> {
        self.fallback.iter().for_each(FallbackStore::clear);
        let clears = self.groups.iter().map(PendingInvalidations::clear).collect();
        MaybeReady::of(send_clears(clears, caller), caller)
    }

    fn claim(&self, key: &Key, ticket: &mut Ticket) {
        if let Ok(token) = ticket.token
            && let Some(seen) = ticket.take_seen()
            && let Ok(key) = self.claim_key(key, ticket)
        {
            let stays = self.group(&key.text).has(&key.text);
            ticket.right = Right::Claim(Arc::new(Claim::new(key, seen, token, stays)));
        }
    }

    fn lead<'a>(
        &'a self,
        query: Query<'a>,
        ticket: &'a mut Ticket,
        until: Option<Instant>,
    ) -> MaybeReady<'a, Result<Lead, Error>> {
        MaybeReady::of(self.acquire(query, ticket, until), query.caller)
    }

    fn take_over<'a>(
        &'a self,
        query: Query<'a>,
        ticket: &'a mut Ticket,
        until: Option<Instant>,
    ) -> MaybeReady<'a, Result<Lead, Error>> {
        MaybeReady::of(Remote::take_over(self, query, ticket, until), query.caller)
    }

    fn lead_renewal<'a>(
        &'a self,
        query: Query<'a>,
        ticket: &'a mut Ticket,
    ) -> MaybeReady<'a, Result<bool, Error>> {
        MaybeReady::of(self.acquire_renewal(query, ticket), query.caller)
    }
}
