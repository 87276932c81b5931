//! The entries of one function on a server: text keys, envelopes, and the generation token.
//!
//! # Clearing without scanning
//!
//! Each function has a random token on the server, and each entry carries the token that was valid when
//! its value began to be computed. `clear` removes the token, and with it every entry is void: who finds none puts a
//! new one there, which no entry has. A token is never put there twice and never over another, so that no clear
//! can be undone, by whatever arrives late. A process reads the token with the same request as an entry, at the most
//! twice a second, so a hit costs no extra round trip and other processes see a clear within
//! [`TOKEN_FRESH`](crate::remote::generation::TOKEN_FRESH).

pub(crate) mod entries;
pub(crate) mod envelope;
pub(crate) mod fallback;
pub(crate) mod generation;
pub(crate) mod invalidations;
pub(crate) mod lease;

use std::iter::successors;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::envelope::{Binding, Group as Token, Header};
use crate::backend::AsyncBackend;
use crate::common::clock::{Clock, millis};
use crate::common::wait::Io;
use crate::config::context::{Connected, Context};
use crate::error::{Error, ErrorKind};
use crate::flight::Leader;
use crate::freshness::{Judge, Verdict};
use crate::function::call::{self, Source, Write};
use crate::function::spec::{SingleFlight, Spec};
use crate::key::path::namespace_in_keys;
use crate::key::{Key, TextBytes};
use crate::remote::entries::Leased;
use crate::remote::fallback::{Outage, Outcome};
use crate::remote::generation::{Asked, random_token};
use crate::remote::invalidations::{Debt, Owed};
use crate::value::{Format, MakeFormat, Packed};

use self::lease::acquire::Leases;

pub(crate) use self::lease::acquire::Lead;

/// The entries of one function.
pub(crate) struct Remote {
    connected: Arc<Connected>,
    namespace: String,
    namespace_there: String,
    /// `{prefix}{namespace}:{version}:`, in front of every key.
    head: String,
    forms: Forms,
    generation_key: String,
    /// The generation, and the removals that the server has not taken yet.
    owed: Arc<Owed>,
    /// One for each server of the backend: each is away and back by itself.
    outages: Box<[Outage]>,
    leases: Leases,
    /// Whether a run may be one for the whole cluster.
    has_leases: bool,
    judge: Judge,
}

/// The form of each value type by the address of what makes its format, as a list: a generic function has one for each
/// instantiation, any other has one. They only come, so that reading takes no lock.
#[derive(Default)]
struct Forms {
    first: OnceLock<(usize, Made)>,
    rest: OnceLock<Box<Self>>,
}

type Made = Result<Arc<Form>, Error>;

/// What the entries of one value type have in common.
struct Form {
    codec: u8,
    shape: u64,
    /// `{prefix}{namespace}:{version}:{shape}:`, in front of every entry's key.
    head: String,
}

/// What a look-up gave.
pub(crate) struct Look {
    /// The entry, if there is one that may be served. An error if its bytes are not an entry of this function.
    pub(crate) entry: Result<Option<Opened>, Error>,
    /// For storing what a run gives.
    pub(crate) ticket: Ticket,
}

/// An entry that may be served.
pub(crate) struct Opened {
    pub(crate) payload: Bytes,
    /// What the run behind it took.
    pub(crate) cost: Duration,
    pub(crate) verdict: Verdict,
    pub(crate) source: Source,
}

/// When a run began, and what is left of the call's time.
#[derive(Clone)]
pub(crate) struct Ticket {
    /// The generation, or why the server didn't tell it.
    token: Result<Token, Error>,
    /// See [`Outage::clears`].
    clears: u64,
    format: MakeFormat,
    /// The text key, if the look-up has left more to do than to answer: a digest isn't made twice.
    text: Option<Vec<u8>>,
    left: Duration,
    /// When the look-up began, if `left` doesn't know yet what it took: a fresh hit mostly has no use for that.
    untimed_since: Option<Instant>,
    /// For leases; noted where there may be some, in a box because tickets are moved with every hit.
    seen: Option<Box<Seen>>,
    /// The right to run the body for the whole cluster.
    lease: Option<Arc<dyn Leased>>,
}

