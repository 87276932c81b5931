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
    pub(crate) namespace: Option<&'static str>,
    /// How the function is written, if it is remote and has no `namespace`.
    pub(crate) written: Option<Written>,
    /// `version = N`.
    pub(crate) version: u32,
    /// `backend = "…"`.
    pub(crate) backend: &'static str,
    /// Makes the place where its entries live.
    pub(crate) place: MakePlace,
    /// The calls that share a run.
    pub(crate) single_flight: SingleFlight,
    /// `single_flight(wait = …)`: how long a call waits for another's run; `None` is as long as it takes.
    pub(crate) wait: Option<fn() -> Duration>,
    /// `stale`, `on_error`, `idle`, `early` and `jitter`.
    pub(crate) freshness: FreshnessOptions,
    /// One of these, if neither `ttl` nor `negative_ttl` is given: without a default ttl it does nothing.
    pub(crate) needs_default_ttl: Option<&'static str>,
    /// `capacity` and `max_bytes = "…"`.
    pub(crate) bound: Bound,
    /// `capacity` as an expression.
    pub(crate) capacity: Option<fn() -> Option<u64>>,
}

impl Spec {
    /// No options: entries in memory.
    pub const IN_MEMORY: Self = Self {
        namespace: None,
        written: None,
        version: 0,
        backend: "memory",
        place: MakePlace::IN_MEMORY,
        single_flight: SingleFlight::Process,
        wait: None,
        freshness: FreshnessOptions { stale: None, on_error: None, idle: None, early: 0.0, jitter: 0.0 },
        needs_default_ttl: None,
        bound: Bound { capacity: None, max_bytes: None },
        capacity: None,
    };
}

/// The options as generated code states them, one call each.
impl Spec {
    /// `backend = "…"`, other than `"memory"`.
    pub const fn remote(backend: &'static str) -> Self {
        Self { backend, place: MakePlace::REMOTE, ..Self::IN_MEMORY }
    }

    /// `namespace = "…"`
    pub const fn namespace(mut self, namespace: &'static str) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// How and where a remote function without a namespace is written: see [`Written`].
    pub const fn written(mut self, module: &'static str, is_method: bool, text: u64) -> Self {
        self.written = Some(Written { module, is_method, text });
        self
    }

    /// `version = N`
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// `capacity = N`
    pub const fn capacity(mut self, capacity: u64) -> Self {
        self.bound = Bound { capacity: Some(capacity), ..self.bound };
        self
    }

    /// `capacity = EXPR`; see [`entries`].
    pub const fn capacity_of(mut self, capacity: fn() -> Option<u64>) -> Self {
        self.capacity = Some(capacity);
        self
    }

    /// `capacity = "unbounded"`
    pub const fn unbounded(self) -> Self {
        self.capacity(u64::MAX)
    }

    /// `max_bytes = "…"`
    pub const fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.bound = Bound { max_bytes: Some(max_bytes), ..self.bound };
        self
    }

    /// `single_flight = "off"`
    pub const fn without_single_flight(mut self) -> Self {
        self.single_flight = SingleFlight::Off;
        self
    }

    /// `single_flight = "cluster"`
    pub const fn single_flight_in_cluster(mut self) -> Self {
        self.single_flight = SingleFlight::Cluster;
        self
    }

    /// `single_flight(wait = …)`
    pub const fn wait(mut self, wait: fn() -> Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// `stale = …`
    pub const fn stale(mut self, stale: fn() -> Duration) -> Self {
        self.freshness.stale = Some(stale);
        self
    }

    /// `on_error = …`
    pub const fn on_error(mut self, on_error: fn() -> Duration) -> Self {
        self.freshness.on_error = Some(on_error);
        self
    }

    /// `idle = …`
    pub const fn idle(mut self, idle: fn() -> Duration) -> Self {
        self.freshness.idle = Some(idle);
        self
    }

    /// `early = …`
    pub const fn early(mut self, early: f64) -> Self {
        self.freshness.early = early;
        self
    }

    /// `jitter = …`
    pub const fn jitter(mut self, jitter: f64) -> Self {
        self.freshness.jitter = jitter;
        self
    }

    /// `option` is `stale`, `on_error`, `early` or `jitter`, and no lifetime is given.
    pub const fn needs_default_ttl(mut self, option: &'static str) -> Self {
        self.needs_default_ttl = Some(option);
        self
    }
}

impl Spec {
    /// The function's namespace as servers know it.
    pub(crate) fn namespace_on_servers<'n>(&self, namespace: &'n str) -> Cow<'n, str> {
        match &self.written {
            Some(written) if written.may_have_namesakes(namespace) => {
                format!("{namespace}~{:016x}", written.text).into()
            }
            _ => namespace.into(),
        }
    }
}

/// `single_flight = "…"`: the calls of one key that share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SingleFlight {
    /// None.
    Off,
    /// All calls of this process.
    Process,
    /// All calls of all processes that share the backend.
    Cluster,
}

/// A capacity given by an expression, if it is one.
pub fn entries(count: impl TryInto<u64>) -> Option<u64> {
    count.try_into().ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::entries;

    #[test]
    fn a_capacity_is_a_positive_number() {
        assert_eq!((entries(5_usize), entries(7_u8), entries(u64::MAX)), (Some(5), Some(7), Some(u64::MAX)));
        assert_eq!((entries(0), entries(-1), entries(u128::MAX)), (None, None, None));
    }
}
