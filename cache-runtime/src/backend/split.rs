//! Requests for several keys, split by server, so that servers are asked at the same time and one that is down fails only
//! its own keys.

use bytes::Bytes;

use super::SetOptions;
use super::request::{Answer, Reply, Request, Versioned};
use crate::common::wait::{Caller, all};
use crate::error::Error;

/// The parts of a request, one for each server.
pub(super) struct Parts<'r>(Vec<Part<'r>>);

struct Part<'r> {
    /// Where its keys are in the request.
    places: Vec<usize>,
    keys: Keys<'r>,
}

enum Keys<'r> {
    Read(Vec<&'r [u8]>),
    Set(Vec<(&'r [u8], Bytes)>, SetOptions),
    Delete(Vec<&'r [u8]>),
}

impl<'r> Parts<'r> {
    /// `None` if all keys of `request` are on one server.
    pub(super) fn of(request: &Request<'r>, server_of: impl Fn(&[u8]) -> usize) -> Option<Self> {
        match request {
            Request::GetMany(keys) => Self::by_server(keys, |key| key, server_of, Keys::Read),
            Request::DeleteMany(keys) => Self::by_server(keys, |key| key, server_of, Keys::Delete),
            Request::SetMany { entries, options } => {
                Self::by_server(entries, |(key, _)| key, server_of, |entries| Keys::Set(entries, *options))
            }
            _ => None,
        }
    }

    fn by_server<T: Clone>(
        items: &[T],
        key_of: impl Fn(&T) -> &[u8],
        server_of: impl Fn(&[u8]) -> usize,
        keys: impl Fn(Vec<T>) -> Keys<'r>,
    ) -> Option<Self> {
        let servers: Vec<usize> = items.iter().map(|item| server_of(key_of(item))).collect();
        if servers.windows(2).all(|pair| pair[0] == pair[1]) {
            return None;
        }
        let mut distinct = servers.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let part = |server: usize| {
            let places: Vec<usize> = (0..items.len()).filter(|place| servers[*place] == server).collect();
            let items = places.iter().map(|place| items[*place].clone()).collect();
            Part { keys: keys(items), places }
        };
        Some(Self(distinct.into_iter().map(part).collect()))
    }

    /// Sends all parts at the same time, and puts their replies together.
    pub(super) async fn send<'p>(
        &'p self,
        caller: Caller,
        send: impl Fn(Request<'p>) -> Answer<'p> + Sync,
    ) -> Result<Reply, Error> {
        let send = &send;
        let calls = self.0.iter().map(|part| move || send(part.request()));
        self.join(all(calls.collect(), caller).await)
    }

    fn join(&self, replies: Vec<Result<Reply, Error>>) -> Result<Reply, Error> {
        let len = self.0.iter().map(|part| part.places.len()).sum();
        let replies = self.0.iter().zip(replies);
        match self.0.first().map(|part| &part.keys) {
            None | Some(Keys::Read(_)) => {
                let mut values: Vec<Option<Versioned>> = vec![None; len];
                for (part, reply) in replies {
                    part.places
                        .iter()
                        .zip(reply?.values()?)
                        .for_each(|(place, value)| values[*place] = value);
                }
                Ok(Reply::Values(values))
            }
            Some(Keys::Set(..)) => {
                let mut results: Vec<Result<(), Error>> = vec![Ok(()); len];
                for (part, reply) in replies {
                    let set = reply.and_then(Reply::set_each);
                    let set = set.unwrap_or_else(|error| vec![Err(error); part.places.len()]);
                    part.places.iter().zip(set).for_each(|(place, result)| results[*place] = result);
                }
                Ok(Reply::SetEach(results))
            }
            Some(Keys::Delete(_)) => {
                // The parts that failed don't keep the others from being performed.
                let counts: Result<Vec<_>, _> = replies.map(|(_, reply)| reply?.count()).collect();
                counts.map(|counts| Reply::Count(counts.into_iter().sum()))
            }
        }
    }
}

impl Part<'_> {
    fn request(&self) -> Request<'_> {
        match &self.keys {
            Keys::Read(keys) => Request::GetMany(keys),
            Keys::Set(entries, options) => Request::SetMany { entries, options: *options },
            Keys::Delete(keys) => Request::DeleteMany(keys),
        }
    }
}
