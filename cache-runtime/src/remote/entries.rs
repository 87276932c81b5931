//! What a [`State`](crate::function::spec::State) asks of entries that are not in this process, as a table of methods.
//!
//! Only [`open`] names what stands behind the table, and only functions with a remote backend name [`open`]: so a
//! program whose functions are all in memory holds no code for servers. [`Leased`] does the same for leases, because
//! a ticket that may hold one is a part of every call.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::common::clock::Clock;
use crate::common::wait::{Io, Soon, block_on};
use crate::config::context::Context;
use crate::error::Error;
use crate::flight::Began;
use crate::freshness::Judge;
use crate::function::call::Write;
use crate::function::spec::Spec;
use crate::key::Key;
use crate::remote::envelope::Group as Token;
use crate::remote::lease::Lease;
use crate::remote::{Lead, Look, Remote, Ticket};
use crate::value::{MakeFormat, Packed};

/// The entries of one function: see the methods of the same names of [`Remote`].
pub(crate) trait Elsewhere: Send + Sync {
    fn namespace_there(&self) -> &str;
    fn head(&self, format: MakeFormat) -> Result<String, Error>;
    fn misuse(&self) -> Vec<Error>;
    fn default_ttl(&self) -> Option<Duration>;
    fn budget(&self) -> Duration;
    fn look<'a>(
        &'a self,
        key: &'a Key,
        format: MakeFormat,
        budget: Duration,
        clock: &'a Clock,
        io: Io,
    ) -> Soon<'a, Result<Look, Error>>;
    fn ticket<'a>(&'a self, format: MakeFormat, clock: &'a Clock, io: Io) -> Soon<'a, Result<Ticket, Error>>;
    fn store<'a>(&'a self, write: Write<'a>, clock: &'a Clock, io: Io) -> Soon<'a, Result<bool, Error>>;
    fn insert<'a>(
        &'a self,
        key: Key,
        packed: Packed,
        life: Option<Duration>,
        format: MakeFormat,
        clock: &'a Clock,
        io: Io,
    ) -> Soon<'a, Result<bool, Error>>;
    fn delete<'a>(&'a self, key: &'a Key, format: MakeFormat, io: Io) -> Soon<'a, Result<(), Error>>;
    fn clear(&self, io: Io) -> Soon<'_, Result<(), Error>>;
    fn supersede(&self, key: &Key, ticket: &Ticket);
    fn outdates(&self, key: &Key, ticket: &Ticket, began: Began) -> bool;
    fn lead<'a>(
        &'a self,
        key: &'a Key,
        ticket: &'a mut Ticket,
        replaces: bool,
        until: Option<Instant>,
        clock: &'a Clock,
        io: Io,
    ) -> Soon<'a, Result<Lead, Error>>;
    fn lead_renewal<'a>(
        &'a self,
        key: &'a Key,
        ticket: &'a mut Ticket,
        clock: &'a Clock,
        io: Io,
    ) -> Soon<'a, Result<bool, Error>>;
}

/// The entries on the server that `spec` names.
pub(crate) fn open(
    context: &Context,
    spec: &Spec,
    namespace: &str,
    judge: Judge,
) -> Result<Box<dyn Elsewhere>, Error> {
    Ok(Box::new(Remote::open(context, spec, namespace, judge)?))
}

impl Elsewhere for Remote {
    fn namespace_there(&self) -> &str {
        self.namespace_there()
    }

    fn head(&self, format: MakeFormat) -> Result<String, Error> {
        self.head(format)
    }

    fn misuse(&self) -> Vec<Error> {
        self.misuse()
    }

    fn default_ttl(&self) -> Option<Duration> {
        self.default_ttl()
    }

    fn budget(&self) -> Duration {
        self.budget()
    }

    fn look<'a>(
        &'a self,
        key: &'a Key,
        format: MakeFormat,
        budget: Duration,
        clock: &'a Clock,
        io: Io,
    ) -> Soon<'a, Result<Look, Error>> {
        // Made where it is polled, because hits are made of it: a future that is handed on is copied.
        match io {
            Io::Blocking => Soon::done(block_on(pin!(self.look(key, format, budget, clock, io)))),
            Io::Async => Soon::Later(Box::pin(self.look(key, format, budget, clock, io))),
        }
    }

    fn ticket<'a>(&'a self, format: MakeFormat, clock: &'a Clock, io: Io) -> Soon<'a, Result<Ticket, Error>> {
        Soon::of(self.ticket(format, clock, io), io)
    }

    fn store<'a>(&'a self, write: Write<'a>, clock: &'a Clock, io: Io) -> Soon<'a, Result<bool, Error>> {
        Soon::of(self.store(write, clock, io), io)
    }

    fn insert<'a>(
        &'a self,
        key: Key,
        packed: Packed,
        life: Option<Duration>,
        format: MakeFormat,
        clock: &'a Clock,
        io: Io,
    ) -> Soon<'a, Result<bool, Error>> {
        Soon::of(self.insert(key, packed, life, format, clock, io), io)
    }

    fn delete<'a>(&'a self, key: &'a Key, format: MakeFormat, io: Io) -> Soon<'a, Result<(), Error>> {
        Soon::of(self.delete(key, format, io), io)
    }

    fn clear(&self, io: Io) -> Soon<'_, Result<(), Error>> {
        Soon::of(self.clear(io), io)
    }

    fn supersede(&self, key: &Key, ticket: &Ticket) {
        self.supersede(key, ticket);
    }

    fn outdates(&self, key: &Key, ticket: &Ticket, began: Began) -> bool {
        ticket.outdates(key, began)
    }

    fn lead<'a>(
        &'a self,
        key: &'a Key,
        ticket: &'a mut Ticket,
        replaces: bool,
        until: Option<Instant>,
        clock: &'a Clock,
        io: Io,
    ) -> Soon<'a, Result<Lead, Error>> {
        Soon::of(self.lead(key, ticket, replaces, until, clock, io), io)
    }

    fn lead_renewal<'a>(
        &'a self,
        key: &'a Key,
        ticket: &'a mut Ticket,
        clock: &'a Clock,
        io: Io,
    ) -> Soon<'a, Result<bool, Error>> {
        Soon::of(self.lead_renewal(key, ticket, clock, io), io)
    }
}

/// The right to run a body for the whole cluster: see the methods of the same names of [`Lease`].
pub(crate) trait Leased: Send + Sync {
    fn holder(&self) -> Token;
    fn end_empty(&self);
    fn store(
        &self,
        entry: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        io: Io,
    ) -> Soon<'_, Result<bool, Error>>;
}

impl Leased for Lease {
    fn holder(&self) -> Token {
        self.holder()
    }

    fn end_empty(&self) {
        self.end_empty();
    }

    fn store(
        &self,
        entry: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
        io: Io,
    ) -> Soon<'_, Result<bool, Error>> {
        Soon::of(self.store(entry, ttl, deadline, io), io)
    }
}
