//! A URL as the addresses of the servers.

use std::sync::Arc;
use std::time::Duration;

use super::blocking::Connections;
use super::routing::seed;
use crate::error::{Error, ErrorKind};
use crate::net::dial::Address;
use crate::net::options::Options;
use crate::net::tls::Tls;
use crate::net::url::{Host, Url};

const PORT: u16 = 11211;

/// The server's limit of 1 MiB includes the key, up to 250 bytes, and the header of the item: 309 bytes together in
/// 1.6.18, by experiment. The rest is a margin for other versions.
const MAX_VALUE: usize = (1 << 20) - 512;

/// One of the servers.
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) tls: Option<Tls>,
    /// What each new connection says first, if the URL has a user.
    pub(super) login: Option<Arc<[u8]>>,
    /// Tells the servers apart when keys are distributed.
    pub(super) seed: u64,
    pub(super) blocking: Connections,
}

/// The options and servers of `url`; `timeout` applies if the URL has none.
pub(super) fn servers(mut url: Url, timeout: Duration) -> Result<(Options, Vec<Server>), Error> {
    let options = Options::take(&mut url, timeout, MAX_VALUE)?;
    let tls = match url.scheme.as_str() {
        "memcached" | "memcached+unix" => None,
        "memcacheds" => Some(Tls::take(&mut url)?),
        scheme => return Err(config(&format!("`{scheme}://` is not a Memcached URL"))),
    };
    let login = match (&url.user, &url.password) {
        (None, None) => None,
        (Some(user), Some(password)) => Some(login(user, password)?),
        _ => return Err(config("Memcached needs a user and a password: `memcached://user:password@host`")),
    };
    let addresses = addresses(&url)?;
    url.finish()?;
    let server = |(address, seed)| Server {
        address,
        tls: tls.clone(),
        login: login.clone(),
        seed,
        blocking: Connections::new(&options),
    };
    let servers = addresses.into_iter().map(server).collect();
    Ok((options, servers))
}

/// Where the servers are, and what tells them apart.
fn addresses(url: &Url) -> Result<Vec<(Address, u64)>, Error> {
    if url.scheme == "memcached+unix" {
        if !url.hosts.is_empty() || url.path.len() < 2 {
            return Err(config("a socket is written with three slashes: `memcached+unix:///path/to.sock`"));
        }
        #[cfg(unix)]
        return Ok(vec![(Address::Unix(url.path.clone().into()), seed(&url.path, 0))]);
        #[cfg(not(unix))]
        return Err(config("this system has no unix sockets"));
    }
    if url.hosts.is_empty() || !matches!(url.path.as_str(), "" | "/") {
        return Err(config("a Memcached URL is a list of hosts, or `memcached+unix:///path/to.sock`"));
    }
    let server = |Host { name, port }: &Host| {
        let port = port.unwrap_or(PORT);
        (Address::Tcp { host: name.clone(), port }, seed(name, port))
    };
    Ok(url.hosts.iter().map(server).collect())
}

/// [Authentication](https://docs.memcached.org/protocols/basic/#authentication) takes the form of a value under any key.
fn login(user: &str, password: &str) -> Result<Arc<[u8]>, Error> {
    if user.contains([' ', '\r', '\n']) || password.contains(['\r', '\n']) {
        return Err(config("Memcached takes no space in a user, and no line break in a password"));
    }
    let value = format!("{user} {password}");
    Ok(format!("set auth 0 0 {}\r\n{value}\r\n", value.len()).into_bytes().into())
}

fn config(message: &str) -> Error {
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memcached::Memcached;

    #[test]
    fn servers_are_what_the_url_lists() {
        let servers = Memcached::from_url("memcached://a,b:2,[::1]:3?pool=4").unwrap().servers;
        let addresses: Vec<_> = servers.into_iter().map(|server| server.address).collect();
        let expected = [("a", 11211), ("b", 2), ("::1", 3)];
        assert_eq!(addresses, expected.map(|(host, port)| Address::Tcp { host: host.into(), port }));
    }

    #[test]
    fn users_and_sockets() {
        let server = |text| Memcached::from_url(text).unwrap().servers.pop().unwrap();
        let login = server("memcached://me:a%20secret@h").login.unwrap();
        assert_eq!(*login, *b"set auth 0 0 11\r\nme a secret\r\n");
        assert_eq!(server("memcached+unix:///m.sock?pool=2").address, Address::Unix("/m.sock".into()));
    }

    #[test]
    fn other_urls_are_rejected() {
        for text in [
            "memcached://",
            "memcached:///run/m.sock",
            "memcached+unix://a",
            "memcached+unix://a/run/m.sock",
            "unix:///run/m.sock",
            "memcached://a/1",
            "memcached://s3cret@a",
            "memcached://:s3cret@a",
            "memcached://a%20user:s3cret@a",
            "memcached://a?db=1",
            "memcached://a?max_value=big",
        ] {
            let error = Memcached::from_url(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
