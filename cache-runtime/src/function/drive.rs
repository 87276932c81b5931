//! The steps of a [`State`] that may wait, each as one [`Soon`] for both kinds of callers.
//!
//! Nothing here is generic, so all of it is compiled here: async code is otherwise compiled by whoever awaits it, again
//! in each crate with cached functions, and a future takes room in every future around it, though only a miss or a
//! server needs it.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::common::wait::{Io, Soon};
use crate::error::Error;
use crate::freshness::Verdict;
use crate::function::call::{Found, Looked, Run, Ticket, Turn};
use crate::function::state::State;
use crate::key::Key;
use crate::remote::Look;
use crate::value::{MakeFormat, Packed};

impl State {
    /// Looks for what is under `key`.
    #[inline(never)]
    pub(crate) fn look<'s>(&'s self, key: &'s Result<Key, Error>, format: MakeFormat, io: Io) -> Looking<'s> {
        match self.look_here(key) {
            Ok(looked) => Looking::Here(ready(looked)),
            Err((remote, key)) => Looking::Asked(self, self.ask(remote, key, format, io)),
        }
    }

    /// Comes to what a call is to do by what it has found; if that is fresh, it doesn't unpack.
    #[inline(never)]
    pub(crate) fn begin<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        looked: Looked,
        landed: u64,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Turn> {
        match (looked, key) {
            (Looked::Found(found), Ok(key)) if found.verdict != Verdict::Fresh => {
                Soon::of(self.answer_or_renew(key, found, landed, io), io)
            }
            (Looked::Found(found), _) => self.turn(key, found.ticket.resumed(), landed, format, io),
            (Looked::Miss(ticket), _) => self.turn(key, ticket, landed, format, io),
        }
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

    /// Comes to what a call is to do that was to answer with what doesn't unpack.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "it is unpacked here, and not in all the callers")]
    pub(crate) fn begin_again<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        found: Box<Found>,
        landed: u64,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Turn> {
        self.turn(key, found.ticket.resumed(), landed, format, io)
    }

    fn turn<'s>(
        &'s self,
        key: &'s Result<Key, Error>,
        ticket: Ticket,
        landed: u64,
        format: MakeFormat,
        io: Io,
    ) -> Soon<'s, Turn> {
        Soon::of(self.find_turn(key, ticket, Some(landed), format, io), io)
    }

    #[inline(never)]
    pub(crate) fn finish(
        &self,
        run: Box<Run>,
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

/// A look-up under way. Not a [`Soon`], which would be a box around the one of the server's answer.
pub(crate) enum Looking<'s> {
    Here(Ready<Looked>),
    Asked(&'s State, Soon<'s, Result<Look, Error>>),
}

impl Looking<'_> {
    /// For blocking callers.
    pub(crate) fn now(self) -> Looked {
        match self {
            Self::Here(looked) => looked.into_inner(),
            Self::Asked(state, answer) => state.looked(answer.now()),
        }
    }
}

impl Future for Looking<'_> {
    type Output = Looked;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Looked> {
        match self.get_mut() {
            Self::Here(looked) => Pin::new(looked).poll(cx),
            Self::Asked(state, answer) => Pin::new(answer).poll(cx).map(|answer| state.looked(answer)),
        }
    }
}
