//! TLS: what URLs say of it, and what its failures mean.
//!
//! The provider of cryptography is named here, so it doesn't matter which providers a program has compiled in, and the
//! program's default is neither needed nor changed.

#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
mod failure;
#[cfg(feature = "tls")]
pub(crate) mod socket;

#[cfg(feature = "tls")]
pub(crate) use self::config::Tls;
#[cfg(all(feature = "tls", feature = "tokio"))]
pub(crate) use self::failure::unanswered;

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(not(feature = "tls"))]
pub(crate) use self::absent::Tls;

use std::io;

use crate::error::Error;

/// The error behind `error`, if one of ours or one of TLS is.
pub(crate) fn explain(error: &io::Error) -> Option<Error> {
    let inner = error.get_ref()?;
    if let Some(own) = inner.downcast_ref::<Error>() {
        return Some(own.clone());
    }
    #[cfg(feature = "tls")]
    return inner.downcast_ref().map(failure::explain);
    #[cfg(not(feature = "tls"))]
    None
}
