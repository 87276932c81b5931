//! The state of one cached function in one world, and what it counts and reports.
//!
//! Nothing here is generic over values, which arrive packed. Everything is therefore compiled here, and not again in each
//! crate with cached functions. [`lookup`](super::lookup), [`run`](super::run) and [`write`](super::write) hold what a call
//! does with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::Level;

use super::call::RunTime;
use super::pauses::Pauses;
use super::place::Place;
use super::spec::Spec;
use crate::common::clock::{Clock, nanos};
use crate::common::random::dice;
use crate::common::report::report;
use crate::common::stripe::{self, Stripe};
use crate::config::context::Context;
use crate::error::{Error, ErrorKind};
use crate::flight::Flights;
use crate::freshness::{Found, Freshness, FreshnessPolicy, Source};
use crate::key::Key;
use crate::stats::{Counters, Stats};
use crate::value::MakeFormat;

pub(crate) struct State {
    pub(super) spec: &'static Spec,
    namespace: String,
    pub(super) counters: Counters,
    pub(super) clock: Clock,
    default_ttl: Option<Duration>,
    pub(super) place: Place,
    pub(super) flights: Flights,
    pub(super) policy: FreshnessPolicy,
    pub(super) pauses: Pauses,
    /// The kill switch: nothing is looked up or stored. Invalidations still happen.
    pub(super) is_disabled: bool,
    /// Hits need more than a check of their deadline: caching is off, or entries are renewed early.
    pub(super) decides_hits: bool,
    /// How long before its deadline a hit decides about an entry: see [`FreshnessPolicy::idle_margin`].
    pub(super) margin: u64,
    /// Misuse is logged once.
    has_logged: AtomicBool,
}

impl State {
    /// `path` is the path of the function, which is its namespace unless it has another.
    pub(crate) fn new(context: &Context, path: impl FnOnce() -> String, spec: &'static Spec) -> Self {
        let policy = FreshnessPolicy::new(&spec.freshness);
        let namespace = spec.namespace.map_or_else(path, str::to_owned);
        let place = spec.place.make(context, spec, &namespace, policy);
        let is_disabled = context.config.is_disabled();
        Self {
            spec,
            namespace,
            counters: Counters::default(),
            clock: context.clock.clone(),
            default_ttl: place.default_ttl(context.config.common_ttl()),
            place,
            flights: Flights::default(),
            policy,
            pauses: Pauses::default(),
            is_disabled,
            decides_hits: is_disabled || policy.renews_early(),
            margin: policy.idle_margin(),
            has_logged: AtomicBool::new(false),
        }
    }

    /// The same function in a child of `fork`.
    pub(crate) fn child_of(mut self, parent: &Self) -> Self {
        self.place.inherit(&parent.place);
        self
    }

    /// The errors that keep this function, or some instantiations of it, from being cached as its options say.
    pub(crate) fn misuse(&self) -> Vec<Error> {
        let mut errors = self.place.misuse();
        let is_ttl_missing = self.default_ttl.is_none() && !self.place.is_broken();
        if let Some(option) = self.spec.needs_default_ttl.filter(|_| is_ttl_missing) {
            let message = format!(
                "`{option}` has no effect on entries that never expire: give the function a `ttl`, or set CACHE_DEFAULT_TTL"
            );
            errors.push(Error::new(ErrorKind::Config, message).at(&*self.namespace));
        }
        errors
    }

    /// Whether another function's entries would be taken for this one's.
    pub(crate) fn clashes_with(&self, other: &Self) -> bool {
        let is_unnamed = self.spec.namespace.is_none() || other.spec.namespace.is_none();
        is_unnamed && self.spec.version == other.spec.version && self.place.is_shared_with(&other.place)
    }

    /// The same function, kept from being cached because of a clash.
    pub(crate) fn broken_by_clash(mut self) -> Self {
        let message = format!(
            "two cached functions are both named `{}`: give one of them `namespace = \"…\"`",
            self.namespace
        );
        self.place = Place::Broken(Error::new(ErrorKind::Config, message));
        self
    }

    /// The text key. Without arguments that serialize, one that no entry has.
    pub(crate) fn text_key(&self, key: Option<&Key>, format: MakeFormat) -> String {
        let head = self.place.head(format);
        let head = head.unwrap_or_else(|| format!("{}:{}:", self.namespace, self.spec.version));
        key.map_or_else(|| format!("{head}!"), |key| key.text(&head))
    }