/// What a look-up found under the key, and when it began.
#[derive(Clone)]
struct Seen {
    at: Instant,
    form: Arc<Form>,
    bytes: Option<Bytes>,
}

impl Ticket {
    /// Notes that the call goes on, because what it found is no value.
    pub(crate) fn resume(&mut self) {
        if let Some(started) = self.untimed_since.take() {
            self.left = self.left.saturating_sub(started.elapsed());
        }
    }

    /// Notes that the run gave nothing to share.
    pub(crate) fn end_empty(&self) {
        if let Some(lease) = &self.lease {
            lease.end_empty();
        }
    }

    /// Notes that the server has been lost.
    pub(crate) fn fail(&mut self, error: Error) {
        self.token = Err(error);
    }

    /// Why the result won't be stored on the server.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.token.as_ref().err()
    }

    /// What is left of the call's time.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }
}

impl Remote {
    pub(crate) fn open(context: &Context, spec: &Spec, namespace: &str, judge: Judge) -> Result<Self, Error> {
        let connected = context.connected(spec.backend)?;
        let namespace_there = spec.namespace_on_servers(namespace).into_owned();
        let name = namespace_in_keys(&namespace_there, &connected.prefix);
        let head = format!("{}{name}:{}:", connected.prefix, spec.version);
        let generation_key = format!("{head}generation");
        let outages = (0..connected.servers()).map(|_| Outage::default()).collect();
        Ok(Self {
            owed: Arc::new(Owed::new(connected.clone(), context.clock.clone(), generation_key.clone())),
            connected,
            namespace: namespace.to_owned(),
            namespace_there,
            generation_key,
            head,
            forms: Forms::default(),
            outages,
            leases: Leases::default(),
            has_leases: spec.single_flight == SingleFlight::Cluster,
            judge,
        })
    }

    /// The form of a value type, made at its first use.
    fn form(&self, make: MakeFormat) -> Result<&Arc<Form>, Error> {
        if let Some((_, form)) = self.forms.iter().find(|(known, _)| *known == make as usize) {
            return form.as_ref().map_err(Error::clone);
        }
        // Made outside of the list: tracing a type runs the user's `Deserialize`.
        let made = make().map_err(|error| error.at(&self.namespace)).map(|Format { codec, shape }| {
            let head = format!("{}{:016x}:", self.head, shape.fingerprint);
            Arc::new(Form { codec, shape: shape.fingerprint, head })
        });
        self.forms.add(make as usize, made).as_ref().map_err(Error::clone)
    }

    /// The function's namespace as servers know it.
    pub(crate) fn namespace_there(&self) -> &str {
        &self.namespace_there
    }

    /// What is in front of every entry's key.
    pub(crate) fn head(&self, make: MakeFormat) -> Result<String, Error> {
        self.form(make).map(|form| form.head.clone())
    }

    /// The value types that the codec can't serve.
    pub(crate) fn misuse(&self) -> Vec<Error> {
        self.forms.iter().filter_map(|(_, form)| form.as_ref().err().cloned()).collect()
    }

    pub(crate) fn default_ttl(&self) -> Option<Duration> {
        self.connected.default_ttl
    }

    /// The time that a call may spend on the server.
    pub(crate) fn budget(&self) -> Duration {
        self.connected.timeout
    }

