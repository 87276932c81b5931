//! The primary that sentinels know by a name: a router to one server, which may become another.
//!
//! The sentinels are asked with the first request, and whenever the primary doesn't answer as one. A connection that listens to
//! `+switch-master` tells about a failover that nobody has noticed here. Both is done in the background.
//!
//! See the [guide for clients](https://redis.io/docs/latest/develop/reference/sentinel-clients/).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::command::pack;
use super::exchange::PrimaryOf;
use super::node::{Call, Node};
use super::reply::{of_io, parse_nested};
use super::url::{Access, Server};
use super::{Reply, Request};
use crate::common::background;
use crate::common::process::PerProcess;
use crate::common::wait::{Caller, block_on};
use crate::error::{Effect, Error, ErrorKind};
use crate::net::dial::Address;
use crate::net::line::Line;
use crate::net::pool::idle::Connection;
use crate::net::stream::Stream;

/// How often the background looks whether a sentinel has told anything.
const TICK: Duration = Duration::from_millis(100);

/// The longest that one sentinel is asked in the background.
const ASKED: Duration = Duration::from_millis(250);

pub(super) struct Sentinels(Arc<Watched>);

struct Watched {
    access: Access,
    sentinels: Vec<Node>,
    /// What the sentinels call it.
    name: String,
    primary: ArcSwapOption<Node>,
    watch: PerProcess<Watch>,
}

#[derive(Default)]
struct Watch {
    has_begun: AtomicBool,
    /// The primary may be another.
    is_in_doubt: AtomicBool,
}

impl Sentinels {
    pub(super) fn new(access: Access, sentinels: Vec<Server>, name: String) -> Self {
        let sentinels = sentinels.into_iter().map(Node::new).collect();
        let (primary, watch) = (ArcSwapOption::empty(), PerProcess::new());
        Self(Arc::new(Watched { access, sentinels, name, primary, watch }))
    }

    pub(super) async fn perform(&self, request: &Request<'_>, call: Call<'_>) -> Result<Reply, Error> {
        let watch = self.0.watch();
        if !watch.has_begun.swap(true, Relaxed) {
            self.0.begin_to_watch();
        }
        let primary = match self.0.primary.load_full() {
            Some(primary) => primary,
            None => self.0.find(call).await?,
        };
        let answer = primary.perform(request, call).await;
        if let Err(error) = &answer
            && (error.is_without_answer() || error.has_effect(Effect::Connection))
        {
            watch.is_in_doubt.store(true, Relaxed);
        }
        answer
    }
}

impl Watched {
    fn watch(&self) -> &Watch {
        self.watch.get(|_| Watch::default())
    }

    /// Asks the sentinels in turn.
    async fn find(&self, call: Call<'_>) -> Result<Arc<Node>, Error> {
        let mut failure = Error::new(ErrorKind::Config, "the URL names no sentinel");
        for (index, sentinel) in self.sentinels.iter().enumerate() {
            let span = call.span.share(self.sentinels.len() - index);
            match sentinel.ask(&PrimaryOf(&self.name), span, call.caller).await {
                Ok(address) => return Ok(self.adopt(&address)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The primary at `address`. If it is another than before, the connections to the old one are not used again.
    fn adopt(&self, address: &Address) -> Arc<Node> {
        match self.primary.load_full() {
            Some(primary) if primary.address() == address => primary,
            known => {
                let primary = Arc::new(Node::new(self.access.server(address.clone())));
                self.primary.store(Some(primary.clone()));
                if known.is_some() {
                    log::info!("cache {}: the primary is now at {address}", self.access.options.place);
                }
                primary
            }
        }
    }

    fn begin_to_watch(self: &Arc<Self>) {
        let watched = Arc::downgrade(self);
        let (mut listener, mut next) = (None, 0);
        background::schedule(TICK, move || {
            let watched: Arc<Self> = Weak::upgrade(&watched)?;
            let has_news = !listener.as_mut().is_some_and(Stream::is_open);
            if watched.watch().is_in_doubt.swap(false, Relaxed) || has_news {
                // What it has told is not read: the question that follows is answered with the same.
                listener = watched.listen(next).ok();
                next += 1;
            }
            Some(TICK)
        });
    }

    /// Listens to the sentinel, and then asks it, so that no news is lost between.
    fn listen(&self, sentinel: usize) -> Result<Stream, Error> {
        let sentinel = &self.sentinels[sentinel % self.sentinels.len()];
        let span = self.access.options.span(Instant::now() + ASKED)?;
        let mut listener = sentinel.connect(span.end)?;
        listener.begin(span.end);
        let subscribe = pack(b"SUBSCRIBE", &[b"+switch-master"]);
        block_on(pin!(async {
            listener.send(&subscribe).await.map_err(of_io)?;
            listener.receive(parse_nested).await.map_err(of_io)??;
            self.adopt(&sentinel.ask(&PrimaryOf(&self.name), span, Caller::Blocking).await?);
            Ok(())
        }))?;
        Ok(listener)
    }
}