    /// A lifetime with jitter.
    pub(crate) fn jittered(&self, life: Duration) -> Duration {
        self.policy.lifetime(life, dice)
    }

    pub(crate) fn default_ttl(&self) -> Option<Duration> {
        self.default_ttl
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot(&self.namespace, self.spec.backend, self.place.counts())
    }
}

// Counting

impl State {
    /// Counts an answer that was served.
    pub(crate) fn count_answer(&self, found: &Found) {
        if found.freshness == Freshness::Reserve {
            // The call was a miss, and its run has failed.
            return self.counters.stale.one();
        }
        match found.source {
            Source::Entry => self.count_hit(found.cost),
            Source::Fallback => {
                self.count_hit(found.cost);
                self.counters.fallback_hits.one();
            }
            Source::Run => {
                self.counters.waits.one();
                self.counters.saved_nanos.time(found.cost);
            }
        }
        if found.freshness == Freshness::Stale {
            self.counters.stale.one();
        }
    }

    /// Counts an answer that was shared and is not stored.
    pub(crate) fn count_wait(&self) {
        self.counters.waits.one();
    }

    fn count_hit(&self, cost: Duration) {
        self.counters.hits.one(nanos(cost), stripe::current().unwrap_or(Stripe::ANY));
    }

    /// Counts a run that ends now.
    pub(crate) fn count_run(&self, started: Instant) -> RunTime {
        let ended = Instant::now();
        let cost = ended.saturating_duration_since(started);
        self.counters.runs.one();
        self.counters.body_nanos.time(cost);
        RunTime { cost, ended }
    }

    pub(super) fn count_store(&self, result: &Result<bool, Error>) {
        match result {
            Ok(true) => {
                self.counters.stores.one();
                if self.place.begins_to_miss_evicted() {
                    let namespace = &self.namespace;
                    log::info!(
                        "{namespace}: entries are evicted and asked for again: a larger `capacity` or `max_bytes` would save runs"
                    );
                }
            }
            Ok(false) => {
                let namespace = &self.namespace;
                log::debug!("{namespace}: result not stored: the key has changed since the run began");
            }
            Err(error) if error.kind() == ErrorKind::TooLarge => self.counters.too_large.one(),
            Err(error) => self.failed(error),
        }
    }

    /// Counts the failure of an invalidation, unless it is permanent and known.
    pub(super) fn count_failure(&self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &result
            && !self.place.is_broken()
        {
            self.failed(error);
        }
        result
    }

    /// Counts an entry that could not be served: a miss.
    pub(crate) fn undecodable(&self, error: &Error) {
        self.counters.decode_failures.one();
        log::debug!("{}: an entry can't be used: {error}", self.namespace);
    }

    /// Counts a failure. Misuse is logged as an error, once; temporary failures go to the debug log, and so do refusals by a
    /// server, which are logged once for all functions.
    pub(crate) fn failed(&self, error: &Error) {
        self.counters.errors.one();
        if error.is_temporary() || error.refusal().is_some() {
            log::debug!("{}: {error:?}", self.namespace);
        } else if !self.has_logged.swap(true, Ordering::Relaxed) {
            report(Level::Error, format_args!("{} is not cached: {error:?}", self.namespace));
        }
    }

    /// Whether a success whose type has this name, and was taken for plain, is a `Result` or an `Option` that a type
    /// parameter hid. Then it is reported. Inlined, because the answer is a constant if the name is one.
    #[inline]
    pub(crate) fn is_hidden_failure(&self, type_name: &str) -> bool {
        let is_hidden =
            type_name.starts_with("core::result::Result<") || type_name.starts_with("core::option::Option<");
        if is_hidden {
            self.failed_hidden(type_name);
        }
        is_hidden
    }

    #[cold]
    fn failed_hidden(&self, type_name: &str) {
        let message = "a type parameter stands for a `Result` or an `Option` here, whose `Err` or `None` would be stored: \
                       write `Result<…>` or `Option<…>` in the return type";
        self.failed(&Error::new(ErrorKind::Config, message).at(type_name));
    }
}

/// States are shared between threads and tasks.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<State>>();
};
