//! Keys whose values are too large for the line to the server.
//!
//! A value that takes longer to travel than a call has time holds up everything that shares its request, and fails each
//! time. So after a request that ran out of time while its bytes were moving, its keys travel alone for a while, which
//! shows whose value it was. That key is then set aside: it is not asked for, and its value not sent, for a while. Knows keys
//! and times, no protocol.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::request::Request;
use crate::common::sync::lock;
use crate::error::{Error, ErrorKind, Reason};
use crate::net::pool::idle::LARGE;

/// How long a key is set aside, and how long the keys of a shared request travel alone.
const PAUSE: Duration = Duration::from_secs(10);

/// How long a key that was set aside travels alone.
const ALONE: Duration = Duration::from_secs(300);

/// The most keys that are remembered. Each has cost a call its time, so there are few.
const MAX_KEYS: usize = 1024;

#[derive(Default)]
pub(crate) struct LargeValues {
    /// Whether there may be any. While there is none, no call takes the lock.
    has_any: AtomicBool,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    by_key: HashMap<Vec<u8>, Times>,
    /// When those that are over are dropped.
    next_purge: Option<Instant>,
}

/// What a key is remembered for.
#[derive(Clone, Copy)]
struct Times {
    aside_until: Option<Instant>,
    alone_until: Instant,
}

impl LargeValues {
    /// Whether a read of `key` must not share a request.
    pub(crate) fn travels_alone(&self, key: &[u8]) -> bool {
        self.has_any.load(Ordering::Relaxed)
            && lock(&self.keys).by_key.get(key).is_some_and(|times| Instant::now() < times.alone_until)
    }

    /// Whether the reads of `keys` must not share a request.
    pub(crate) fn splits(&self, keys: &[&[u8]]) -> bool {
        keys.len() > 1 && keys.iter().any(|key| self.travels_alone(key))
    }

    /// Rejects a request for a value that is set aside.
    pub(crate) fn check(&self, request: &Request<'_>) -> Result<(), Error> {
        if !self.has_any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (known, now) = (lock(&self.keys), Instant::now());
        let is_aside = |key: &[u8]| {
            known.by_key.get(key).and_then(|times| times.aside_until).is_some_and(|until| now < until)
        };
        let is_rejected = match request {
            Request::Get(key) => is_aside(key),
            Request::GetMany(keys) => keys.iter().any(|key| is_aside(key)),
            Request::Set { key, value, .. } => value.len() >= LARGE && is_aside(key),
            Request::SetMany { entries, .. } => {
                entries.iter().any(|(key, value)| value.len() >= LARGE && is_aside(key))
            }
            Request::Delete(_)
            | Request::DeleteMany(_)
            | Request::Contains(_)
            | Request::Touch { .. }
            | Request::Incr { .. }
            | Request::Ttl(_) => false,
        };
        if !is_rejected {
            return Ok(());
        }
        let message =
            "the value takes more time to travel than a call has, and is set aside for some seconds";
        Err(Error::new(ErrorKind::Timeout, message).because(Reason::LargeValue))
    }

    /// Remembers how `request` went, and returns its result.
    pub(crate) fn note<T>(&self, request: &Request<'_>, result: Result<T, Error>) -> Result<T, Error> {
        match &result {
            Err(error) if matches!(error.reason(), Reason::LargeValue) => self.remember(request),
            Ok(_) if self.has_any.load(Ordering::Relaxed) => self.forget(request),
            _ => {}
        }
        result
    }

    /// The same for a request that several calls share. Its error says nothing about the key of any one of them.
    pub(crate) fn note_shared<T>(&self, request: &Request<'_>, result: Result<T, Error>) -> Result<T, Error> {
        self.note(request, result).map_err(|error| match error.reason() {
            Reason::LargeValue => error.because(Reason::Process),
            _ => error,
        })
    }

    #[cold]
    fn remember(&self, request: &Request<'_>) {
        let (mut known, now) = (lock(&self.keys), Instant::now());
        known.purge(now);
        match request {
            Request::GetMany(keys) if keys.len() > 1 => {
                let times = Times { aside_until: None, alone_until: now + PAUSE };
                keys.iter().for_each(|key| known.insert(key, times));
            }
            // Whose value it was is unknown, and sets are not shared.
            Request::SetMany { .. } => {}
            request => {
                let times = Times { aside_until: Some(now + PAUSE), alone_until: now + ALONE };
                known.by_key.remove(request.first_key());
                known.insert(request.first_key(), times);
            }
        }
        self.has_any.store(!known.by_key.is_empty(), Ordering::Relaxed);
    }

