//! A URL as the addresses of the servers.

use std::time::Duration;

use super::blocking::Connections;
use super::routing::seed;
use crate::error::{Error, ErrorKind};
use crate::net::dial::Address;
use crate::net::options::Options;
use crate::net::url::{Host, Url};

const PORT: u16 = 11211;

/// The server's limit of 1 MiB includes the key, up to 250 bytes, and the header of the item: 309 bytes together in
/// 1.6.18, by experiment. The rest is a margin for other versions.
const MAX_VALUE: usize = (1 << 20) - 512;

/// One of the servers.
pub(super) struct Server {
    pub(super) address: Address,
    /// Tells the servers apart when keys are distributed.
    pub(super) seed: u64,
    pub(super) blocking: Connections,
}

/// The options and servers of `url`; `timeout` applies if the URL has none.
pub(super) fn servers(mut url: Url, timeout: Duration) -> Result<(Options, Vec<Server>), Error> {
    let options = Options::take(&mut url, timeout, MAX_VALUE)?;
    if url.scheme != "memcached" {
        return Err(config(&format!("`{}://` is not a Memcached URL", url.scheme)));
    }
    if url.user.is_some() || url.password.is_some() {
        return Err(config("users and passwords of Memcached are not supported yet"));
    }
    if url.hosts.is_empty() || !matches!(url.path.as_str(), "" | "/") {
        return Err(config("a Memcached URL is a list of hosts; unix sockets are not supported yet"));
    }
    url.finish()?;
    let servers = url.hosts.iter().map(|host| Server::new(host, &options)).collect();
    Ok((options, servers))
}

impl Server {
    fn new(Host { name, port }: &Host, options: &Options) -> Self {
        let port = port.unwrap_or(PORT);
        Self {
            seed: seed(name, port),
            address: Address::Tcp { host: name.clone(), port },
            blocking: Connections::new(options),
        }
    }
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
    fn other_urls_are_rejected() {
        for text in [
            "memcached://",
            "memcached:///run/m.sock",
            "unix:///run/m.sock",
            "memcached://a/1",
            "memcached://me:s3cret@a",
            "memcached://a?db=1",
            "memcached://a?max_value=big",
        ] {
            let error = Memcached::from_url(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
