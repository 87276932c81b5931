//! Backend URLs: `scheme://[user[:password]@]host[:port][,host…][/path][?name=value&…]`.
//!
//! RFC 3986 doesn't allow several hosts, so no general URL parser reads them. This module knows no backend: each takes its
//! own parameters and then calls [`Url::finish`].
//!
//! A rejected URL is never shown, because any part of it may be a misplaced password. Errors name its scheme and its
//! parameters at most. An accepted URL is shown without its password.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// One server in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// A name or an address; IPv6 without its brackets.
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

/// A parsed URL. `Display` is for URLs that a backend has accepted.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) hosts: Vec<Host>,
    /// Empty, or with its leading slash.
    pub(crate) path: String,
    query: Vec<(String, String)>,
    /// The parameters that the backend knows.
    known: Vec<&'static str>,
}

impl Url {
    /// Parses `text`. Surrounding white space doesn't count: files of secrets end in a line break.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let (scheme, rest) = split_scheme(text).ok_or_else(|| bad("no `scheme://`"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query.contains('@') {
            return Err(bad(
                "an `@` after a `?` (write `%3F` for `?` in a password, `%40` for `@` in a parameter)",
            ));
        }
        // A password may contain any other character unescaped, even `/`, because people paste them.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (hosts, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let decode = |part: &str| percent_decode(part).ok_or_else(|| bad("a bad percent escape"));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(decode(user)?), Some(decode(password)?)),
            None => (None, None),
        };
        let mut url = Self {
            scheme,
            user: user.filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
            hosts: Vec::new(),
            path: decode(path)?,
            query: Vec::new(),
            known: Vec::new(),
        };
        if hosts.contains(';') {
            return Err(bad("hosts with `;` between them instead of `,`"));
        }
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            url.hosts.push(parse_host(host).ok_or_else(|| bad("a bad host or port"))?);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| bad("a parameter without `=`"))?;
            let name = decode(name)?;
            if url.query.iter().any(|(known, _)| *known == name) {
                return Err(bad("a parameter twice"));
            }
            url.query.push((name, decode(value)?));
        }
        Ok(url)
    }

    /// Takes the parameter `name` out of the query, parsed as a plain value.
    pub(crate) fn take<T: FromStr>(&mut self, name: &'static str, what: &str) -> Result<Option<T>, Error> {
        self.take_with(name, what, |text| text.parse().ok())
    }

    /// Takes a duration: seconds as a number, or a number with `ms`, `s`, `m`, `h` or `d`.
    pub(crate) fn take_duration(&mut self, name: &'static str) -> Result<Option<Duration>, Error> {
        self.take_with(name, "a duration like `100ms` or `5s`", parse_duration)
    }

    /// Takes a size in bytes: a number, alone or with `KiB`, `MiB` or `GiB`.
    #[cfg(feature = "memory")]
    pub(crate) fn take_size(&mut self, name: &'static str) -> Result<Option<u64>, Error> {
        self.take_with(name, "a size like `512KiB` or `64MiB`", parse_size)
    }

    fn take_with<T>(
        &mut self,
        name: &'static str,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let Some(index) = self.query.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, text) = self.query.remove(index);
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => {
                Err(Error::new(ErrorKind::Config, format!("the URL parameter `{name}={text}` is not {what}")))
            }
        }
    }

    /// Fails if the URL has a parameter that was not taken.
    #[cfg(feature = "memory")]
    pub(crate) fn finish(&self) -> Result<(), Error> {
        match self.query.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::new(
                ErrorKind::Config,
                format!(
                    "unknown URL parameter `{name}` for `{}://`; known are `{}`",
                    self.scheme,
                    self.known.join("`, `")
                ),
            )),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match (&self.user, &self.password) {
            (None, None) => {}
            // A single word in front of the host may be meant as a password.
            (Some(_), None) => f.write_str("***@")?,
            (user, Some(_)) => write!(f, "{}:***@", user.as_deref().unwrap_or(""))?,
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match host.port {
                Some(port) if host.name.contains(':') => write!(f, "{comma}[{}]:{port}", host.name)?,
                Some(port) => write!(f, "{comma}{}:{port}", host.name)?,
                None => write!(f, "{comma}{}", host.name)?,
            }
        }
        f.write_str(&self.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The reason is a constant, so that it can't repeat a part of the URL.
fn bad(why: &'static str) -> Error {
    Error::new(ErrorKind::Config, format!("{why} in the URL"))
}

/// The scheme of a URL in lower case, and the text after `://` without trailing white space.
pub(crate) fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then(|| (scheme.to_ascii_lowercase(), rest))
}

fn parse_host(text: &str) -> Option<Host> {
    let (name, port) = match text.strip_prefix('[') {
        Some(ipv6) => {
            let (name, rest) = ipv6.split_once(']')?;
            (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    // In brackets, an address may have colons and the name of a network interface.
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.:%".contains(c));
    is_name.then(|| Host { name: name.to_owned(), port })
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(rest.next()?)? << 4 | digit(rest.next()?)?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Parses seconds as a number, or a number with a unit. Rejects zero, which could mean "never cache" or "forever".
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let millis: u128 = match &text[digits..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let (whole, fraction) = text[..digits].split_once('.').unwrap_or((&text[..digits], ""));
    let number: u128 = [whole, fraction].concat().parse().ok()?;
    let parts = 10_u128.checked_pow(fraction.len().try_into().ok()?)?;
    let nanos = u64::try_from(number.checked_mul(millis * 1_000_000)? / parts).ok()?;
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

#[cfg(feature = "memory")]
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match &text[digits..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift).filter(|size| *size > 0)
}
