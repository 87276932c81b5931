//! The steps of a [`State`] that may wait, each as one [`Soon`] for both kinds of callers.
//!
//! Nothing here is generic, so all of it is compiled here: async code is otherwise compiled by whoever awaits it, again
//! in each crate with cached functions, and a future takes room in every future around it, though only a miss or a
//! server needs it.

use std::time::Duration;

use crate::error::Error;
use crate::io::{Io, Soon};
use crate::key::Key;
use crate::state::State;
use crate::step::{Run, Ticket, Turn};
use crate::value::{MakeFormat, Packed};

impl State {
    /// Looks, and comes to a run where nothing is found.
    #[inline(never)]
    pub(crate) fn begin<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        landed: u64,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Turn> {
        Soon::of(self.find_or_turn(key, landed, format, io), io)
    }

    /// Comes to a run, whatever is there.
    #[inline(never)]
    pub(crate) fn begin_anew<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Turn> {
        let turn = async move {
            let ticket = self.find_ticket(key, format, io).await;
            self.find_turn(key, ticket, None, format, io).await
        };
        Soon::of(turn, io)
    }

    /// Comes to a run, where what was found doesn't serve.
    #[inline(never)]
    pub(crate) fn turn<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        ticket: Ticket,
        landed: u64,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Turn> {
        Soon::of(self.find_turn(key, ticket, Some(landed), format, io), io)
    }

    /// Comes to renew what was found, if nobody else does.
    #[inline(never)]
    pub(crate) fn elect<'s>(
        &'s self,
        key: &'s Key,
        ticket: &'s Ticket,
        landed: u64,
        io: Io,
    ) -> Soon<'s, Option<Run>> {
        Soon::of(self.lead_renewal(key, ticket, landed, io), io)
    }

    #[inline(never)]
    pub(crate) fn finish(
        &self,
        run: Run,
        result: Option<(Packed, Option<Duration>)>,
        cost: Duration,
        io: Io,
    ) -> Soon<'_, ()> {
        Soon::of(self.store_result(run, result, cost, io), io)
    }

    #[inline(never)]
    pub(crate) fn peek<'s>(
        &'s self,
        key: &'s Key,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Result<Option<Packed>, Error>> {
        Soon::of(self.find(key, format, io), io)
    }

    #[inline(never)]
    pub(crate) fn insert(
        &self,
        key: Key,
        packed: Packed,
        life: Option<Duration>,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'_, Result<(), Error>> {
        Soon::of(self.store_value(key, packed, life, format, io), io)
    }

    #[inline(never)]
    pub(crate) fn delete<'s>(
        &'s self,
        key: &'s Key,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Result<(), Error>> {
        Soon::of(self.remove(key, format, io), io)
    }

    #[inline(never)]
    pub(crate) fn clear(&self, io: Io) -> Soon<'_, Result<(), Error>> {
        Soon::of(self.remove_all(io), io)
    }
}
