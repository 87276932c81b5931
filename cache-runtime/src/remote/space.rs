//! One space of the plain cache: what all that use it in this process share.
//!
//! The generation of a space is part of its keys, so a clear leaves its entries where nobody looks. That holds for
//! numbers too, which have no envelope, and `add` finds nothing in its way. The generation is a hash of the tokens of the
//! space and of those around it.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;

use super::envelope::Token;
use super::fallback::{FallbackResult, FallbackStore};
use super::generation::Asked;
use super::invalidations::{Invalidation, PendingInvalidations};
use crate::backend::Versioned;
use crate::backend::connected::Connected;
use crate::common::background;
use crate::common::clock::Clock;
use crate::common::sync::lock;
use crate::common::wait::Caller;
use crate::error::Error;
use crate::flight::Flights;
use crate::freshness::Found;
use crate::key::path::KeySpace;

/// The kinds of the plain cache's keys. The kinds of a function's keys are 0 and the fingerprints of value types.
const ENTRY: u64 = 1;
const GENERATION: u64 = 2;

/// The most keys that wait for the generation one by one. More of them become one clear.
const MAX_UNPLACED: usize = 1024;

/// How often it is looked whether what is pending has been delivered.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Space {
    pub(crate) connected: Arc<Connected>,
    pub(crate) clock: Clock,
    pub(crate) flights: Flights,
    /// In memory, how often the space was cleared: nobody else uses its entries, and a token could be evicted.
    clears: Option<AtomicU64>,
    /// The space around this one.
    parent: Option<Arc<Space>>,
    /// The text in front of every key and its generation.
    head: String,
    pub(crate) invalidations: Arc<PendingInvalidations>,
    /// Keys with a pending invalidation from before the generation was first known.
    unplaced: Mutex<HashSet<String>>,
    has_unplaced: AtomicBool,
    fallback: FallbackStore,
}

/// What was read, and the generation that it was read in.
pub(crate) struct Read {
    pub(crate) generation: Token,
    pub(crate) values: Vec<Option<Versioned>>,
}

impl Space {
    /// `path` tells the spaces on `connected` apart.
    pub(crate) fn new(
        connected: Arc<Connected>,
        clock: Clock,
        path: &str,
        parent: Option<Arc<Self>>,
    ) -> Self {
        let keys = KeySpace::new(&connected.prefix, path, 0);
        let generation_key = format!("{}generation", keys.head(GENERATION));
        let invalidations = PendingInvalidations::new(connected.clone(), clock.clone(), generation_key);
        Self {
            flights: Flights::default(),
            clears: connected.is_memory.then(AtomicU64::default),
            parent,
            head: keys.head(ENTRY),
            invalidations: Arc::new(invalidations),
            unplaced: Mutex::default(),
            has_unplaced: AtomicBool::new(false),
            fallback: FallbackStore::new(clock.clone()),
            clock,
            connected,
        }
    }

