//! The least that a client can do: one request, one answer, nothing checked. The floor of what a round trip costs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection to Redis or Memcached.
pub struct Raw {
    reader: BufReader<TcpStream>,
    request: Vec<u8>,
    line: String,
}

impl Raw {
    /// Connects.
    pub fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).expect("the server is there");
        stream.set_nodelay(true).expect("the socket is there");
        Self { reader: BufReader::with_capacity(16 << 10, stream), request: Vec::new(), line: String::new() }
    }

    /// `GET` of Redis.
    pub fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.ask(|request| write!(request, "*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()), 1)
    }

    /// `mg` of Memcached.
    pub fn mg(&mut self, key: &str) -> Option<Vec<u8>> {
        self.ask(|request| write!(request, "mg {key} v\r\n"), 3)
    }

    /// `SETEX` of Redis, for an hour.
    pub fn set(&mut self, key: &str, value: &[u8]) {
        let (key_length, length) = (key.len(), value.len());
        self.tell("+OK\r\n", value, |request| {
            write!(request, "*4\r\n$5\r\nSETEX\r\n${key_length}\r\n{key}\r\n$4\r\n3600\r\n${length}\r\n")
        });
    }

    /// `ms` of Memcached, for an hour.
    pub fn ms(&mut self, key: &str, value: &[u8]) {
        let length = value.len();
        self.tell("HD\r\n", value, |request| write!(request, "ms {key} {length} T3600\r\n"));
    }

    /// Sends a value and reads the line that answers it.
    fn tell(
        &mut self,
        expected: &str,
        value: &[u8],
        write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>,
    ) {
        self.send(|request| {
            write(request)?;
            request.extend_from_slice(value);
            request.write_all(b"\r\n")
        });
        assert_eq!(self.line, expected);
    }

    /// The value whose length stands behind `skip` characters of the answer's first line, if there is one.
    fn ask(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>,
        skip: usize,
    ) -> Option<Vec<u8>> {
        self.send(write);
        let length: usize = self.line[skip..].trim_end().parse().ok()?;
        let mut value = vec![0; length + 2];
        self.reader.read_exact(&mut value).expect("the value comes");
        value.truncate(length);
        Some(value)
    }

    /// Sends a request and reads the first line of the answer.
    fn send(&mut self, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        self.request.clear();
        write(&mut self.request).expect("vectors take all");
        self.reader.get_mut().write_all(&self.request).expect("the server reads");
        self.line.clear();
        self.reader.read_line(&mut self.line).expect("the server answers");
    }
}
