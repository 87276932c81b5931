//! Opening connections: addresses, name look-ups, and the time that each attempt gets.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::{fd::OwnedFd, unix::net::UnixStream};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use super::stream::Stream;
use super::tls::Tls;
#[cfg(feature = "tls")]
use super::tls::socket::TlsSocket;

/// The shortest time that one attempt gets.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(1);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp {
        /// A name or an IP address.
        host: String,
        port: u16,
    },
    #[cfg(unix)]
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            #[cfg(unix)]
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Connects to `address` before `deadline`, over TLS if there are settings of it.
pub(crate) fn dial(address: &Address, tls: Option<&Tls>, deadline: Instant) -> io::Result<Stream> {
    match address {
        Address::Tcp { host, port } => {
            let socket = dial_tcp(host, *port, deadline)?;
            match tls {
                None => Ok(Stream::new(socket)),
                #[cfg(feature = "tls")]
                Some(tls) => TlsSocket::connect(tls, host, socket, deadline).map(Stream::new),
                #[cfg(not(feature = "tls"))]
                Some(tls) => match *tls {},
            }
        }
        #[cfg(unix)]
        Address::Unix(path) => dial_unix(path, deadline).map(Stream::new),
    }
}

/// Connects to the first IP address of `host` that answers. Each gets only its share of the time, so that one that doesn't
/// answer leaves time for the others.
///
/// Looks the name up each time, because a server may move.
fn dial_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = no_address();
    for (address, share) in shares(look_up(host, port, deadline)?, deadline) {
        match TcpStream::connect_timeout(&address, share?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// `UnixStream::connect` with a deadline: it would wait forever while the queue of a frozen server is full.
#[cfg(unix)]
fn dial_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    use socket2::{Domain, SockAddr, Socket, Type};
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(time_left(deadline)?))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// The time until `deadline`, or a timeout if it has passed.
pub(crate) fn time_left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The error for a name without addresses.
pub(crate) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the host name has no address")
}

/// The addresses, each with its share of the time that is left when its turn comes.
pub(crate) fn shares(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
) -> impl Iterator<Item = (SocketAddr, io::Result<Duration>)> {
    let remaining = (1..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev();
    let share =
        move |remaining: u32| time_left(deadline).map(|left| (left / remaining).max(SHORTEST_ATTEMPT));
    addresses.into_iter().zip(remaining).map(move |(address, remaining)| (address, share(remaining)))
}

/// Resolves `host`. The system's look-up takes no deadline, and a resolver that is down blocks for many seconds, so it
/// runs on its own thread, which the caller abandons at `deadline`.
fn look_up(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    let (sender, receiver) = sync_channel(1);
    let name = host.to_owned();
    let resolve = move || {
        // An error means that the caller is gone.
        let _ = sender.send((&*name, port).to_socket_addrs().map(Vec::from_iter));
    };
    thread::Builder::new().name("cache-lookup".to_owned()).spawn(resolve)?;
    let found = receiver.recv_timeout(time_left(deadline)?);
    found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_dialed() {
        let soon = || Instant::now() + Duration::from_secs(10);
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(dial_tcp(host, port, soon()).unwrap().peer_addr().unwrap().port(), port);
        }
        assert!(dial_tcp("no-such-host.invalid", port, soon()).is_err());
        let late = dial_tcp("no-such-host.invalid", port, Instant::now()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