    /// Reads the entry under `key` within `budget`, and the generation with it when that is due. What a server doesn't
    /// answer is looked for in this process.
    pub(crate) async fn look(
        &self,
        key: &Key,
        format: MakeFormat,
        budget: Duration,
        clock: &Clock,
        io: Io,
    ) -> Result<Look, Error> {
        let (form, clears, mut text) = (self.form(format)?, self.clears(), TextBytes::new());
        key.append_text(&form.head, &mut text);
        let kept = || Ok(self.outage(&text).unanswered(&text, clock).map(Opened::from));
        if let Some(refusal) = self.connected.refusal(&text) {
            let ticket = Ticket {
                token: Err(refusal),
                clears,
                format,
                text: None,
                left: budget,
                untimed_since: None,
                seen: None,
                lease: None,
            };
            return Ok(Look { entry: kept(), ticket });
        }
        let started = Instant::now();
        let deadline = started + budget;
        let (entry, token, seen) = if self.owed.has_removal(&text) {
            // What the server has is not to be served, so it isn't asked for that.
            (kept(), Box::pin(self.token(clock, io, deadline)).await, None)
        } else {
            let read = match self.owed.generation.known(clock) {
                Ok(token) => {
                    let bytes = match io {
                        Io::Blocking => self.connected.get_now(&text, started, deadline),
                        Io::Async => match self.connected.get(&text, started, deadline) {
                            Ok(asked) => asked.await,
                            Err(error) => Err(error),
                        },
                    };
                    bytes.map(|bytes| (bytes, token))
                }
                // In a box, like all that few hits need: it would be most of their futures.
                Err(asked) => Box::pin(self.read_both(&text, asked, clock, io, deadline)).await,
            };
            match read {
                Ok((bytes, token)) => {
                    let seen = self
                        .has_leases
                        .then(|| Box::new(Seen { at: started, form: form.clone(), bytes: bytes.clone() }));
                    (self.answered(form, &text, bytes, token, clock), Ok(token), seen)
                }
                Err(error) => (kept(), Err(error), None),
            }
        };
        let is_fresh = matches!(&entry, Ok(Some(opened)) if opened.verdict == Verdict::Fresh);
        let (text, untimed_since, left) = match is_fresh && token.is_ok() {
            true => (None, Some(started), budget),
            // Not `into_vec`, which takes a byte at a time.
            false => (Some(text.to_vec()), None, budget.saturating_sub(started.elapsed())),
        };
        let ticket = Ticket { token, clears, format, text, left, untimed_since, seen, lease: None };
        Ok(Look { entry, ticket })
    }

    /// The entry in `bytes`, which the server says are all there is; else a result that it just didn't take.
    fn answered(
        &self,
        form: &Form,
        text: &[u8],
        bytes: Option<Bytes>,
        token: Token,
        clock: &Clock,
    ) -> Result<Option<Opened>, Error> {
        self.outage(text).answered(clock);
        match bytes.map_or(Ok(None), |bytes| self.open_entry(form, text, bytes, token, clock)) {
            Ok(Some(opened)) => Ok(Some(opened)),
            nothing => {
                self.outage(text).missed(text, token, clock).map_or(nothing, |kept| Ok(Some(kept.into())))
            }
        }
    }

    /// The entry in `bytes`, if it may be served now.
    #[inline]
    fn open_entry(
        &self,
        form: &Form,
        text: &[u8],
        bytes: Bytes,
        token: Token,
        clock: &Clock,
    ) -> Result<Option<Opened>, Error> {
        let (header, payload) = envelope::open(&form.binding(text), bytes)?;
        let is_current = header.groups.first() == Some(&token);
        Ok(if is_current { self.judged(&header, payload, clock) } else { None })
    }

    /// An entry of the current generation, if it may be served.
    #[inline]
    fn judged(&self, header: &Header, payload: Bytes, clock: &Clock) -> Option<Opened> {
        let cost = Duration::from_micros(header.cost_us.into());
        let verdict = self.verdict(header.fresh_until_ms, cost, clock);
        let is_served = verdict != Verdict::Gone && !header.is_hollow();
        is_served.then_some(Opened { payload, cost, verdict, source: Source::Entry })
    }

    /// Not inlined, so that what calls it can be: an entry is copied from call to call else.
    #[inline(never)]
    fn verdict(&self, fresh_until_ms: Option<u64>, cost: Duration, clock: &Clock) -> Verdict {
        let nanos = |millis: u64| millis.saturating_mul(1_000_000);
        let is_before = |until| self.owed.generation.is_before(until, clock);
        if !self.judge.is_eager() && fresh_until_ms.is_none_or(is_before) {
            return Verdict::Fresh;
        }
        let fresh_until = fresh_until_ms.map_or(u64::MAX, nanos);
        self.judge.verdict(nanos(clock.unix_ms()), fresh_until, cost, fastrand::f64)
    }

