//! Writing: the results of runs, values that users insert, and invalidations.

use super::call::{Life, Packaged, Run, RunTime, Write};
use super::place::Ticket;
use super::state::State;
use crate::common::wait::{Caller, MaybeReady};
use crate::error::Error;
use crate::key::Key;
use crate::remote::Query;
use crate::value::{Packed, Shared};

impl State {
    /// Ends a run: stores its result and hands it to all waiters. A store that fails is counted and not returned, because
    /// the caller has its result.
    #[inline(never)]
    pub(crate) fn finish(
        &self,
        run: Run,
        result: Option<Packaged>,
        time: RunTime,
        caller: Caller,
    ) -> MaybeReady<'_, ()> {
        match run.target {
            Some((_, Ticket::Remote(_))) => {
                MaybeReady::of(self.put_result(run, result, time, caller), caller)
            }
            _ => {
                self.put_result_at_once(run, result, time);
                MaybeReady::done(())
            }
        }
    }

    /// Ends a run that has no server to wait for. As a future, this would be half of what a miss in memory takes.
    fn put_result_at_once(&self, run: Run, result: Option<Packaged>, time: RunTime) {
        let shared = result.as_ref().map(|result| Shared::Value(result.packed.clone()));
        let replaces = run.replaces;
        let (leader, target) = run.end();
        if let Some((key, ticket)) = target {
            self.pauses.end(key.bytes());
            match result {
                Some(Packaged { packed, life: Some(life) }) => {
                    let result = self.place.put_at_once(&key, &ticket, packed, life, time, leader.as_ref());
                    self.count_store(&result);
                }
                _ => self.place.end(&key, ticket, replaces, Caller::Blocking).wait(),
            }
        }
        if let Some(leader) = leader {
            leader.complete(shared);
        }
    }

    async fn put_result(&self, run: Run, result: Option<Packaged>, time: RunTime, caller: Caller) {
        let shared = result.as_ref().map(|result| Shared::Value(result.packed.clone()));
        let replaces = run.replaces;
        let (leader, target) = run.end();
        if let Some((key, ticket)) = target {
            self.pauses.end(key.bytes());
            match result {
                Some(Packaged { packed, life: Some(life) }) => {
                    let is_counted = ticket.failure().is_some();
                    let leader = leader.as_ref();
                    let write = Write { key, ticket, packed, life, time, replaces, leader, caller };
                    let result = self.place.put(write).await;
                    if !is_counted {
                        self.count_store(&result);
                    }
                }
                _ => self.place.end(&key, ticket, replaces, caller).await,
            }
        }
        if let Some(leader) = leader {
            leader.complete(shared);
        }
    }

    /// Ends a run whose result is not stored; waiters take what is `shared`. `is_newer` is whether the result is newer than
    /// the entry, which must not be served any more then.
    pub(crate) fn finish_without_result(
        &self,
        run: Run,
        shared: Option<Shared>,
        is_newer: bool,
        caller: Caller,
    ) {
        let removes = is_newer && run.replaces;
        let (leader, target) = run.end();
        if let Some((key, ticket)) = target {
            if removes {
                self.pauses.end(key.bytes());
            }
            let ended = self.place.end(&key, ticket, removes, caller);
            // An async caller holds its return value, which need not be `Send`, so it can't wait.
            if caller == Caller::Blocking {
                ended.wait();
            }
        }
        if let Some(leader) = leader {
            leader.complete(shared);
        }
    }

    /// Stores a value that no run computed; `None` has no lifetime, and an error could not be packed. The value before it
    /// is removed if the new one is not stored.
    #[inline(never)]
    pub(crate) fn insert<'s>(
        &'s self,
        query: Query<'s>,
        value: Result<Option<(Packed, Life)>, Error>,
    ) -> MaybeReady<'s, Result<(), Error>> {
        let (packed, life) = match value {
            Ok(Some(value)) => value,
            Ok(None) => return self.remove(query),
            Err(error) => {
                let remove = async move {
                    // If that fails, it is pending.
                    _ = self.remove(query).await;
                    Err(error)
                };
                return MaybeReady::of(remove, query.caller);
            }
        };
        let insert = async move {
            if self.is_disabled {
                return Ok(());
            }
            self.detach_run(query.key).await;
            let result = self.place.insert(query, packed, life).await;
            if !self.place.is_broken() {
                self.count_store(&result);
            }
            result.map(drop)
        };
        MaybeReady::of(insert, query.caller)
    }

    /// Removes the entry of `query`, also while caching is switched off: other processes may still read it.
    #[inline(never)]
    pub(crate) fn remove<'s>(&'s self, query: Query<'s>) -> MaybeReady<'s, Result<(), Error>> {
        let remove = async move {
            self.detach_run(query.key).await;
            self.count_failure(self.place.remove(query).await)
        };
        MaybeReady::of(remove, query.caller)
    }

    /// Voids every entry, also while caching is switched off.
    #[inline(never)]
    pub(crate) fn clear(&self, caller: Caller) -> MaybeReady<'_, Result<(), Error>> {
        let clear = async move {
            // A result that is being stored belongs to the generation that ends now, so there is nothing to wait for.
            self.flights.invalidate_all();
            self.count_failure(self.place.clear(caller).await)
        };
        MaybeReady::of(clear, caller)
    }

    /// Keeps the run of `key` from storing its result. If it is storing now, waits for that, or has the entry removed
    /// afterwards.
    async fn detach_run(&self, key: &Key) {
        for store in self.flights.invalidate(key.bytes()) {
            store.done(self.place.budget()).await;
        }
    }
}
