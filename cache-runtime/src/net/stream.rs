//! A blocking connection whose calls end at their deadlines. Knows no protocol.
//!
//! Sockets have timeouts per read only. An answer that trickles in, or a large one on a slow line, would take any number
//! of them.

use std::future::ready;
use std::io::{
    self,
    ErrorKind::{Interrupted, TimedOut, UnexpectedEof, WouldBlock, WriteZero},
    Read, Write,
};
use std::mem::{self, MaybeUninit};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::dial::time_left;
use super::line::Line;
use super::pool::idle::{Connection, Flow};
use super::read_buffer::{Cursor, ParseError, ReadBuffer};
use crate::error::Error;

/// How much later than its deadline a call may time out. Most calls have the same time, so a timeout that is set once fits
/// the next call too and saves two system calls.
const SLACK: Duration = Duration::from_millis(5);

/// A request up to this length is sent without blocking: everything before it has been answered, so the socket's buffer is
/// empty.
const SENT_AT_ONCE: usize = 2 << 10;

/// What a [`Stream`] needs of its socket.
pub(crate) trait Socket: Read + Write + Send {
    fn as_socket(&self) -> SockRef<'_>;

    /// Whether it has bytes that were not read, besides those that the system has.
    fn has_unread(&self) -> bool {
        false
    }
}

impl Socket for TcpStream {
    fn as_socket(&self) -> SockRef<'_> {
        self.into()
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn as_socket(&self) -> SockRef<'_> {
        self.into()
    }
}

/// A connection that serves one call at a time.
pub(crate) struct Stream {
    socket: Box<dyn Socket>,
    buffer: ReadBuffer,
    deadline: Instant,
    /// The timeout that is set on the socket.
    timeout: Duration,
    /// The timeout was checked just now, so the next read need not check it again.
    is_checked: bool,
    /// When the deadline was noticed to have passed.
    late_since: Option<Instant>,
    /// What the call has sent and received.
    flow: Flow,
}

