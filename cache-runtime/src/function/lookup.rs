//! Looking up: the fast paths of hits in memory, and look-ups that may wait for a server.

use super::call::{Call, Lookup};
use super::place::{Getting, Ticket};
use super::state::State;
use crate::common::clock::Clock;
use crate::common::stripe;
use crate::common::wait::MaybeReady;
use crate::error::Error;
use crate::freshness::Freshness;
use crate::key::Key;
use crate::memory::Life;
use crate::remote::Query;
use crate::value::{Packed, Value};

impl State {
    /// The number under `key`, if it is in this process and nothing has to be decided about it: it is fresh, and entries are
    /// not renewed early. Counts a hit. A reader that meets a writer may miss it.
    #[inline]
    pub(crate) fn number(&self, key: &Result<Key, Error>) -> Option<u64> {
        let (Ok(key), false) = (key, self.decides_hits) else { return None };
        let stripe = stripe::current()?;
        let count_hit = |clock: &Clock, life: Life| {
            let is_hit = clock.is_before(life.deadline.saturating_sub(self.margin));
            if is_hit {
                self.counters.hits.one(life.cost, stripe);
            }
            is_hit
        };
        match key.short() {
            Some(short) if self.margin == 0 => self.place.number(short, count_hit),
            _ => self.number_in_body(key),
        }
    }

    /// A number under a long key, or one that lives on when it is read. Compiled once.
    #[inline(never)]
    fn number_in_body(&self, key: &Key) -> Option<u64> {
        self.hit_under(key, |value| match value {
            Value::Number(bits) => Some(*bits),
            Value::Shared(_) => None,
        })
    }

    /// What `serve` makes of the value under `key`, if it is in this process and nothing has to be decided about it. Counts
    /// a hit if it makes something.
    #[inline]
    pub(crate) fn hit<T>(
        &self,
        key: &Result<Key, Error>,
        serve: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let (Ok(key), false) = (key, self.decides_hits) else { return None };
        self.hit_under(key, serve)
    }

    #[inline]
    fn hit_under<T>(&self, key: &Key, serve: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let stripe = stripe::current()?;
        self.place.hit(key, move |clock, value, life| {
            let is_hit = clock.is_before(life.deadline.saturating_sub(self.margin));
            let served = if is_hit { serve(value) } else { None };
            if served.is_some() {
                self.counters.hits.one(life.cost, stripe);
            }
            served
        })
    }

    /// Looks up the entry of `call`.
    #[inline(never)]
    pub(crate) fn get<'s>(&'s self, call: Call<'s>) -> Getting<'s> {
        if self.is_disabled {
            return Getting::done(Lookup::miss(Ticket::None));
        }
        match call.query() {
            Ok(query) => self.place.get(query, None),
            Err(error) => Getting::done(Lookup::failed(error.clone())),
        }
    }

    /// Counts what went wrong in a look-up.
    pub(super) fn count_failures(&self, lookup: &Lookup) {
        if let Some(error) = &lookup.failure {
            self.failed(error);
        }
        if let Some(error) = &lookup.undecodable {
            self.undecodable(error);
        }
    }

    /// The entry of `query`, without counting a hit or a miss.
    #[inline(never)]
    pub(crate) fn peek<'s>(&'s self, query: Query<'s>) -> MaybeReady<'s, Result<Option<Packed>, Error>> {
        let peek = async move {
            if self.is_disabled {
                return Ok(None);
            }
            let lookup = self.place.get(query, None).await;
            match lookup.failure {
                Some(error) => Err(error),
                None => {
                    let found = lookup.found.filter(|found| found.freshness != Freshness::Reserve);
                    Ok(found.map(|found| found.packed))
                }
            }
        };
        MaybeReady::of(peek, query.caller)
    }
}