    /// This space and those around it.
    fn levels(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |space| space.parent.as_deref())
    }

    /// The token, if it is known well enough. Otherwise the question to ask now.
    fn token(&self) -> Result<Token, Asked> {
        self.clears
            .as_ref()
            .map_or_else(|| self.invalidations.generation.known(), |clears| Ok(counted(clears)))
    }

    /// The token that was known last.
    fn last_token(&self) -> Option<Token> {
        self.clears
            .as_ref()
            .map_or_else(|| self.invalidations.generation.last(), |clears| Some(counted(clears)))
    }

    /// The generation that was known last.
    pub(crate) fn last(&self) -> Option<Token> {
        self.levels().map(Self::last_token).collect::<Option<Vec<_>>>().map(|tokens| join(&tokens))
    }

    /// The key on the server.
    pub(crate) fn text(&self, generation: &Token, key: &str) -> Vec<u8> {
        let mut text = String::with_capacity(self.head.len() + 23 + key.len());
        text.push_str(&self.head);
        BASE64URL_NOPAD.encode_append(generation, &mut text);
        text.push(':');
        text.push_str(key);
        text.into_bytes()
    }

    /// What the runs of a key and their results are found by in this process.
    pub(crate) fn local(&self, key: &str) -> Vec<u8> {
        [&self.last().unwrap_or_default()[..], key.as_bytes()].concat()
    }

    /// The generation now. Read again when it was read long ago.
    pub(crate) async fn generation(&self, deadline: Instant, caller: Caller) -> Result<Token, Error> {
        self.read(&[], deadline, caller).await.map(|read| read.generation)
    }

    /// Reads what is under `keys`, together with the tokens that are due. What has a pending invalidation is not there.
    pub(crate) async fn read(&self, keys: &[&str], deadline: Instant, caller: Caller) -> Result<Read, Error> {
        let known: Vec<Result<Token, Asked>> = self.levels().map(Self::token).collect();
        let last = |(space, known): (&Self, &Result<Token, Asked>)| known.ok().or_else(|| space.last_token());
        let guess: Option<Vec<Token>> = self.levels().zip(&known).map(last).collect();
        let mut read =
            Read { generation: guess.as_deref().map(join).unwrap_or_default(), values: Vec::new() };
        let mut is_guessed = guess.is_some();
        if known.iter().any(Result::is_err) {
            let due = self.levels().zip(&known).filter(|(_, known)| known.is_err());
            let due: Vec<&[u8]> =
                due.map(|(space, _)| space.invalidations.generation_key.as_bytes()).collect();
            let guessed = if is_guessed { keys } else { &[] };
            let (values, found) = self.fetch(&read.generation, guessed, &due, deadline, caller).await?;
            let (mut found, mut tokens) = (found.into_iter(), Vec::new());
            for (space, known) in self.levels().zip(known) {
                tokens.push(match known {
                    Ok(token) => token,
                    Err(asked) => {
                        let found = found.next().flatten();
                        space.invalidations.learn(found, asked, caller, deadline).await?
                    }
                });
            }
            is_guessed = guess.is_some_and(|guess| guess == tokens);
            read = Read { generation: join(&tokens), values };
            if is_guessed {
                return Ok(read);
            }
        }
        self.place_pending(&read.generation);
        if !keys.is_empty() {
            read.values = self.fetch(&read.generation, keys, &[], deadline, caller).await?.0;
        }
        Ok(read)
    }

    /// What is under `keys` and under `others`, in one round trip.
    async fn fetch(
        &self,
        generation: &Token,
        keys: &[&str],
        others: &[&[u8]],
        deadline: Instant,
        caller: Caller,
    ) -> Result<(Vec<Option<Versioned>>, Vec<Option<Versioned>>), Error> {
        let texts: Vec<Vec<u8>> = keys.iter().map(|key| self.text(generation, key)).collect();
        let all: Vec<&[u8]> = texts.iter().map(Vec::as_slice).chain(others.iter().copied()).collect();
        // Delivered at any moment, so that it is looked for before the read and after it.
        let was_pending: Vec<bool> = texts.iter().map(|text| self.invalidations.has(text)).collect();
        let mut values = match all.as_slice() {
            [one] => vec![self.connected.get(one, deadline, caller).await?],
            all => self.connected.get_many(all, deadline, caller).await?,
        };
        let others = values.split_off(keys.len().min(values.len()));
        for ((text, was_pending), value) in texts.iter().zip(was_pending).zip(&mut values) {
            if was_pending || self.invalidations.has(text) {
                *value = None;
            }
        }
        Ok((values, others))
    }

    /// Begins to remove the entry under `text`. Unless that is sent before it is dropped, it is delivered in the
    /// background.
    pub(crate) fn remove(&self, text: &[u8]) -> Invalidation {
        self.invalidations.remove(text.into(), None, None)
    }

    /// Removes the entry under `key` in the background. Until that is delivered, this process doesn't serve it.
    pub(crate) fn remove_later(&self, key: &str) {
        match self.last() {
            Some(generation) => drop(self.remove(&self.text(&generation, key))),
            None => {
                let mut unplaced = lock(&self.unplaced);
                if unplaced.len() < MAX_UNPLACED {
                    unplaced.insert(key.to_owned());
                } else {
                    drop(self.invalidations.clear());
                }
                self.has_unplaced.store(true, Ordering::Release);
            }
        }
    }

    fn place_pending(&self, generation: &Token) {
        if self.has_unplaced.swap(false, Ordering::AcqRel) {
            let keys = mem::take(&mut *lock(&self.unplaced));
            keys.iter().for_each(|key| drop(self.remove(&self.text(generation, key))));
        }
    }

    /// Ends what is in this space and in those within it.
    pub(crate) async fn clear(&self, caller: Caller) -> Result<(), Error> {
        if let Some(clears) = &self.clears {
            clears.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        self.invalidations.clear().send(caller).await
    }

    /// Keeps a result that could not be stored for the reason `why`.
    pub(crate) fn keep(&self, local: Vec<u8>, payload: bytes::Bytes, life: Option<Duration>, why: &Error) {
        let (clears, generation) = (self.fallback.clears(), self.last());
        let result = FallbackResult { payload, cost: Duration::ZERO, clears, generation };
        self.fallback.put(local, result, life, why);
    }

    /// A result that could not be stored, for a call that the server doesn't answer.
    pub(crate) fn kept_while_down(&self, local: &[u8]) -> Option<Found> {
        self.fallback.get_while_down(local).map(Found::from)
    }

    /// A result that the server has just refused to store, for a call that finds nothing there.
    pub(crate) fn kept_after_miss(&self, local: &[u8], generation: &Token) -> Option<Found> {
        self.fallback.server_answered();
        self.fallback.get_after_miss(local, *generation).map(Found::from)
    }

    pub(crate) fn forget_kept(&self, local: &[u8]) {
        self.fallback.remove(local);
    }
}

