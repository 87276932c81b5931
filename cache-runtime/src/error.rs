//! The one error type of the crate: its kind, what happened, where, and why.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The kind of an error, to decide what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong (an unknown alias, a bad URL, a bad number), or an async function is called without a suitable
    /// tokio runtime. Only a person can fix it.
    Config,
    /// The server could not be reached, or the connection broke.
    Unavailable,
    /// The server did not answer within the call's deadline.
    Timeout,
    /// The server refused the credentials, the database or the permission.
    Denied,
    /// The server answered with an error.
    Server,
    /// The server's answer made no sense.
    Protocol,
    /// The arguments could not be turned into a key.
    Key,
    /// The value could not be turned into bytes that decode to the same value.
    Encode,
    /// The value's encoded form is larger than the backend stores.
    TooLarge,
    /// What is under the key is not a number that can be added to, or the sum is out of range.
    NotANumber,
}

impl ErrorKind {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Config => "wrong cache configuration",
            Self::Unavailable => "cache unavailable",
            Self::Timeout => "cache timed out",
            Self::Denied => "cache denied access",
            Self::Server => "cache server error",
            Self::Protocol => "cache protocol error",
            Self::Key => "arguments can't be a cache key",
            Self::Encode => "value can't be cached",
            Self::TooLarge => "value too large for the cache",
            Self::NotANumber => "can't add to the cached value",
        }
    }
}

/// What a failure means for the code between a connection and its callers, where the kind doesn't tell.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(any(feature = "redis", feature = "memcached")),
    allow(dead_code, reason = "only servers refuse, and have large values")
)]
pub(crate) enum Reason {
    /// What the kind says.
    Kind,
    /// Something in this process. It says nothing about the server.
    Process,
    /// The value takes more time to travel than the call had.
    LargeValue,
    /// A known refusal by the server.
    Refusal(&'static Refusal),
}

/// A known way in which servers refuse.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "redis", feature = "memcached")),
    allow(dead_code, reason = "only servers refuse")
)]
pub(crate) struct Refusal {
    /// As the server calls it.
    pub(crate) code: &'static str,
    /// What a person can do about it.
    pub(crate) advice: &'static str,
    pub(crate) effect: Effect,
    /// Whether it ends without anybody changing a setting.
    pub(crate) passes: bool,
}

/// What a refusal concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "redis", feature = "memcached")),
    allow(dead_code, reason = "each server has its own refusals")
)]
pub(crate) enum Effect {
    /// This operation, now.
    Operation,
    /// A command that the server doesn't have or doesn't allow. Another one may do the same.
    Command,
    /// The connection: another server is the right one to ask.
    Connection,
    /// New connections.
    NewConnection,
}

/// Why a cache operation failed.
///
/// A cached function never returns this: its body runs instead. The companions (`invalidate`, `insert`, `peek`, `clear`) and
/// the plain [`Cache`](crate::Cache) do, because a lost invalidation must be visible.
///
/// ```
/// use cache_runtime::{Cache, ErrorKind};
///
/// let error = Cache::named("sessions").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Config);
/// assert!(error.to_string().contains("CACHE_SESSIONS_URL"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    /// The innermost first.
    places: Vec<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    reason: Reason,
}

impl Error {
    /// An error of `kind`. Backends outside this crate use it too.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let (message, places) = (message.into(), Vec::new());
        Self(Arc::new(Inner { kind, message, places, source: None, reason: Reason::Kind }))
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(source.into().into());
        self
    }

    /// Adds a place: a variable, a redacted URL, a type or a function. Innermost places are added first.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).places.push(place.into());
        self
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    #[must_use]
    pub(crate) fn because(mut self, reason: Reason) -> Self {
        Arc::make_mut(&mut self.0).reason = reason;
        self
    }

    #[cfg(any(feature = "redis", feature = "memcached"))]
    pub(crate) fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The server's refusal, if it is a known one.
    pub(crate) fn refusal(&self) -> Option<&'static Refusal> {
        match self.0.reason {
            Reason::Refusal(refusal) => Some(refusal),
            Reason::Kind | Reason::Process | Reason::LargeValue => None,
        }
    }

    /// Whether the server refuses, with this effect.
    #[cfg(any(feature = "redis", feature = "memcached"))]
    pub(crate) fn has_effect(&self, effect: Effect) -> bool {
        self.refusal().is_some_and(|refusal| refusal.effect == effect)
    }

    /// Whether the failure says something about the server, and not about this process or one value.
    pub(crate) fn is_about_server(&self) -> bool {
        !matches!(self.0.reason, Reason::Process | Reason::LargeValue)
    }

    /// Whether it is unknown what the server has done: it may have performed the operation, or may still do so.
    pub(crate) fn is_without_answer(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Protocol)
    }

    /// Whether the same operation may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        let lasts = self.refusal().is_some_and(|refusal| !refusal.passes);
        !lasts && matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Server)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.text(), self.0.message)?;
        if self.0.places.is_empty() { Ok(()) } else { write!(f, " ({})", self.0.places.join(" in ")) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source:?}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
