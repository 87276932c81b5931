//! What the attribute's options say of a function, in constants.

use std::borrow::Cow;
use std::time::Duration;

use super::place::MakePlace;
use crate::freshness::FreshnessOptions;
use crate::key::path::Written;
use crate::memory::Bound;

/// The options of the attribute.
pub struct Spec {
    /// `namespace = "…"`.
    pub namespace: Option<&'static str>,
    /// How the function is written, if it is remote and has no `namespace`.
    pub written: Option<Written>,
    /// `version = N`.
    pub version: u32,
    /// `backend = "…"`.
    pub backend: &'static str,
    /// Makes the place where its entries live.
    pub place: MakePlace,
    /// The calls that share a run.
    pub single_flight: SingleFlight,
    /// `single_flight(wait = …)`: how long a call waits for another's run; `None` is as long as it takes.
    pub wait: Option<fn() -> Duration>,
    /// `stale`, `early` and `jitter`.
    pub freshness: FreshnessOptions,
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
        freshness: FreshnessOptions { stale: None, early: 0.0, jitter: 0.0 },
        bound: Bound { capacity: None, max_bytes: None },
    };

    /// The function's namespace as servers know it.
    pub(crate) fn namespace_on_servers<'n>(&self, namespace: &'n str) -> Cow<'n, str> {
        match &self.written {
            // No path contains a `~`.
            Some(written) if written.may_have_namesakes(namespace) => {
                format!("{namespace}~{:016x}", written.text).into()
            }
            _ => namespace.into(),
        }
    }
}

/// `single_flight = "…"`: the calls of one key that share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SingleFlight {
    /// None.
    Off,
    /// All calls of this process.
    Process,
    /// All calls of all processes that share the backend.
    Cluster,
}