/// What is pending is delivered, though nobody uses the space any more.
impl Drop for Space {
    fn drop(&mut self) {
        if self.invalidations.is_pending() {
            let pending = self.invalidations.clone();
            background::schedule(LOOK_EVERY, move || pending.is_pending().then_some(LOOK_EVERY));
        }
    }
}

/// A token that differs after each clear.
fn counted(clears: &AtomicU64) -> Token {
    u128::from(clears.load(Ordering::SeqCst)).to_le_bytes()
}

/// The generation of a space with these tokens.
fn join(tokens: &[Token]) -> Token {
    let hash = blake3::hash(tokens.as_flattened());
    let mut generation = Token::default();
    generation.copy_from_slice(&hash.as_bytes()[..size_of::<Token>()]);
    generation
}

/// The spaces in use, by their backend and path.
#[derive(Default)]
pub(crate) struct Spaces(Mutex<HashMap<(usize, String), Arc<Space>>>);

/// The most spaces that are remembered while nobody uses them.
const MAX_UNUSED: usize = 1024;

impl Spaces {
    /// The space at `path`, whose segments are separated by slashes.
    pub(crate) fn get(&self, connected: &Arc<Connected>, clock: &Clock, path: &str) -> Arc<Space> {
        let parent = path.rsplit_once('/').map(|(parent, _)| self.get(connected, clock, parent));
        let mut spaces = lock(&self.0);
        // A space holds its backend, so that the address stays its own.
        let id = (Arc::as_ptr(connected).addr(), path.to_owned());
        if let Some(space) = spaces.get(&id) {
            return space.clone();
        }
        if spaces.len() >= MAX_UNUSED && spaces.len().is_power_of_two() {
            spaces.retain(|_, space| Arc::strong_count(space) > 1 || space.invalidations.is_pending());
        }
        let space = Arc::new(Space::new(connected.clone(), clock.clone(), path, parent));
        spaces.insert(id, space.clone());
        space
    }
}
