//! A Redis Cluster: a router over its nodes, each of which is a server with connections of its own.
//!
//! Every key has a slot, and every slot a node. A table of all slots says which. A node that doesn't have a key says where it
//! is, and the request goes there. The table is loaded with the first request, and renewed in the background when a node has
//! redirected a request or doesn't answer. No caller waits for that.
//!
//! See the [specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::exchange::{Asking, Slots};
use super::node::{Call, Node};
use super::topology::{Redirect, SLOTS, SlotRange, redirect, slot_of};
use super::url::Access;
use super::{Reply, Request, Span};
use crate::backend::split::Parts;
use crate::common::background;
use crate::common::process::PerProcess;
use crate::common::sync::lock;
use crate::common::wait::{Caller, MaybeReady, block_on, pause};
use crate::error::{Effect, Error, ErrorKind, Reason};
use crate::net::dial::Address;

/// The most nodes whose connections are kept. Clusters are made for up to 1000.
const MAX_NODES: usize = 1024;

/// How many servers the rest of the crate sees. Nodes whose places have the same remainder share a breaker.
pub(super) const SERVERS: usize = 64;

/// How many groups of neighboring slots there are. Nodes have ranges of slots, so the slots of a group are on one node, apart
/// from the few groups in which one node's range ends.
pub(super) const GROUPS: usize = 64;

/// The redirects that a request follows at once. While nodes hand over a slot, each may say for some milliseconds that the other
/// has it.
const QUICK_REDIRECTS: u32 = 3;

/// The most redirects that a request follows. The pauses before them add up to half a second.
const MAX_REDIRECTS: u32 = QUICK_REDIRECTS + 9;

/// The pause before the table is renewed, so that many redirects renew it once, and before the next node is asked for it.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest that one node is asked for the table in the background.
const RENEWAL: Duration = Duration::from_millis(250);

pub(super) struct Cluster(Arc<Table>);

struct Table {
    access: Access,
    /// The nodes of the URL.
    seeds: Vec<Address>,
    is_loaded: AtomicBool,
    /// For each slot the place of its node.
    slots: Box<[AtomicU16]>,
    /// The nodes by their places.
    nodes: Box<[ArcSwapOption<Node>]>,
    renewal: PerProcess<Renewal>,
}

#[derive(Default)]
struct Renewal {
    is_scheduled: AtomicBool,
    /// Which node is asked next.
    next: AtomicUsize,
    /// Locked while nodes get their places, and slots their nodes. So every slot has a node.
    placing: Mutex<()>,
}

/// Which of the [`GROUPS`] has `key`.
pub(super) fn group_of(key: &[u8]) -> usize {
    usize::from(slot_of(key)) * GROUPS / usize::from(SLOTS)
}

impl Cluster {
    pub(super) fn new(access: Access, seeds: Vec<Address>) -> Self {
        Self(Arc::new(Table {
            access,
            seeds,
            is_loaded: AtomicBool::new(false),
            slots: (0..SLOTS).map(|_| AtomicU16::new(0)).collect(),
            nodes: (0..MAX_NODES).map(|_| ArcSwapOption::empty()).collect(),
            renewal: PerProcess::new(),
        }))
    }

    /// Which of the [`SERVERS`] has `key`.
    pub(super) fn server_of(&self, key: &[u8]) -> usize {
        self.0.place_of(key) % SERVERS
    }

    /// Performs `request`, its parts for several nodes at the same time.
    pub(super) async fn perform(&self, request: &Request<'_>, call: Call<'_>) -> Result<Reply, Error> {
        self.0.load(call).await?;
        match Parts::of(request, |key| self.0.place_of(key)) {
            None => self.0.perform_on_one(request, call).await,
            Some(parts) => {
                let send = |part| {
                    MaybeReady::of(async move { self.0.perform_on_one(&part, call).await }, call.caller)
                };
                parts.send(call.caller, send).await
            }
        }
    }
}

// Requests

impl Table {
    fn place_of(&self, key: &[u8]) -> usize {
        usize::from(self.slots[usize::from(slot_of(key))].load(Relaxed))
    }

    /// Performs a request whose keys are on one node, as far as the table knows.
    async fn perform_on_one(self: &Arc<Self>, request: &Request<'_>, call: Call<'_>) -> Result<Reply, Error> {
        let node = self.nodes[self.place_of(request.first_key())].load_full().ok_or_else(no_node)?;
        let answer = node.perform(request, call).await;
        let Ok(Reply::Each(replies)) = answer else {
            return self.follow(&node, answer, request, call).await;
        };
        let mut followed = Vec::with_capacity(replies.len());
        for (index, reply) in replies.into_iter().enumerate() {
            followed.push(match request.for_key(index) {
                Some(single) if reply.is_err() => self.follow(&node, reply, &single, call).await,
                _ => reply,
            });
        }
        Reply::of_each(request, followed)
    }

