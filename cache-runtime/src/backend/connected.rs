//! A backend as functions use it, with the settings that belong to it. A connection is made at first use.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::SetOptions;
use super::breaker::WithBreaker;
use super::request::{Condition, Reply, Request, Service, Version, Versioned};
use crate::codec::ChosenCodec;
use crate::common::random;
use crate::common::wait::{Caller, block_on};
use crate::error::{Error, ErrorKind};

/// How many keys a check reads together. Nodes of a Redis Cluster have only some keys each.
const KEYS_READ: usize = 8;

/// How long the keys of a check stay if it ends early.
const CHECK_TTL: Duration = Duration::from_secs(10);

pub(crate) struct Connected {
    service: Box<dyn Service>,
    pub(crate) prefix: String,
    pub(crate) default_ttl: Option<Duration>,
    /// The format of a plain cache.
    pub(crate) codec: ChosenCodec,
    /// Whether it is memory of this process.
    pub(crate) is_memory: bool,
    /// The total time that a call may spend on this backend.
    pub(crate) timeout: Duration,
}

impl Connected {
    /// Without a breaker: for memory, which can't be down.
    pub(crate) fn new(
        service: Box<dyn Service>,
        prefix: String,
        default_ttl: Option<Duration>,
        timeout: Duration,
    ) -> Self {
        Self { service, prefix, default_ttl, codec: ChosenCodec::default(), is_memory: true, timeout }
    }

    /// With a breaker for each server. `place` is the backend's name or redacted URL.
    pub(crate) fn with_breaker(self, place: String) -> Self {
        Self {
            service: Box::new(WithBreaker::new(self.service, place, self.timeout)),
            is_memory: false,
            ..self
        }
    }

    pub(crate) async fn get(
        &self,
        key: &[u8],
        deadline: Instant,
        caller: Caller,
    ) -> Result<Option<Versioned>, Error> {
        self.service.call(Request::Get(key), deadline, caller).await?.value()
    }

    pub(crate) async fn get_many(
        &self,
        keys: &[&[u8]],
        deadline: Instant,
        caller: Caller,
    ) -> Result<Vec<Option<Versioned>>, Error> {
        self.service.call(Request::GetMany(keys), deadline, caller).await?.values()
    }

    /// The version of the stored value; `None` if `condition` did not hold.
    pub(crate) async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        options: SetOptions,
        condition: Condition<'_>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<Option<Version>, Error> {
        let request = Request::Set { key, value, options, condition };
        self.service.call(request, deadline, caller).await?.set()
    }

    pub(crate) async fn delete(&self, key: &[u8], deadline: Instant, caller: Caller) -> Result<bool, Error> {
        self.service.call(Request::Delete(key), deadline, caller).await?.done()
    }

    /// Performs `request`.
    pub(crate) async fn call(
        &self,
        request: Request<'_>,
        deadline: Instant,
        caller: Caller,
    ) -> Result<Reply, Error> {
        self.service.call(request, deadline, caller).await
    }

    /// Fails for a value of `len` bytes if the backend takes none so large.
    pub(crate) fn check_len(&self, len: usize) -> Result<(), Error> {
        let limit = self.service.max_value_len();
        if len <= limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::TooLarge, format!("{len} bytes, but the backend takes at most {limit}")))
    }

    /// How many parts of the keys can be out of reach while the others are not.
    pub(crate) fn parts(&self) -> usize {
        self.service.groups().max(self.servers())
    }

    /// Which of the parts has `key`, always the same.
    pub(crate) fn part_of(&self, key: &[u8]) -> usize {
        match self.service.groups() {
            1 => self.server_of(key),
            _ => self.group_of(key),
        }
    }

    /// How many servers the keys are spread over; at least one.
    fn servers(&self) -> usize {
        self.service.servers().max(1)
    }

    /// Which of the servers has `key` now.
    fn server_of(&self, key: &[u8]) -> usize {
        self.service.server_of(key)
    }

    /// Which of the groups has `key`: see [`Service::groups`].
    pub(crate) fn group_of(&self, key: &[u8]) -> usize {
        self.service.group_of(key)
    }

    /// For each group a key that begins with `start`: `start` itself if there is one group.
    pub(crate) fn key_in_each_group(&self, start: &str) -> Vec<String> {
        let groups = self.service.groups();
        if groups == 1 {
            return vec![start.to_owned()];
        }
        let mut keys: Vec<Option<String>> = vec![None; groups];
        let mut missing = groups;
        for key in (0..1000 * groups).map(|n| format!("{start}:{n}")) {
            let place = &mut keys[self.group_of(key.as_bytes())];
            missing -= usize::from(place.is_none());
            place.get_or_insert(key);
            if missing == 0 {
                break;
            }
        }
        keys.into_iter().map(|key| key.unwrap_or_else(|| start.to_owned())).collect()
    }

    /// Why requests for `key` are rejected at once now, if they are.
    pub(crate) fn rejection(&self, key: &[u8]) -> Option<Error> {
        self.service.rejection(key)
    }

    /// Does what calls do, under the prefix, so that wrong settings and missing permissions show. Ends at the first error.
    pub(crate) fn check(&self) -> Result<(), Error> {
        (0..self.servers()).try_for_each(|server| block_on(pin!(self.check_server(server))))
    }

    async fn check_server(&self, server: usize) -> Result<(), Error> {
        let random = u64::from_le_bytes(random::bytes());
        let keys = (0..1000 * KEYS_READ).map(|n| format!("{}cache-runtime:check:{random}:{n}", self.prefix));
        let keys = keys.filter(|key| self.server_of(key.as_bytes()) == server).take(KEYS_READ);
        let keys: Vec<String> = keys.collect();
        let Some(key) = keys.first().map(String::as_bytes) else { return Ok(()) };
        let (caller, deadline) = (Caller::Blocking, || Instant::now() + self.timeout);
        let set = |value: &'static str, condition| {
            self.set(key, value.into(), SetOptions::new().ttl(CHECK_TTL), condition, deadline(), caller)
        };
        let read: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        self.get_many(&read, deadline(), caller).await?;
        set("first", Condition::Always).await?;
        self.get(key, deadline(), caller).await?;
        let first = Versioned::from(Bytes::from_static(b"first"));
        match set("second", first.is_unchanged()).await {
            // Everything works without, only not as well.
            Err(error) if error.kind() == ErrorKind::Denied && error.refusal().is_some() => {}
            Err(error) if error.kind() == ErrorKind::Denied => {
                log::warn!("results that replace an entry are not stored: {error}");
            }
            replaced => drop(replaced?),
        }
        self.delete(key, deadline(), caller).await?;
        set("third", Condition::Absent).await?;
        self.delete(key, deadline(), caller).await.map(drop)
    }
}