    /// The right to store the result of a run that begins now.
    pub(crate) async fn ticket(&self, format: MakeFormat, clock: &Clock, io: Io) -> Result<Ticket, Error> {
        // A type without a form has nowhere to be stored.
        self.form(format)?;
        let (clears, started) = (self.clears(), Instant::now());
        let token = self.token(clock, io, started + self.budget()).await;
        let left = self.budget().saturating_sub(started.elapsed());
        Ok(Ticket { token, clears, format, text: None, left, untimed_since: None, seen: None, lease: None })
    }

    /// Stores a value under the generation of its ticket. What the server doesn't take stays in this process for a
    /// moment, and what it `replaces` there must not be served. `false` if the run has lost its lease.
    pub(crate) async fn store(&self, write: Write<'_>, clock: &Clock, io: Io) -> Result<bool, Error> {
        let Write { key, ticket, packed, life, cost, replaces, leader } = write;
        let (Packed::Encoded(payload), call::Ticket::Remote(mut ticket)) = (packed, ticket) else {
            return Err(Error::new(ErrorKind::Encode, "a server takes encoded values only"));
        };
        let form = self.form(ticket.format)?;
        let text = ticket.text.take().unwrap_or_else(|| key.text_bytes(&form.head).to_vec());
        let since = self.owed.latest();
        let result = self.put(&text, &payload, life, cost, &ticket, clock, io).await;
        match &result {
            Ok(false) => {}
            _ if leader.is_some_and(Leader::is_given_up) => drop(self.owed.removal(text)),
            Ok(true) => {
                self.owed.replaced(&text, since);
                self.outage(&text).remove(&text);
            }
            Err(error) => {
                if replaces {
                    drop(self.owed.removal(text.clone()));
                }
                let Ticket { token, clears, .. } = ticket;
                let outcome = Outcome { payload, cost, clears, generation: token.ok() };
                let outage = self.outage(&text);
                outage.keep(text, outcome, life, error.kind(), clock);
            }
        }
        result
    }

