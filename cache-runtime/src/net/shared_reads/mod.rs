//! Blocking reads that find every connection busy share a request.
//!
//! A read that finds a free connection uses it alone. Of the reads that find none, the first leads: it waits for a
//! connection like any call, and those that arrive meanwhile wait for it. When it has a connection, all of them go out as
//! one `get_many`. Many connections are released within one round trip, so the wait is short, and with more callers more
//! of them share a request.
//!
//! A batch ends at the deadline of its leader, so it takes no read that has much more time; the first of those leads the
//! next batch. A read with less time gives up when its own deadline passes. Whatever happens to a leader, another takes
//! over, and its waiters get at least an error. Knows keys and bytes, no protocol.

#[cfg(test)]
mod tests;

use std::iter::once;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use super::MAX_BATCH;
use super::options::Span;
use super::pool::{Permit, Pool};
use crate::common::process::PerProcess;
use crate::common::sync::lock;
use crate::error::{Error, ErrorKind};

/// The blocking reads of values `V` that wait for a connection to one server.
pub(crate) struct SharedReads<V>(PerProcess<Mutex<Queue<V>>>);

struct Queue<V> {
    /// A read waits for a connection, or has been told to.
    has_leader: bool,
    /// The reads that wait for the leader, in the order they came. Some may have given up.
    waiting: Vec<Waiter<V>>,
}

struct Waiter<V> {
    key: Vec<u8>,
    deadline: Instant,
    /// Takes one message.
    tell: SyncSender<Message<V>>,
}

enum Message<V> {
    Value(Result<Option<V>, Error>),
    /// Lead the next batch.
    Lead,
}

impl<V> Default for SharedReads<V> {
    fn default() -> Self {
        Self(PerProcess::new())
    }
}

impl<V> SharedReads<V> {
    /// The value under `key`, read together with others. If this call leads, `read` reads the values of all keys, its own
    /// first.
    pub(crate) fn get<C>(
        &self,
        pool: &Pool<C>,
        key: &[u8],
        span: Span,
        read: impl FnOnce(Permit<'_, C>, &[&[u8]]) -> Result<Vec<Result<Option<V>, Error>>, Error>,
    ) -> Result<Option<V>, Error> {
        let leader = match self.join(key, span.end) {
            Ok(leader) => leader,
            Err(messages) => match self.wait(messages, span.end) {
                Some(Message::Lead) => Leader(self.queue()),
                Some(Message::Value(value)) => return value,
                None => return Err(pool.busy()),
            },
        };
        let permit = pool.permit(span)?;
        let waiters = leader.take_batch(span.end);
        let keys: Vec<&[u8]> = once(key).chain(waiters.iter().map(|waiter| &*waiter.key)).collect();
        let values = read(permit, &keys);
        deliver(waiters, values)
    }

    fn queue(&self) -> &Mutex<Queue<V>> {
        self.0.get(|_| Mutex::new(Queue { has_leader: false, waiting: Vec::new() }))
    }

    /// Leads if no other read does, and otherwise waits for messages.
    fn join(&self, key: &[u8], deadline: Instant) -> Result<Leader<'_, V>, Receiver<Message<V>>> {
        let mut queue = lock(self.queue());
        if !queue.has_leader {
            queue.has_leader = true;
            return Ok(Leader(self.queue()));
        }
        let (tell, messages) = sync_channel(1);
        queue.waiting.push(Waiter { key: key.to_vec(), deadline, tell });
        Err(messages)
    }

    fn wait(&self, messages: Receiver<Message<V>>, deadline: Instant) -> Option<Message<V>> {
        match messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Disconnected) => Some(Message::Value(Err(failed()))),
            Err(RecvTimeoutError::Timeout) => {
                // Locked until `messages` is dropped: otherwise it could be told to lead after the last look at it.
                let (_queue, messages) = (lock(self.queue()), messages);
                messages.try_recv().ok()
            }
        }
    }
}

/// The duty to lead. When it is dropped, another read takes over.
struct Leader<'r, V>(&'r Mutex<Queue<V>>);

impl<V> Leader<'_, V> {
    /// The waiters of a batch that ends at `end`, without those that would lose over a third of their time if the batch
    /// failed. The reads that stay behind, and those that come from now on, go with the next batch.
    fn take_batch(self, end: Instant) -> Vec<Waiter<V>> {
        let now = Instant::now();
        let loss = end.saturating_duration_since(now) / 2;
        let mut queue = lock(self.0);
        let fits = |waiter: &mut Waiter<V>| {
            waiter.deadline > now && waiter.deadline.saturating_duration_since(end) <= loss
        };
        queue.waiting.extract_if(.., fits).take(MAX_BATCH - 1).collect()
    }
}

impl<V> Drop for Leader<'_, V> {
    fn drop(&mut self) {
        let mut queue = lock(self.0);
        queue.has_leader = loop {
            if queue.waiting.is_empty() {
                break false;
            }
            // An error means that this waiter has given up.
            if queue.waiting.remove(0).tell.try_send(Message::Lead).is_ok() {
                break true;
            }
        };
    }
}

/// Gives each waiter its value, and returns the leader's.
fn deliver<V>(
    waiters: Vec<Waiter<V>>,
    values: Result<Vec<Result<Option<V>, Error>>, Error>,
) -> Result<Option<V>, Error> {
    let mut values = values.and_then(|values| {
        if values.len() == 1 + waiters.len() { Ok(values.into_iter()) } else { Err(failed()) }
    });
    let mut next = || match &mut values {
        Ok(values) => values.next().unwrap_or(Ok(None)),
        Err(error) => Err(error.clone()),
    };
    let own = next();
    for waiter in waiters {
        // An error means that this waiter has given up.
        let _ = waiter.tell.try_send(Message::Value(next()));
    }
    own
}

fn failed() -> Error {
    Error::new(ErrorKind::Unavailable, "the combined read failed")
}
