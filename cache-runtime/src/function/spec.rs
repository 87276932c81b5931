//! What the attribute's options say of a function, in constants.

use std::borrow::Cow;
use std::time::Duration;

use super::state::Place;
use crate::config::context::Context;
use crate::error::Error;
use crate::freshness::{Freshness, Judge};
use crate::key::path::Written;
use crate::memory::{Bound, Store};
use crate::remote::entries;

/// What the attribute's options say of a function, in constants. Most functions have the same.
pub struct Spec {
    /// `namespace = "…"`.
    pub namespace: Option<&'static str>,
    /// Of a remote function without one.
    pub written: Option<Written>,
    /// `version = N`.
    pub version: u32,
    /// `backend = "…"`.
    pub backend: &'static str,
    /// Makes the place of its entries.
    pub place: MakePlace,
    /// Which calls of a key share a run.
    pub single_flight: SingleFlight,
    /// `single_flight(wait = …)`: how long a call waits for another's run; without, as long as it takes.
    pub wait: Option<fn() -> Duration>,
    /// `stale`, `early` and `jitter`.
    pub freshness: Freshness,
    /// `capacity = N` and `max_bytes = "…"`.
    pub bound: Bound,
}

impl Spec {
    /// No options.
    pub const NONE: Self = Self {
        namespace: None,
        written: None,
        version: 0,
        backend: "memory",
        place: MakePlace::IN_MEMORY,
        single_flight: SingleFlight::Process,
        wait: None,
        freshness: Freshness { stale: None, early: 0.0, jitter: 0.0 },
        bound: Bound { capacity: None, max_bytes: None },
    };
}

impl Spec {
    /// A function's namespace as servers know it.
    pub(crate) fn namespace_on_servers<'n>(&self, namespace: &'n str) -> Cow<'n, str> {
        match &self.written {
            // No path has a `~`.
            Some(written) if written.may_have_namesakes(namespace) => {
                format!("{namespace}~{:016x}", written.text).into()
            }
            _ => namespace.into(),
        }
    }
}

/// What makes the place of a function. Each function names one, so that a program has no code for the other.
pub struct MakePlace(pub(super) fn(&Context, &Spec, &str, Judge) -> Result<Place, Error>);

impl MakePlace {
    /// In this process: values are kept as they are.
    pub const IN_MEMORY: Self =
        Self(|_, spec, _, judge| Ok(Place::Typed(Store::new(spec.bound, judge.grace()))));
    /// On a server: values are encoded.
    pub const ELSEWHERE: Self = Self(|context, spec, namespace, judge| {
        entries::open(context, spec, namespace, judge).map(Place::Remote)
    });
}

/// `single_flight = "…"`: the calls of a key that share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SingleFlight {
    /// None.
    Off,
    /// Those of this process.
    Process,
    /// Those of all processes that share the backend.
    Cluster,
}
