//! What every server's URL may set, and what follows from it for each call.
//!
//! Knows no protocol and no connection.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::net::url::Url;

/// How long an operation may take where neither its URL nor the configuration says.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(250);

/// When an operation has started, and when it has to end. It reads the clock once.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
}

pub(crate) struct Limits {
    /// The URL, redacted: the place that errors speak of.
    pub(crate) place: String,
    pub(crate) max_value: usize,
    pool: Option<NonZeroUsize>,
    timeout: Duration,
}

impl Limits {
    pub(crate) fn take(url: &mut Url, timeout: Duration, max_value: usize) -> Result<Self, Error> {
        let pool = url.take("pool", "a number of connections above zero")?;
        let size = url.take_size("max_value")?;
        Ok(Self {
            place: url.to_string(),
            pool,
            max_value: size.map_or(max_value, |size| usize::try_from(size).unwrap_or(usize::MAX)),
            timeout: url.take_duration("timeout")?.unwrap_or(timeout),
        })
    }

    /// How many connections to one server there may be at once, if nobody asks for so many, `usual`.
    pub(crate) fn pool(&self, usual: usize) -> usize {
        self.pool.map_or(usual, NonZeroUsize::get)
    }

    /// The time of an operation that starts now: it has to end at the caller's deadline or after the URL's timeout,
    /// whichever comes first.
    pub(crate) fn span(&self, caller: Instant) -> Result<Span, Error> {
        let start = Instant::now();
        if caller <= start {
            return Err(self.timed_out());
        }
        Ok(Span { start, end: start.checked_add(self.timeout).map_or(caller, |own| own.min(caller)) })
    }

    pub(crate) fn timed_out(&self) -> Error {
        Error::new(ErrorKind::Timeout, "no answer within the deadline").at(&self.place)
    }

    /// Refuses a value that is too large before any of it is sent.
    pub(crate) fn admit(&self, value: &[u8]) -> Result<(), Error> {
        if value.len() <= self.max_value {
            return Ok(());
        }
        let message = format!("{} bytes where {} fit", value.len(), self.max_value);
        Err(Error::new(ErrorKind::TooLarge, message).at(&self.place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Result<Limits, Error> {
        Limits::take(&mut Url::parse(text)?, TIMEOUT, 1024)
    }

    #[test]
    fn a_url_overrides_the_defaults() {
        let plain = limits("redis://h").unwrap();
        assert_eq!((plain.pool(7), plain.max_value, plain.timeout), (7, 1024, TIMEOUT));
        let set = limits("redis://h?pool=2&max_value=1MiB&timeout=2s").unwrap();
        assert_eq!((set.pool(7), set.max_value, set.timeout), (2, 1 << 20, Duration::from_secs(2)));
        assert!(limits("redis://h?pool=0").is_err());
    }

    #[test]
    fn the_earlier_of_deadline_and_timeout_counts() {
        let limits = limits("redis://h?timeout=1s").unwrap();
        let soon = Instant::now() + Duration::from_millis(500);
        assert_eq!(limits.span(soon).unwrap().end, soon);
        assert!(limits.span(soon + Duration::from_secs(60)).unwrap().end < soon + Duration::from_secs(1));
        assert_eq!(limits.span(Instant::now()).err().map(|error| error.kind()), Some(ErrorKind::Timeout));
    }

    #[test]
    fn an_endless_timeout_leaves_the_deadline() {
        let limits = Limits::take(&mut Url::parse("redis://h").unwrap(), Duration::MAX, 1024).unwrap();
        let soon = Instant::now() + Duration::from_secs(1);
        assert_eq!(limits.span(soon).unwrap().end, soon);
    }

    #[test]
    fn values_fit_up_to_the_limit() {
        let limits = limits("redis://h").unwrap();
        assert!(limits.admit(&[0; 1024]).is_ok());
        assert_eq!(limits.admit(&[0; 1025]).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
