//! A connection for async calls. A timer around each call keeps its deadline.

use std::io::{
    self,
    ErrorKind::{UnexpectedEof, WriteZero},
};
use std::time::Instant;

use socket2::SockRef;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
#[cfg(feature = "tls")]
use tokio::time::timeout_at;
#[cfg(feature = "tls")]
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::error::Error;
use crate::net::dial::{Address, no_address, shares};
use crate::net::line::Line;
use crate::net::pool::idle::{Connection, Flow};
use crate::net::read_buffer::{Cursor, ParseError, ReadBuffer};
use crate::net::stream::is_quiet;
use crate::net::tls::Tls;
#[cfg(feature = "tls")]
use crate::net::tls::unanswered;

/// A connection that serves one call at a time.
pub(crate) struct AsyncStream {
    socket: Box<dyn AsyncSocket>,
    buffer: ReadBuffer,
    /// What the call has sent and received.
    flow: Flow,
}

/// What an [`AsyncStream`] needs of its socket.
pub(crate) trait AsyncSocket: AsyncRead + AsyncWrite + Send + Unpin {
    fn as_socket(&self) -> SockRef<'_>;

    /// See [`Socket::has_unread`](crate::net::stream::Socket::has_unread).
    fn has_unread(&self) -> bool {
        false
    }
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
        Self { socket: Box::new(socket), buffer: ReadBuffer::default(), flow: Flow::default() }
    }

    /// Connects to `address` before `deadline`; see [`dial`](crate::net::dial::dial).
    pub(crate) async fn dial(address: &Address, tls: Option<&Tls>, deadline: Instant) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let socket = dial_tcp(host, *port, deadline).await?;
                match tls {
                    None => Ok(Self::new(socket)),
                    #[cfg(feature = "tls")]
                    Some(tls) => shake_hands(tls, host, socket, deadline).await.map(Self::new),
                    #[cfg(not(feature = "tls"))]
                    Some(tls) => match *tls {},
                }
            }
            #[cfg(unix)]
            Address::Unix(path) => UnixStream::connect(path).await.map(Self::new),
        }
    }
}

impl Line for AsyncStream {
    async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.buffer.check_empty(self.socket.has_unread())?;
        let mut rest = request;
        while !rest.is_empty() {
            let written = self.socket.write(rest).await?;
            if written == 0 {
                return Err(WriteZero.into());
            }
            self.flow.add(written);
            rest = &rest[written..];
        }
        Ok(())
    }

    async fn receive<T: Send>(
        &mut self,
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError> + Send,
    ) -> io::Result<Result<T, Error>> {
        loop {
            match self.buffer.take(&parser) {
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            match self.socket.read(self.buffer.space()).await {
                Ok(0) => return Err(self.buffer.explain(UnexpectedEof.into())),
                Ok(read) => {
                    self.flow.add(read);
                    self.buffer.fill(read);
                }
                Err(error) => return Err(self.buffer.explain(error)),
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

    /// The pool's timer keeps the deadline.
    fn begin(&mut self, _: Instant) {
        self.flow = Flow::default();
    }

    fn flow(&self) -> Flow {
        self.flow
    }
}

#[cfg(feature = "tls")]
impl AsyncSocket for TlsStream<TcpStream> {
    fn as_socket(&self) -> SockRef<'_> {
        self.get_ref().0.into()
    }

    fn has_unread(&self) -> bool {
        !self.get_ref().1.wants_read()
    }
}

#[cfg(feature = "tls")]
async fn shake_hands(
    tls: &Tls,
    host: &str,
    socket: TcpStream,
    deadline: Instant,
) -> io::Result<TlsStream<TcpStream>> {
    let connected = TlsConnector::from(tls.client()?).connect(tls.server_name(host)?, socket);
    let connected = timeout_at(deadline.into(), connected).await;
    connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unanswered)
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
