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
    #[inline(never)]
    pub(crate) fn ticket<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Ticket> {
        Soon::of(self.find_ticket(key, format, io), io)
    }

    #[inline(never)]
    pub(crate) fn turn(
        &self,
        key: Result<Key, Error>,
        ticket: Ticket,
        landed: Option<u64>,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'_, Turn> {
        Soon::of(self.find_turn(key, ticket, landed, format, io), io)
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
}
