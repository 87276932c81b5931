//! A socket on which every single read and write ends at the deadline of the call.
//!
//! redis-rs's own blocking connection has timeouts per read: an answer that trickles in, or a large
//! one on a slow line, may take any number of them. Its parser reads from whatever it is given.

use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::pool::left;

/// How much later than asked a socket may time out, for the sake of not setting it before each call:
/// calls mostly have the same time, so that a timeout once set fits the next call too.
const SLACK: Duration = Duration::from_millis(5);

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
    deadline: Instant,
    /// The timeout that is set on the socket.
    armed: Duration,
}

impl Wire {
    pub(crate) fn new(socket: impl Socket + 'static, deadline: Instant) -> Self {
        Self { socket: Box::new(socket), deadline, armed: Duration::ZERO }
    }

    /// The same socket for a call that ends at `deadline`.
    pub(crate) fn until(&mut self, deadline: Instant) -> &mut Self {
        self.deadline = deadline;
        self
    }

    fn arm(&mut self) -> io::Result<&mut dyn Socket> {
        let left = left(self.deadline)?;
        if !(left..left + 2 * SLACK).contains(&self.armed) {
            self.armed = left + SLACK;
            self.socket.set_timeouts(self.armed)?;
        }
        Ok(&mut *self.socket)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.arm()?.read(buffer) {
                // On Linux a socket with a timeout reports every signal, even a debugger's.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.arm()?.flush()
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
        let mut wire = Wire::new(client, start + Duration::from_millis(100));
        let error = wire.read_exact(&mut [0; 1000]).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        assert!(start.elapsed() < Duration::from_millis(180), "{:?}", start.elapsed());
    }

    #[test]
    fn a_later_deadline_holds_for_the_next_call() {
        let (client, mut server) = pair();
        let mut wire = Wire::new(client, Instant::now() + Duration::from_millis(10));
        assert!(wire.read(&mut [0]).is_err());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            server.write_all(b"x")
        });
        let later = Instant::now() + Duration::from_secs(5);
        assert_eq!(wire.until(later).read(&mut [0]).unwrap(), 1);
    }
}
