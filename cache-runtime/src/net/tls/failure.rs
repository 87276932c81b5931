//! What failures of TLS mean, and what to do about them.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::error::{Effect, Error, ErrorKind, Reason, Refusal};

static WRONG_NAME: Refusal =
    lasting("certificate for another name", "use the name that it is for, or set `server_name` in the URL");
static UNKNOWN_AUTHORITY: Refusal =
    lasting("certificate of an unknown authority", "name the authority's certificate with `ca` in the URL");
static EXPIRED: Refusal =
    lasting("certificate out of date", "renew it on the server, or set this machine's clock");
static BAD_CERTIFICATE: Refusal = lasting("certificate that can't be trusted", "replace it on the server");
static WANTS_CERTIFICATE: Refusal = lasting(
    "certificate of this client refused",
    "name one that the server trusts with `cert` and `key` in the URL",
);
static NO_TLS: Refusal =
    lasting("no TLS", "the server speaks plain text there: write the URL without TLS, or another port");
static REFUSED: Refusal = lasting("TLS refused", "both ends must support a common version and cipher");

const fn lasting(code: &'static str, advice: &'static str) -> Refusal {
    Refusal { code, advice, effect: Effect::Operation, passes: false }
}

/// What `failure` means.
pub(super) fn explain(failure: &rustls::Error) -> Error {
    let refusal = refusal(failure);
    let message = format!("{}: {failure}; {}", refusal.code, refusal.advice);
    let source: Box<dyn StdError + Send + Sync> = Box::new(failure.clone());
    Error::new(ErrorKind::Unavailable, message).with_source(source).because(Reason::Refusal(refusal))
}

fn refusal(failure: &rustls::Error) -> &'static Refusal {
    use AlertDescription as Alert;
    use CertificateError as Bad;
    match failure {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => &WRONG_NAME,
            Bad::UnknownIssuer => &UNKNOWN_AUTHORITY,
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                &EXPIRED
            }
            _ => &BAD_CERTIFICATE,
        },
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied,
        ) => &WANTS_CERTIFICATE,
        rustls::Error::InvalidMessage(_) => &NO_TLS,
        _ => &REFUSED,
    }
}

/// The error of a handshake that has no answer.
pub(crate) fn unanswered(error: io::Error) -> io::Error {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::Timeout,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => ErrorKind::Unavailable,
        _ => return error,
    };
    let message = format!("the server ended no TLS handshake: {error}; does it speak TLS on this port?");
    io::Error::new(error.kind(), Error::new(kind, message))
}