    /// The answer to a request for one key, from the node that the answer of `first` leads to.
    async fn follow(
        self: &Arc<Self>,
        first: &Arc<Node>,
        answer: Result<Reply, Error>,
        request: &Request<'_>,
        call: Call<'_>,
    ) -> Result<Reply, Error> {
        let (mut node, mut answer) = (first.clone(), answer);
        for count in 0..MAX_REDIRECTS {
            let Err(error) = &answer else { return answer };
            let Some(redirect) = redirect(error, node.address()) else { break };
            if let Some(times) = count.checked_sub(QUICK_REDIRECTS) {
                let left = call.span.end.saturating_duration_since(Instant::now());
                pause(left.min(Duration::from_millis(1 << times)), call.caller).await;
            }
            node = self.learn(&redirect)?;
            answer = match redirect.is_ask {
                true => node.ask(&Asking(request), call.span, call.caller).await,
                false => node.perform(request, call).await,
            };
        }
        answer.map_err(|error| {
            if error.is_without_answer() || error.has_effect(Effect::Connection) {
                self.renew_soon();
            }
            // The breaker that let this request pass is the first node's.
            let is_about_another =
                error.is_without_answer() && error.is_about_server() && !Arc::ptr_eq(&node, first);
            if is_about_another { error.because(Reason::Process) } else { error }
        })
    }

    /// The node that a request is redirected to. A slot that has moved stays there.
    fn learn(self: &Arc<Self>, redirect: &Redirect) -> Result<Arc<Node>, Error> {
        let placing = lock(&self.renewal().placing);
        let (place, node) = self.place(&redirect.address, &placing)?;
        if !redirect.is_ask {
            self.slots[usize::from(redirect.slot)].store(place, Relaxed);
            self.renew_soon();
        }
        Ok(node)
    }
}

// The table

impl Table {
    /// Loads the table, unless it is loaded.
    async fn load(&self, call: Call<'_>) -> Result<(), Error> {
        if self.is_loaded.load(Relaxed) {
            return Ok(());
        }
        let mut failure = no_node();
        for (index, seed) in self.seeds.iter().enumerate() {
            let span = call.span.share(self.seeds.len() - index);
            match self.load_from(seed, span, call.caller).await {
                Ok(()) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn load_from(&self, address: &Address, span: Span, caller: Caller) -> Result<(), Error> {
        let (_, node) = self.place(address, &lock(&self.renewal().placing))?;
        let ranges = node.ask(&Slots, span, caller).await?;
        if ranges.is_empty() {
            return Err(Error::new(ErrorKind::Unavailable, "the node has joined no cluster"));
        }
        self.store(&ranges)
    }

    fn store(&self, ranges: &[SlotRange]) -> Result<(), Error> {
        let placing = lock(&self.renewal().placing);
        for range in ranges {
            let (place, _) = self.place(&range.address, &placing)?;
            range.slots.clone().for_each(|slot| self.slots[usize::from(slot)].store(place, Relaxed));
        }
        let mut used = vec![false; MAX_NODES];
        self.slots.iter().for_each(|place| used[usize::from(place.load(Relaxed))] = true);
        let unused = self.nodes.iter().zip(used).filter(|(_, used)| !used);
        unused.for_each(|(node, _)| node.store(None));
        self.is_loaded.store(true, Relaxed);
        Ok(())
    }

    /// The node at `address`, and its place.
    fn place(&self, address: &Address, _: &MutexGuard<'_, ()>) -> Result<(u16, Arc<Node>), Error> {
        let mut free = None;
        for (place, node) in (0..).zip(&*self.nodes) {
            match node.load_full() {
                Some(node) if node.address() == address => return Ok((place, node)),
                None if free.is_none() => free = Some((place, node)),
                _ => {}
            }
        }
        let (place, free) = free.ok_or_else(no_node)?;
        let node = Arc::new(Node::new(self.access.server(address.clone())));
        free.store(Some(node.clone()));
        Ok((place, node))
    }

    fn renewal(&self) -> &Renewal {
        self.renewal.get(|_| Renewal::default())
    }

    /// Renews the table in the background.
    fn renew_soon(self: &Arc<Self>) {
        if self.renewal().is_scheduled.swap(true, Relaxed) {
            return;
        }
        let (scheduled, mut asked) = (Scheduled(Arc::downgrade(self)), 0);
        background::schedule(PAUSE, move || scheduled.0.upgrade()?.renew(&mut asked));
    }

    /// Renews the table from the next node. Returns the pause until another is asked, if this one doesn't answer and not all
    /// have been `asked`.
    fn renew(&self, asked: &mut usize) -> Option<Duration> {
        let known = self.nodes.iter().filter_map(|node| Some(node.load_full()?.address().clone()));
        let known: Vec<Address> = known.chain(self.seeds.iter().cloned()).collect();
        let address = known.get(self.renewal().next.fetch_add(1, Relaxed) % known.len().max(1))?;
        let span = self.access.options.span(Instant::now() + RENEWAL).ok()?;
        *asked += 1;
        match block_on(pin!(self.load_from(address, span, Caller::Blocking))) {
            Err(_) if *asked < known.len() => Some(PAUSE),
            _ => None,
        }
    }
}

/// A renewal that is scheduled until this is dropped.
struct Scheduled(Weak<Table>);

impl Drop for Scheduled {
    fn drop(&mut self) {
        if let Some(table) = self.0.upgrade() {
            table.renewal().is_scheduled.store(false, Relaxed);
        }
    }
}

fn no_node() -> Error {
    Error::new(ErrorKind::Unavailable, "no node of the cluster is known")
}
