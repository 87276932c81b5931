//! The options that every server's URL takes, and what they mean for each call.
//!
//! Knows no protocol and no connection.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Reason};
use crate::net::url::Url;

/// How long an operation may take unless its URL or the configuration says otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(250);

/// When an operation began, and when it must end. The clock is read once for both.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

impl Span {
    /// The part of the time that is left for the first of `servers` that are asked in turn, so that one that doesn't answer
    /// leaves time for the others.
    #[cfg(feature = "redis")]
    pub(crate) fn share(self, servers: usize) -> Self {
        let start = Instant::now();
        let left = self.end.saturating_duration_since(start);
        Self { start, end: start + left / u32::try_from(servers).unwrap_or(u32::MAX).max(1) }
    }
}

/// The options of a URL.
pub(crate) struct Options {
    /// The redacted URL, for error messages.
    pub(crate) place: String,
    /// The longest value in bytes.
    pub(crate) max_value: usize,
    /// For the pools.
    pub(crate) notice: Arc<FullNotice>,
    pool: Option<NonZeroUsize>,
    timeout: Duration,
}

impl Options {
    /// Takes the options out of `url`; `timeout` and `max_value` are the defaults.
    pub(crate) fn take(url: &mut Url, timeout: Duration, max_value: usize) -> Result<Self, Error> {
        let pool = url.take("pool", "a number of connections above zero")?;
        let size = url.take_size("max_value")?;
        let place = url.to_string();
        Ok(Self {
            notice: Arc::new(FullNotice { place: place.clone(), is_told: AtomicBool::new(false) }),
            place,
            pool,
            max_value: size.map_or(max_value, |size| usize::try_from(size).unwrap_or(usize::MAX)),
            timeout: url.take_duration("timeout")?.unwrap_or(timeout),
        })
    }

    /// The most connections to one server; `default` unless the URL says otherwise.
    pub(crate) fn pool(&self, default: usize) -> usize {
        self.pool.map_or(default, NonZeroUsize::get)
    }

    /// The span of an operation that starts now: it must end at the caller's deadline or after the URL's timeout,
    /// whichever comes first.
    pub(crate) fn span(&self, caller: Instant) -> Result<Span, Error> {
        let start = Instant::now();
        if caller <= start {
            return Err(timed_out());
        }
        Ok(Span { start, end: start.checked_add(self.timeout).map_or(caller, |own| own.min(caller)) })
    }

    /// Rejects a value that is too large before any of it is sent.
    pub(crate) fn check_size(&self, value: &[u8]) -> Result<(), Error> {
        if value.len() <= self.max_value {
            return Ok(());
        }
        let message = format!("{} bytes, but the limit is {}", value.len(), self.max_value);
        Err(Error::new(ErrorKind::TooLarge, message).at(&self.place))
    }
}

pub(crate) fn timed_out() -> Error {
    Error::new(ErrorKind::Timeout, "no answer within the deadline")
}

/// The error of a call that has waited in vain for one of `size` connections. Whether the server is well is for the calls to
/// say that have one.
pub(crate) fn all_busy(size: usize) -> Error {
    let message = format!("all {size} connections stayed busy until the deadline");
    Error::new(ErrorKind::Timeout, message).because(Reason::Process)
}

/// Reports that a server takes no more connections, once for all pools of a backend.
pub(crate) struct FullNotice {
    place: String,
    is_told: AtomicBool,
}

impl FullNotice {
    pub(crate) fn tell(&self, open: usize, why: &Error) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            let place = &self.place;
            log::warn!(
                "cache {place}: no more than {open} connections can be opened; calls share them: {why}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Options, Error> {
        Options::take(&mut Url::parse(text)?, DEFAULT_TIMEOUT, 1024)
    }

    #[test]
    fn a_url_overrides_the_defaults() {
        let plain = options("redis://h").unwrap();
        assert_eq!((plain.pool(7), plain.max_value, plain.timeout), (7, 1024, DEFAULT_TIMEOUT));
        let set = options("redis://h?pool=2&max_value=1MiB&timeout=2s").unwrap();
        assert_eq!((set.pool(7), set.max_value, set.timeout), (2, 1 << 20, Duration::from_secs(2)));
        assert!(options("redis://h?pool=0").is_err());
    }

    #[test]
    fn the_earlier_of_deadline_and_timeout_counts() {
        let options = options("redis://h?timeout=1s").unwrap();
        let soon = Instant::now() + Duration::from_millis(500);
        assert_eq!(options.span(soon).unwrap().end, soon);
        assert!(options.span(soon + Duration::from_secs(60)).unwrap().end < soon + Duration::from_secs(1));
        assert_eq!(options.span(Instant::now()).err().map(|error| error.kind()), Some(ErrorKind::Timeout));
    }

    #[test]
    fn an_infinite_timeout_leaves_the_deadline() {
        let options = Options::take(&mut Url::parse("redis://h").unwrap(), Duration::MAX, 1024).unwrap();
        let soon = Instant::now() + Duration::from_secs(1);
        assert_eq!(options.span(soon).unwrap().end, soon);
    }

    #[test]
    fn values_fit_up_to_the_limit() {
        let options = options("redis://h").unwrap();
        assert!(options.check_size(&[0; 1024]).is_ok());
        assert_eq!(options.check_size(&[0; 1025]).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
