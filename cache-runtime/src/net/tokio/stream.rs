//! A connection for async calls. A timer around each call keeps its deadline.

use std::io::{self, ErrorKind::UnexpectedEof};
use std::time::Instant;

use socket2::SockRef;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::error::Error;
use crate::net::dial::{Address, no_address, shares};
use crate::net::pool::Connection;
use crate::net::read_buffer::{Cursor, ParseError, ReadBuffer};
use crate::net::stream::is_quiet;

/// A connection that serves one call at a time.
pub(crate) struct AsyncStream {
    socket: Box<dyn AsyncSocket>,
    buffer: ReadBuffer,
}

/// What an [`AsyncStream`] needs of its socket.
pub(crate) trait AsyncSocket: AsyncRead + AsyncWrite + Send + Unpin {
    fn as_socket(&self) -> SockRef<'_>;
}

impl AsyncSocket for TcpStream {
    fn as_socket(&self) -> SockRef<'_> {
        self.into()
    }
}

#[cfg(unix)]
impl AsyncSocket for UnixStream {
    fn as_socket(&self) -> SockRef<'_> {
        self.into()
    }
}

impl AsyncStream {
    fn new(socket: impl AsyncSocket + 'static) -> Self {
        Self { socket: Box::new(socket), buffer: ReadBuffer::default() }
    }

    /// Connects to `address` before `deadline`; see [`dial`](crate::net::dial::dial).
    pub(crate) async fn dial(address: &Address, deadline: Instant) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => dial_tcp(host, *port, deadline).await.map(Self::new),
            #[cfg(unix)]
            Address::Unix(path) => UnixStream::connect(path).await.map(Self::new),
        }
    }

    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.buffer.check_empty()?;
        self.socket.write_all(request).await
    }

    /// Reads until `parser` has an answer. The outer error is the socket's, the inner one the parser's.
    pub(crate) async fn receive<T>(
        &mut self,
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError>,
    ) -> io::Result<Result<T, Error>> {
        loop {
            match self.buffer.take(&parser) {
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            match self.socket.read(self.buffer.space()).await? {
                0 => return Err(UnexpectedEof.into()),
                read => self.buffer.fill(read),
            }
        }
    }
}

impl Connection for AsyncStream {
    /// Asks the system, because the runtime may not have noticed yet that the server has closed the connection. Tokio's
    /// sockets never block.
    fn is_open(&mut self) -> bool {
        is_quiet(&self.socket.as_socket())
    }
}

async fn dial_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let (mut failure, addresses) = (no_address(), tokio::net::lookup_host((host, port)).await?);
    for (address, share) in shares(addresses.collect(), deadline) {
        match timeout(share?, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}