    /// A value that has arrived is not too large, and what was stored or removed is another one.
    #[cold]
    fn forget(&self, request: &Request<'_>) {
        let (mut known, now) = (lock(&self.keys), Instant::now());
        match request {
            Request::Get(key) => {
                if known.by_key.get(*key).is_some_and(|times| times.aside_until.is_some()) {
                    known.by_key.remove(*key);
                }
            }
            Request::GetMany(_)
            | Request::Contains(_)
            | Request::Touch { .. }
            | Request::Incr { .. }
            | Request::Ttl(_) => {}
            Request::Set { key, .. } | Request::Delete(key) => _ = known.by_key.remove(*key),
            Request::SetMany { entries, .. } => {
                entries.iter().for_each(|(key, _)| _ = known.by_key.remove(*key));
            }
            Request::DeleteMany(keys) => keys.iter().for_each(|key| _ = known.by_key.remove(*key)),
        }
        if known.next_purge.is_none_or(|due| due <= now) {
            known.purge(now);
        }
        self.has_any.store(!known.by_key.is_empty(), Ordering::Relaxed);
    }
}

impl Keys {
    /// Remembers a key if there is room, unless more is known of it.
    fn insert(&mut self, key: &[u8], times: Times) {
        if self.by_key.len() < MAX_KEYS {
            self.by_key.entry(key.to_vec()).or_insert(times);
        }
    }

    fn purge(&mut self, now: Instant) {
        self.by_key.retain(|_, times| now < times.alone_until);
        self.next_purge = Some(now + PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::backend::request::{Condition, Reply};
    use crate::backend::{SetOptions, Version};

    fn too_slow() -> Result<Reply, Error> {
        Err(Error::new(ErrorKind::Timeout, "slow").because(Reason::LargeValue))
    }

    fn set(key: &[u8], len: usize) -> Request<'_> {
        let value = Bytes::from(vec![0; len]);
        Request::Set { key, value, options: SetOptions::new(), condition: Condition::Always }
    }

    #[test]
    fn keys_of_a_shared_request_travel_alone_and_the_culprit_is_set_aside() {
        let large = LargeValues::default();
        let (keys, answer) = ([&b"a"[..], b"b"], || Ok(Reply::Value(None)));
        let error = large.note_shared(&Request::GetMany(&keys), too_slow()).unwrap_err();
        assert!(matches!(error.reason(), Reason::Process), "whose value it was is unknown");
        assert!(keys.iter().all(|key| large.travels_alone(key)) && large.splits(&keys));
        large.note(&Request::Get(b"a"), answer()).unwrap();
        assert!(
            large.check(&Request::Get(b"a")).is_ok() && large.travels_alone(b"a"),
            "it has been in bad company"
        );
        large.note(&Request::Get(b"b"), too_slow()).unwrap_err();
        let error = large.check(&Request::Get(b"b")).unwrap_err();
        assert!(!error.is_about_server() && error.kind() == ErrorKind::Timeout, "{error}");
        assert!(large.check(&Request::GetMany(&keys)).is_err() && large.check(&set(b"b", LARGE)).is_err());
        assert!(large.check(&set(b"b", LARGE - 1)).is_ok() && large.check(&Request::Delete(b"b")).is_ok());
    }

    #[test]
    fn what_replaces_a_large_value_is_asked_for_at_once() {
        for request in [set(b"a", 1), Request::Delete(b"a")] {
            let large = LargeValues::default();
            large.note(&set(b"a", LARGE), too_slow()).unwrap_err();
            assert!(large.check(&Request::Get(b"a")).is_err());
            large.note(&request, Ok(Reply::Set(Some(Version::UNKNOWN)))).unwrap();
            assert!(large.check(&Request::Get(b"a")).is_ok() && !large.travels_alone(b"a"));
            assert!(!large.has_any.load(Ordering::Relaxed), "calls are as fast as before");
        }
    }

    #[test]
    fn few_keys_are_remembered_and_not_for_long() {
        let large = LargeValues::default();
        for n in 0..2 * MAX_KEYS {
            large.note(&Request::Get(&n.to_le_bytes()), too_slow()).unwrap_err();
        }
        assert_eq!(lock(&large.keys).by_key.len(), MAX_KEYS);
        lock(&large.keys).purge(Instant::now() + PAUSE);
        assert!(large.travels_alone(&0_usize.to_le_bytes()));
        lock(&large.keys).purge(Instant::now() + ALONE);
        large.note(&Request::Get(b"another"), Ok(Reply::Value(None))).unwrap();
        assert!(!large.has_any.load(Ordering::Relaxed));
    }
}
