//! A blocking socket over TLS.
//!
//! A call reads or writes the underlying socket once at most, and reports [`Interrupted`](io::ErrorKind::Interrupted) if that is
//! not enough. So the owner can look at the time in between: rustls's own stream reads until there is something.

use std::io::{self, ErrorKind::Interrupted, ErrorKind::WouldBlock, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustls::ClientConnection;
use socket2::SockRef;

use super::Tls;
use super::failure::unanswered;
use crate::net::dial::time_left;
use crate::net::stream::Socket;

/// The most bytes that are encrypted ahead of the socket.
const CHUNK: usize = 64 << 10;

pub(crate) struct TlsSocket {
    tls: ClientConnection,
    socket: TcpStream,
}

impl TlsSocket {
    /// Shakes hands with the server, which must be `host`, before `deadline`.
    pub(crate) fn connect(tls: &Tls, host: &str, socket: TcpStream, deadline: Instant) -> io::Result<Self> {
        let tls = ClientConnection::new(tls.client()?, tls.server_name(host)?).map_err(invalid)?;
        let mut connecting = Self { tls, socket };
        connecting.shake_hands(deadline).map_err(unanswered)?;
        Ok(connecting)
    }

    fn shake_hands(&mut self, deadline: Instant) -> io::Result<()> {
        while self.tls.is_handshaking() {
            let left = Some(time_left(deadline)?);
            self.socket.set_read_timeout(left)?;
            self.socket.set_write_timeout(left)?;
            match if self.tls.wants_write() { self.flush_once() } else { self.receive() } {
                Err(error) if error.kind() == Interrupted => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Reads the socket once.
    fn receive(&mut self) -> io::Result<()> {
        if self.tls.read_tls(&mut self.socket)? == 0 && self.tls.is_handshaking() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let received = self.tls.process_new_packets();
        if received.is_err() {
            // The alert that tells the server why. The connection ends anyway.
            let _ = self.tls.write_tls(&mut self.socket);
        }
        received.map(drop).map_err(invalid)
    }

    /// Writes to the socket once.
    fn flush_once(&mut self) -> io::Result<()> {
        self.tls.write_tls(&mut self.socket).map(drop)
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Read for TlsSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.tls.reader().read(buffer) {
            Err(error) if error.kind() == WouldBlock => {}
            read => return read,
        }
        if self.tls.wants_write() {
            self.flush_once()?;
        } else {
            self.receive()?;
        }
        match self.tls.reader().read(buffer) {
            Err(error) if error.kind() == WouldBlock => Err(Interrupted.into()),
            read => read,
        }
    }
}

impl Write for TlsSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.tls.wants_write() {
            let written = self.tls.writer().write(&bytes[..bytes.len().min(CHUNK)])?;
            self.flush_once()?;
            return Ok(written);
        }
        self.flush_once()?;
        Err(Interrupted.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.flush_once()?;
        }
        Ok(())
    }
}

impl Socket for TlsSocket {
    fn as_socket(&self) -> SockRef<'_> {
        (&self.socket).into()
    }

    fn has_unread(&self) -> bool {
        !self.tls.wants_read()
    }
}
