//! Requests for several keys, split by server, so that a server that is down fails only its own keys.

use std::time::Instant;

use bytes::Bytes;

use super::{Breakers, WithBreaker};
use crate::backend::request::{Reply, Request};
use crate::common::wait::Caller;
use crate::error::Error;

/// Whether the keys of `request` live on more than one server.
pub(super) fn is_for_several(breakers: &Breakers, request: &Request<'_>) -> bool {
    let differ = |one: &[u8], other: &[u8]| breakers.server_of(one) != breakers.server_of(other);
    match request {
        Request::GetMany(keys) | Request::DeleteMany(keys) => {
            keys.windows(2).any(|pair| differ(pair[0], pair[1]))
        }
        Request::SetMany { entries, .. } => entries.windows(2).any(|pair| differ(pair[0].0, pair[1].0)),
        _ => false,
    }
}

/// Sends each server its part of `request`.
pub(super) async fn send_each(
    breaker: &WithBreaker,
    request: Request<'_>,
    deadline: Instant,
    caller: Caller,
) -> Result<Reply, Error> {
    match request {
        Request::GetMany(keys) => {
            let mut values = vec![None; keys.len()];
            for places in by_server(&breaker.0, keys.iter().copied()) {
                let part: Vec<&[u8]> = places.iter().map(|place| keys[*place]).collect();
                let found = breaker.send(Request::GetMany(&part), deadline, caller).await?.values()?;
                places.into_iter().zip(found).for_each(|(place, value)| values[place] = value);
            }
            Ok(Reply::Values(values))
        }
        Request::SetMany { entries, options } => {
            let mut results: Vec<Result<(), Error>> = vec![Ok(()); entries.len()];
            for places in by_server(&breaker.0, entries.iter().map(|(key, _)| *key)) {
                let part: Vec<(&[u8], Bytes)> = places.iter().map(|place| entries[*place].clone()).collect();
                let request = Request::SetMany { entries: &part, options };
                let set = breaker.send(request, deadline, caller).await.and_then(Reply::set_each);
                let set = set.unwrap_or_else(|error| vec![Err(error); part.len()]);
                places.into_iter().zip(set).for_each(|(place, result)| results[place] = result);
            }
            Ok(Reply::SetEach(results))
        }
        Request::DeleteMany(keys) => {
            let (mut count, mut failure) = (0, None);
            for places in by_server(&breaker.0, keys.iter().copied()) {
                let part: Vec<&[u8]> = places.iter().map(|place| keys[*place]).collect();
                let deleted = breaker.send(Request::DeleteMany(&part), deadline, caller).await;
                match deleted.and_then(Reply::count) {
                    Ok(deleted) => count += deleted,
                    Err(error) => failure = Some(error),
                }
            }
            failure.map_or(Ok(Reply::Count(count)), Err)
        }
        request => breaker.send(request, deadline, caller).await,
    }
}

/// The places of the keys of each server.
fn by_server<'k>(breakers: &Breakers, keys: impl Iterator<Item = &'k [u8]>) -> Vec<Vec<usize>> {
    let mut places = vec![Vec::new(); breakers.breakers.len()];
    keys.enumerate().for_each(|(place, key)| places[breakers.server_of(key)].push(place));
    places.retain(|places| !places.is_empty());
    places
}
