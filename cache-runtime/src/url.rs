//! Backend URLs: `scheme://[user[:password]@]host[:port][,host…][/path][?name=value&…]`.
//!
//! Several hosts in one URL are not RFC 3986, so no general URL parser reads them. This
//! module knows no backend; each takes its own parameters and then calls [`Url::finish`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// One server of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// A name or an address; IPv6 without its brackets.
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

/// A parsed URL. `Display` and every error redact the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) hosts: Vec<Host>,
    /// With its leading slash, or empty.
    pub(crate) path: String,
    query: Vec<(String, String)>,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::new(ErrorKind::Config, format!("{why} in the URL `{}`", redact(text)));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("no `scheme://`"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold any character but `@` unescaped, even `/`: people paste them.
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
            scheme: scheme.to_ascii_lowercase(),
            user: user.filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
            hosts: Vec::new(),
            path: decode(path)?,
            query: Vec::new(),
        };
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            url.hosts.push(parse_host(host).ok_or_else(|| bad("a bad host or port"))?);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if url.query.iter().any(|(known, _)| *known == name) {
                return Err(bad(&format!("the parameter `{name}` twice")));
            }
            url.query.push((name, decode(value)?));
        }
        Ok(url)
    }

    /// Takes the parameter `name` out of the query, parsed as a plain value.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str, what: &str) -> Result<Option<T>, Error> {
        self.take_with(name, what, |text| text.parse().ok())
    }

    /// Takes a duration: seconds as a number, or a number with `ms`, `s`, `m`, `h` or `d`.
    pub(crate) fn take_duration(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        self.take_with(name, "a duration like `100ms` or `5s`", parse_duration)
    }

    /// Takes a size in bytes: a number, alone or with `KiB`, `MiB` or `GiB`.
    pub(crate) fn take_size(&mut self, name: &str) -> Result<Option<u64>, Error> {
        self.take_with(name, "a size like `512KiB` or `64MiB`", parse_size)
    }

    fn take_with<T>(
        &mut self,
        name: &str,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
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

    /// The URL must have no parameter left; `known` are those that could have been.
    pub(crate) fn finish(&self, known: &[&str]) -> Result<(), Error> {
        match self.query.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::new(
                ErrorKind::Config,
                format!(
                    "unknown URL parameter `{name}` for `{}://`; known are `{}`",
                    self.scheme,
                    known.join("`, `")
                ),
            )),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if self.user.is_some() || self.password.is_some() {
            f.write_str(self.user.as_deref().unwrap_or(""))?;
            f.write_str(if self.password.is_some() { ":***@" } else { "@" })?;
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
    (!name.is_empty()).then(|| Host { name: name.to_owned(), port })
}

/// Text that may not even be a URL, without whatever stands where a password could.
fn redact(text: &str) -> String {
    let text = text.split_once('?').map_or(text, |(text, _)| text);
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://***{}", &text[..scheme], &text[at..]),
        (None, Some(at)) => format!("***{}", &text[at..]),
        _ => text.to_owned(),
    }
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

/// Seconds as a number, or a number with a unit. Zero is refused: it would mean "never cache"
/// to one reader and "for ever" to another.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let mut url =
            Url::parse("Redis://me:p%40ss@h1:1,[::1]:2,h3/7?timeout=100ms&max=2KiB&pool=3").unwrap();
        assert_eq!((url.scheme.as_str(), url.path.as_str()), ("redis", "/7"));
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("me"), Some("p@ss")));
        let hosts: Vec<_> = url.hosts.iter().map(|host| (host.name.as_str(), host.port)).collect();
        assert_eq!(hosts, [("h1", Some(1)), ("::1", Some(2)), ("h3", None)]);
        assert_eq!(url.take_duration("timeout").unwrap(), Some(Duration::from_millis(100)));
        assert_eq!(url.take_size("max").unwrap(), Some(2048));
        assert_eq!(url.take::<usize>("pool", "a number").unwrap(), Some(3));
        url.finish(&[]).unwrap();
        assert_eq!(url.to_string(), "redis://me:***@h1:1,[::1]:2,h3/7");
    }

    #[test]
    fn no_error_shows_a_password() {
        for text in [
            "redis://:s3cret@h:notaport",
            "redis://:s3cret@h:0",
            "redis:s3cret@h",
            "redis://u:s3cret@h/%zz",
            "redis://u:s3/cret@h:x",
            "redis://h/%zz?password=s3cret",
        ] {
            let message = format!("{0} {0:?}", Url::parse(text).unwrap_err());
            assert!(!message.contains("s3") && !message.contains("cret"), "{message}");
        }
    }

    #[test]
    fn bad_parameters_name_themselves() {
        let mut url = Url::parse("redis://h?timeout=soon&spool=3").unwrap();
        let error = url.take_duration("timeout").unwrap_err().to_string();
        assert!(error.contains("`timeout=soon` is not a duration"), "{error}");
        let error = url.finish(&["timeout", "pool"]).unwrap_err().to_string();
        assert!(error.contains("`spool`") && error.contains("`timeout`, `pool`"), "{error}");
        assert!(Url::parse("redis://h?a=1&a=2").unwrap_err().to_string().contains("`a` twice"));
    }

    #[test]
    fn durations_have_units_and_are_not_zero() {
        assert_eq!(parse_duration("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2d"), Some(Duration::from_secs(172_800)));
        assert_eq!(parse_duration("0.25ms"), Some(Duration::from_micros(250)));
        assert_eq!(
            (parse_duration(".5"), parse_duration("5.")),
            (parse_duration("500ms"), parse_duration("5s"))
        );
        for bad in ["", "0", "0ms", "5 s", "5w", "-1", "1e3", "NaN", ".", "1.2.3", "99999999999999999999d"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