    #[expect(clippy::too_many_arguments, reason = "what an entry consists of")]
    async fn put(
        &self,
        text: &[u8],
        payload: &[u8],
        life: Option<Duration>,
        cost: Duration,
        ticket: &Ticket,
        clock: &Clock,
        io: Io,
    ) -> Result<bool, Error> {
        let (token, now) = (ticket.token.clone()?, clock.unix_ms());
        let header = Header {
            flags: 0,
            created_ms: now,
            fresh_until_ms: life.map(|life| now.saturating_add(millis(life))),
            cost_us: Header::cost(cost),
            groups: [token].into(),
        };
        let bytes =
            envelope::seal(&self.form(ticket.format)?.binding(text), &header, payload.len(), |out| {
                out.extend_from_slice(payload);
                Ok(())
            })?;
        let backend = self.connected.of(io);
        if bytes.len() > backend.max_value_len() {
            let message =
                format!("{} bytes where the backend takes {}", bytes.len(), backend.max_value_len());
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let kept = life.map(|life| life.saturating_add(Duration::from_nanos(self.judge.grace())));
        let deadline = Instant::now() + ticket.left;
        match &ticket.lease {
            Some(lease) => lease.store(bytes.into(), kept, deadline, io).await,
            None => backend.set(text, bytes.into(), kept, deadline).await.map(|()| true),
        }
    }

    /// Stores a value that no run gave. What was there must not be served either, if it can't be stored.
    pub(crate) async fn insert(
        &self,
        key: Key,
        packed: Packed,
        life: Option<Duration>,
        format: MakeFormat,
        clock: &Clock,
        io: Io,
    ) -> Result<bool, Error> {
        let _owed = self.removal(&key, format)?;
        let ticket = call::Ticket::Remote(self.ticket(format, clock, io).await?);
        let write = Write { key, ticket, packed, life, cost: Duration::ZERO, replaces: true, leader: None };
        self.store(write, clock, io).await
    }

    /// Removes the entry under `key` soon, off the caller's path.
    pub(crate) fn supersede(&self, key: &Key, ticket: &Ticket) {
        drop(self.removal(key, ticket.format));
    }

    /// The entry under `key` is to go, or to be replaced, before the debt is dropped: else it is removed in the
    /// background, and not served until it is.
    fn removal(&self, key: &Key, format: MakeFormat) -> Result<Debt, Error> {
        let text = key.text_bytes(&self.form(format)?.head);
        self.outage(&text).remove(&text);
        Ok(self.owed.removal(text.to_vec()))
    }

    /// Removes the entry under `key`.
    pub(crate) async fn delete(&self, key: &Key, format: MakeFormat, io: Io) -> Result<(), Error> {
        self.removal(key, format)?.pay(io).await
    }

    /// Voids every entry.
    pub(crate) async fn clear(&self, io: Io) -> Result<(), Error> {
        self.outages.iter().for_each(Outage::clear);
        self.owed.clear().pay(io).await
    }

    /// What is kept while the server of `text` is away.
    fn outage(&self, text: &[u8]) -> &Outage {
        &self.outages[self.connected.server_of(text)]
    }

    /// How many clears there were; the same for all servers.
    fn clears(&self) -> u64 {
        self.outages[0].clears()
    }

    /// The generation that an entry must have.
    async fn token(&self, clock: &Clock, io: Io, deadline: Instant) -> Result<Token, Error> {
        let backend = self.connected.of(io);
        match self.owed.generation.known(clock) {
            Ok(token) => Ok(token),
            Err(asked) => {
                let found = backend.get(self.generation_key.as_bytes(), deadline).await?;
                self.learn(found, asked, backend, clock, deadline).await
            }
        }
    }

    /// The bytes under `text`, and the generation as the server has it.
    async fn read_both(
        &self,
        text: &[u8],
        asked: Asked,
        clock: &Clock,
        io: Io,
        deadline: Instant,
    ) -> Result<(Option<Bytes>, Token), Error> {
        let backend = self.connected.of(io);
        let keys = [text, self.generation_key.as_bytes()];
        let mut found = backend.get_many(&keys, deadline).await?.into_iter();
        let (entry, generation) = (found.next().flatten(), found.next().flatten());
        Ok((entry, self.learn(generation, asked, backend, clock, deadline).await?))
    }

    /// The generation from what the server holds; made there if it holds none.
    async fn learn(
        &self,
        found: Option<Bytes>,
        asked: Asked,
        backend: &dyn AsyncBackend,
        clock: &Clock,
        deadline: Instant,
    ) -> Result<Token, Error> {
        let token = match found.as_deref().map(Token::try_from) {
            Some(Ok(token)) => token,
            _ => self.make_token(backend, deadline).await?,
        };
        self.owed.generation.learn(token, asked, clock);
        Ok(token)
    }

    /// Puts a new token on the server; if another process was faster, takes its one.
    async fn make_token(&self, backend: &dyn AsyncBackend, deadline: Instant) -> Result<Token, Error> {
        let key = self.generation_key.as_bytes();
        for _ in 0..3 {
            let token = random_token();
            if backend.add(key, Bytes::copy_from_slice(&token), None, deadline).await? {
                return Ok(token);
            }
            match backend.get(key, deadline).await?.as_deref().map(Token::try_from) {
                Some(Ok(token)) => return Ok(token),
                // Nobody's token.
                Some(Err(_)) => drop(backend.delete(key, deadline).await?),
                // Another clear.
                None => {}
            }
        }
        Err(Error::new(ErrorKind::Server, "the backend loses the function's generation as it is written"))
    }
}

impl From<Outcome> for Opened {
    fn from(Outcome { payload, cost, .. }: Outcome) -> Self {
        Self { payload, cost, verdict: Verdict::Fresh, source: Source::Outage }
    }
}

impl Forms {
    fn iter(&self) -> impl Iterator<Item = &(usize, Made)> {
        successors(Some(self), |list| list.rest.get().map(Box::as_ref)).filter_map(|list| list.first.get())
    }

    /// Adds the form of `make`, unless another thread was faster.
    fn add(&self, make: usize, made: Made) -> &Made {
        let (known, form) = self.first.get_or_init(|| (make, made.clone()));
        if *known == make { form } else { self.rest.get_or_init(Box::default).add(make, made) }
    }
}

impl Form {
    fn binding<'a>(&self, text: &'a [u8]) -> Binding<'a> {
        Binding { key: text, shape: self.shape, codec: self.codec }
    }
}
