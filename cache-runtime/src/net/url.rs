//! Backend URLs: `scheme://[user[:password]@]host[:port][,host…][/path][?name=value&…]`.
//!
//! Several hosts in one URL are not RFC 3986, so no general URL parser reads them. This
//! module knows no backend; each takes its own parameters and then calls [`Url::finish`].
//!
//! A URL that is refused is never shown: what can't be read as it was meant may be a password in any place. Errors name
//! its scheme and its parameters at the most. One that is accepted is shown without its password.

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

/// A parsed URL. `Display` is for those that a backend has accepted.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) hosts: Vec<Host>,
    /// With its leading slash, or empty.
    pub(crate) path: String,
    query: Vec<(String, String)>,
    /// The parameters that were asked for.
    known: Vec<&'static str>,
}

impl Url {
    /// White space around it doesn't count: files of secrets end in a line break.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let (scheme, rest) = split_scheme(text).ok_or_else(|| bad("no `scheme://`"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query.contains('@') {
            return Err(bad(
                "an `@` behind a `?` (write `%3F` for `?` in a password, `%40` for `@` in a parameter)",
            ));
        }
        // A password may hold any other character unescaped, even `/`: people paste them.
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

    /// The URL must have no parameter but those that were taken.
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
            // Who writes one thing in front of the host may mean a password.
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

/// The reason is a constant, so that it can't repeat what is in the URL.
fn bad(why: &'static str) -> Error {
    Error::new(ErrorKind::Config, format!("{why} in the URL"))
}

/// The scheme of a URL, in lower case, and what follows `://` without white space.
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
    let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
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
        url.finish().unwrap();
        assert_eq!(url.to_string(), "redis://me:***@h1:1,[::1]:2,h3/7");
    }

    /// Passwords in all places where people put them; the last line is for those that parse as something else.
    #[test]
    fn no_refused_url_is_shown() {
        for text in [
            "redis://:s3cret@h:notaport",
            "redis://:s3cret@h:0",
            "redis:s3cret@h",
            "redis:user:s3cret",
            "redis//:s3cret@h",
            "s3cret",
            "u:s3cret://h",
            "redis://user:s3cret",
            "redis://user:s3cret/0",
            "redis://u:s3cret?x@h",
            "redis://u:1?s3cret@h",
            "redis://u:1?s3cret=1@h",
            "redis://u:1?s3cret",
            "redis://u:s3cret@h/%zz",
            "redis://u:s3/cret@h:x",
            "redis://h/%zz?password=s3cret",
            "redis://s3cret@:1",
        ] {
            let message = format!("{0} {0:?}", Url::parse(text).expect_err(text));
            assert!(!message.contains("s3") && !message.contains("cret"), "{text}: {message}");
        }
        assert_eq!(Url::parse("redis://s3cret@h").unwrap().to_string(), "redis://***@h");
    }

    #[test]
    fn white_space_is_around_a_url_or_a_mistake() {
        assert_eq!(Url::parse(" redis://:p w@h:1/2\r\n").unwrap(), Url::parse("redis://:p w@h:1/2").unwrap());
        for text in ["redis://h h", "redis://h\t/2", "redis://h:1 /2", "redis:// h", "re dis://h"] {
            assert_eq!(Url::parse(text).expect_err(text).kind(), ErrorKind::Config);
        }
    }

    proptest::proptest! {
        /// Words of ten digits can't be ports, and stand in no message of ours.
        #[test]
        fn no_refused_url_is_shown_in_part(text in "(redis://)?([:/@?&=%,]|\\[|\\]|[0-9]{10}|h){0,12}") {
            let words = || text.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
            match Url::parse(&text) {
                Err(error) => {
                    let shown = format!("{error} {error:?}");
                    proptest::prop_assert!(!words().any(|word| shown.contains(word)), "{text}: {shown}");
                }
                Ok(url) => {
                    let (login, _) = text.rsplit_once('@').unwrap_or_default();
                    let (_, password) = login.split_once("://").and_then(|(_, login)| login.split_once(':')).unwrap_or_default();
                    let shown = format!("{url} {:?}", url.finish());
                    let rest = &text[login.len()..];
                    let is_shown = |word: &str| password.contains(word) && !rest.contains(word) && shown.contains(word);
                    proptest::prop_assert!(!words().any(is_shown), "{text}: {shown}");
                }
            }
        }
    }

    #[test]
    fn bad_parameters_name_themselves() {
        let mut url = Url::parse("redis://h?timeout=soon&spool=3").unwrap();
        let error = url.take_duration("timeout").unwrap_err().to_string();
        assert!(error.contains("`timeout=soon` is not a duration"), "{error}");
        assert_eq!(url.take_size("pool").unwrap(), None);
        let error = url.finish().unwrap_err().to_string();
        assert!(error.contains("`spool`") && error.contains("`timeout`, `pool`"), "{error}");
        assert!(Url::parse("redis://h?a=1&a=2").unwrap_err().to_string().contains("a parameter twice"));
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
