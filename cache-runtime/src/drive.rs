//! The steps of a [`State`] that may wait, for blocking callers done at once and for async ones boxed.
//!
//! Nothing here is generic, so all of it is compiled here: async code is otherwise compiled by whoever awaits it, again
//! in each crate with cached functions, and a future takes room in every future around it, though only a miss or a
//! server needs it.

use std::time::Duration;

use crate::backend::BoxFuture;
use crate::error::Error;
use crate::io::{Io, block_on};
use crate::key::Key;
use crate::state::State;
use crate::step::{Looked, Run, Ticket, Turn};
use crate::value::{MakeFormat, Packed};

/// What of a result is to be stored, and for how long.
type Kept = Option<(Packed, Option<Duration>)>;

impl State {
    #[inline(never)]
    pub(crate) fn look_now(&self, key: &Key, format: MakeFormat) -> Looked {
        block_on(self.look(key, format, Io::Blocking))
    }

    #[inline(never)]
    pub(crate) fn look_soon<'s>(&'s self, key: &'s Key, format: MakeFormat) -> BoxFuture<'s, Looked> {
        Box::pin(self.look(key, format, Io::Async))
    }

    #[inline(never)]
    pub(crate) fn ticket_now(&self, key: &Result<Key, Error>, format: MakeFormat) -> Ticket {
        block_on(self.ticket(key, format, Io::Blocking))
    }

    #[inline(never)]
    pub(crate) fn ticket_soon<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        format: MakeFormat,
    ) -> BoxFuture<'s, Ticket> {
        Box::pin(self.ticket(key, format, Io::Async))
    }

    #[inline(never)]
    pub(crate) fn turn_now(
        &self,
        key: Result<Key, Error>,
        ticket: Ticket,
        landed: Option<u64>,
        format: MakeFormat,
    ) -> Turn {
        block_on(self.turn(key, ticket, landed, format, Io::Blocking))
    }

    #[inline(never)]
    pub(crate) fn turn_soon(
        &self,
        key: Result<Key, Error>,
        ticket: Ticket,
        landed: Option<u64>,
        format: MakeFormat,
    ) -> BoxFuture<'_, Turn> {
        Box::pin(self.turn(key, ticket, landed, format, Io::Async))
    }

    #[inline(never)]
    pub(crate) fn finish_now(&self, run: Run, kept: Kept, cost: Duration) {
        block_on(self.finish(run, kept, cost, Io::Blocking));
    }

    #[inline(never)]
    pub(crate) fn finish_soon(&self, run: Run, kept: Kept, cost: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.finish(run, kept, cost, Io::Async))
    }

    #[inline(never)]
    pub(crate) fn delete_now(&self, key: &Key, format: MakeFormat) -> Result<(), Error> {
        block_on(self.delete(key, format, Io::Blocking))
    }

    #[inline(never)]
    pub(crate) fn delete_soon<'s>(
        &'s self,
        key: &'s Key,
        format: MakeFormat,
    ) -> BoxFuture<'s, Result<(), Error>> {
        Box::pin(self.delete(key, format, Io::Async))
    }
}
