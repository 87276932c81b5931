//! What there is of TLS without the feature: an error that names it.

use crate::error::{Error, ErrorKind};
use crate::net::url::Url;

/// There is none.
#[derive(Clone)]
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn take(url: &mut Url) -> Result<Self, Error> {
        let message =
            format!("`{}://` needs the feature `tls` of cache-runtime, which is not compiled in", url.scheme);
        Err(Error::new(ErrorKind::Config, message))
    }
}