impl Stream {
    pub(crate) fn new(socket: impl Socket + 'static) -> Self {
        Self {
            socket: Box::new(socket),
            buffer: ReadBuffer::default(),
            deadline: Instant::now(),
            timeout: Duration::ZERO,
            is_checked: false,
            late_since: None,
            flow: Flow::default(),
        }
    }

    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        self.buffer.check_empty(self.socket.has_unread())?;
        let mut rest = request;
        while !rest.is_empty() {
            self.check_timeout()?;
            match self.socket.write(rest) {
                Ok(0) => return Err(WriteZero.into()),
                Ok(written) => {
                    self.flow.add(written);
                    self.is_checked = written <= SENT_AT_ONCE;
                    rest = &rest[written..];
                }
                // On Linux a socket with a timeout reports every signal, even a debugger's.
                Err(error) if error.kind() == Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_answer<T>(
        &mut self,
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError>,
    ) -> io::Result<Result<T, Error>> {
        loop {
            match self.buffer.take(&parser) {
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Ok(None) => self.read()?,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let checked = if mem::take(&mut self.is_checked) { Ok(()) } else { self.check_timeout() };
        let read = checked.and_then(|()| self.socket.read(self.buffer.space()));
        match read {
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => self.read_late(error),
            read => self.fill(read),
        }
    }

    /// Reads what has arrived by now, although the time is over. If this process stood still, the answer is there. What
    /// arrives later is left alone.
    fn read_late(&mut self, timeout: io::Error) -> io::Result<()> {
        let now = Instant::now();
        if now > *self.late_since.get_or_insert(now) + SLACK {
            return Err(timeout);
        }
        self.socket.as_socket().set_nonblocking(true)?;
        let read = self.socket.read(self.buffer.space());
        self.socket.as_socket().set_nonblocking(false)?;
        match read {
            Err(error) if error.kind() == WouldBlock => Err(timeout),
            read => self.fill(read),
        }
    }

    fn fill(&mut self, read: io::Result<usize>) -> io::Result<()> {
        match read {
            Ok(0) => return Err(self.buffer.explain(UnexpectedEof.into())),
            Ok(read) => {
                self.flow.add(read);
                self.buffer.fill(read);
            }
            // On Linux a socket with a timeout reports every signal, even a debugger's.
            Err(error) if error.kind() == Interrupted => {}
            Err(error) => return Err(self.buffer.explain(error)),
        }
        Ok(())
    }

    /// Makes sure that the socket times out at the deadline, give or take the slack.
    fn check_timeout(&mut self) -> io::Result<()> {
        let left = time_left(self.deadline)?;
        if !(left..left + 2 * SLACK).contains(&self.timeout) {
            self.timeout = left + SLACK;
            let socket = self.socket.as_socket();
            socket.set_read_timeout(Some(self.timeout))?;
            socket.set_write_timeout(Some(self.timeout))?;
        }
        Ok(())
    }
}

impl Line for Stream {
    fn send(&mut self, request: &[u8]) -> impl Future<Output = io::Result<()>> + Send {
        ready(self.write(request))
    }

    fn receive<T: Send>(
        &mut self,
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError> + Send,
    ) -> impl Future<Output = io::Result<Result<T, Error>>> + Send {
        ready(self.read_answer(parser))
    }
}

impl Connection for Stream {
    fn is_open(&mut self) -> bool {
        let socket = self.socket.as_socket();
        let is_open = socket.set_nonblocking(true).is_ok() && is_quiet(&socket);
        is_open && socket.set_nonblocking(false).is_ok()
    }

    fn begin(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.late_since = None;
        self.flow = Flow::default();
    }

    fn flow(&self) -> Flow {
        self.flow
    }
}

/// Whether a non-blocking socket has nothing to read. A connection that the server has closed has its end to read.
pub(crate) fn is_quiet(socket: &SockRef<'_>) -> bool {
    socket.peek(&mut [MaybeUninit::uninit()]).is_err_and(|error| error.kind() == WouldBlock)
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
        let mut stream = Stream::new(client);
        stream.begin(start + Duration::from_millis(100));
        let error = stream.read_answer(|cursor| cursor.value(1000)).unwrap_err();
        assert!(matches!(error.kind(), TimedOut | WouldBlock), "{error}");
        assert!(start.elapsed() < Duration::from_millis(180), "{:?}", start.elapsed());
    }

    #[test]
    fn a_closed_connection_is_noticed() {
        let (client, server) = pair();
        let mut stream = Stream::new(client);
        assert!(stream.is_open());
        drop(server);
        while stream.is_open() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_later_deadline_holds_for_the_next_call() {
        let (client, mut server) = pair();
        let mut stream = Stream::new(client);
        let empty = |cursor: &mut Cursor<'_>| cursor.line().map(<[u8]>::len);
        stream.begin(Instant::now() + Duration::from_millis(10));
        stream.write(b"?").unwrap();
        assert!(stream.read_answer(empty).is_err());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            server.write_all(b"\r\n")
        });
        stream.begin(Instant::now() + Duration::from_secs(5));
        stream.write(b"?").unwrap();
        assert_eq!(stream.read_answer(empty).unwrap().unwrap(), 0);
    }

    #[test]
    fn an_answer_that_is_there_is_read_although_the_time_is_over() {
        let (client, mut server) = pair();
        let mut stream = Stream::new(client);
        let line = |cursor: &mut Cursor<'_>| cursor.line().map(<[u8]>::len);
        stream.begin(Instant::now() + Duration::from_secs(10));
        stream.write(b"?").unwrap();
        server.write_all(b"answer\r\n").unwrap();
        while stream.is_open() {
            thread::yield_now();
        }
        // As if this process had been stopped meanwhile.
        (stream.deadline, stream.is_checked) = (Instant::now(), false);
        assert_eq!(stream.read_answer(line).unwrap().unwrap(), 6);
        assert_eq!(stream.read_answer(line).unwrap_err().kind(), TimedOut, "nothing more is there");
    }
}
