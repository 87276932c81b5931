//! Connections, blocking and async. Knows no protocol.
//!
//! On a blocking one a question and its answer end at the deadline of the call. Timeouts per read, as sockets have them,
//! let an answer that trickles in, or a large one on a slow line, take any number of them.

use std::io::{
    self,
    ErrorKind::{Interrupted, UnexpectedEof},
    Read, Write,
};
use std::mem;
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::pool::left;
#[cfg(feature = "tokio")]
use super::pool::{no_address, shares};
use super::read_buffer::{Cursor, Inbox, Stop};
use crate::error::Error;

/// How much later than asked a socket may time out, for the sake of not setting it before each call:
/// calls mostly have the same time, so that a timeout once set fits the next call too.
const SLACK: Duration = Duration::from_millis(5);

/// A request up to this length is sent without waiting: what was sent before has been answered, so that it finds every
/// socket's buffer empty.
const AT_ONCE: usize = 2 << 10;

/// What a [`Wire`] needs of its socket.
pub(crate) trait Socket: Read + Write + Send {
    fn set_timeouts(&self, timeout: Duration) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

pub(crate) struct Wire {
    socket: Box<dyn Socket>,
    inbox: Inbox,
    deadline: Instant,
    /// The timeout that is set on the socket.
    armed: Duration,
    /// No time has passed since it was looked at.
    is_armed: bool,
}

impl Wire {
    pub(crate) fn new(socket: impl Socket + 'static) -> Self {
        Self {
            socket: Box::new(socket),
            inbox: Inbox::default(),
            deadline: Instant::now(),
            armed: Duration::ZERO,
            is_armed: false,
        }
    }

    /// Sends the beginning of a call that ends at `deadline`.
    pub(crate) fn send(&mut self, request: &[u8], deadline: Instant) -> io::Result<()> {
        self.inbox.check_empty()?;
        self.deadline = deadline;
        let mut rest = request;
        while !rest.is_empty() {
            self.arm()?;
            match self.socket.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.is_armed = written <= AT_ONCE;
                    rest = &rest[written..];
                }
                // On Linux a socket with a timeout reports every signal, even a debugger's.
                Err(error) if error.kind() == Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until `parser` has what it wants. Outside, what went wrong with the socket.
    pub(crate) fn receive<T>(
        &mut self,
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> io::Result<Result<T, Error>> {
        loop {
            match self.inbox.take(&parser) {
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Ok(None) => self.read()?,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        if !mem::take(&mut self.is_armed) {
            self.arm()?;
        }
        match self.socket.read(self.inbox.space()) {
            Ok(0) => return Err(UnexpectedEof.into()),
            Ok(read) => self.inbox.fill(read),
            Err(error) if error.kind() == Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn arm(&mut self) -> io::Result<()> {
        let left = left(self.deadline)?;
        if !(left..left + 2 * SLACK).contains(&self.armed) {
            self.armed = left + SLACK;
            self.socket.set_timeouts(self.armed)?;
        }
        Ok(())
    }
}

/// A connection for async calls. Their deadline is a timer around them.
#[cfg(feature = "tokio")]
pub(crate) struct AsyncWire {
    socket: Box<dyn AsyncSocket>,
    inbox: Inbox,
}

/// What an [`AsyncWire`] needs of its socket.
#[cfg(feature = "tokio")]
pub(crate) trait AsyncSocket: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

#[cfg(feature = "tokio")]
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> AsyncSocket for S {}

#[cfg(feature = "tokio")]
impl AsyncWire {
    pub(crate) fn new(socket: impl AsyncSocket + 'static) -> Self {
        Self { socket: Box::new(socket), inbox: Inbox::default() }
    }

    /// Connects by TCP, as `pool::dial` does.
    pub(crate) async fn dial(host: &str, port: u16, deadline: Instant) -> io::Result<Self> {
        let (mut failure, addresses) = (no_address(), tokio::net::lookup_host((host, port)).await?);
        for (address, share) in shares(addresses.collect(), deadline) {
            match tokio::time::timeout(share?, tokio::net::TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    socket.set_nodelay(true)?;
                    return Ok(Self::new(socket));
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.inbox.check_empty()?;
        tokio::io::AsyncWriteExt::write_all(&mut self.socket, request).await
    }

    /// As [`Wire::receive`].
    pub(crate) async fn receive<T>(
        &mut self,
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> io::Result<Result<T, Error>> {
        loop {
            match self.inbox.take(&parser) {
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            match tokio::io::AsyncReadExt::read(&mut self.socket, self.inbox.space()).await? {
                0 => return Err(UnexpectedEof.into()),
                read => self.inbox.fill(read),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_trickle_ends_at_the_deadline() {
        let (client, mut server) = pair();
        thread::spawn(move || {
            while server.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let start = Instant::now();
        let mut wire = Wire::new(client);
        wire.send(b"", start + Duration::from_millis(100)).unwrap();
        let error = wire.receive(|cursor| cursor.value(1000)).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        assert!(start.elapsed() < Duration::from_millis(180), "{:?}", start.elapsed());
    }

    #[test]
    fn a_later_deadline_holds_for_the_next_call() {
        let (client, mut server) = pair();
        let mut wire = Wire::new(client);
        let empty = |cursor: &mut Cursor<'_>| cursor.line().map(<[u8]>::len);
        wire.send(b"?", Instant::now() + Duration::from_millis(10)).unwrap();
        assert!(wire.receive(empty).is_err());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            server.write_all(b"\r\n")
        });
        wire.send(b"?", Instant::now() + Duration::from_secs(5)).unwrap();
        assert_eq!(wire.receive(empty).unwrap().unwrap(), 0);
    }
}
