//! What must hold for any text that is given as a URL.

use std::time::Duration;

use super::open;
use crate::common::clock::Clock;
use crate::net::url::Url;

/// Stands in for a password.
const SECRET: &str = "s3cret";

/// Opening a backend takes little memory, whatever the numbers are. A password is never shown. Of a rejected URL, only the
/// scheme and the parameters are.
pub(crate) fn urls(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return assert!(!error.to_string().contains(SECRET), "{error}"),
    };
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, text) = text.split_once("://").unwrap_or_default();
    let (login, hosts) = text.rsplit_once('@').unwrap_or(("", text));
    let user = login.split_once(':').map_or("", |(user, _)| user);
    let (shown, visible) = match open(url.clone(), Duration::from_secs(1), &Clock::system()) {
        Err(error) => (format!("{error} {error:?}"), [scheme, query, "", ""]),
        // A user without a password may be one.
        Ok(_) if url.password.is_none() => (url.to_string(), [scheme, query, hosts, ""]),
        Ok(_) => (url.to_string(), [scheme, query, hosts, user]),
    };
    let is_visible = visible.iter().any(|part| part.to_lowercase().contains("cret") || part.contains('%'));
    assert!(is_visible || !shown.contains(SECRET), "{shown}");
}
