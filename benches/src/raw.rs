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
    pub fn get(&mut self, key: &str) -> Vec<u8> {
        self.ask(|request| write!(request, "*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()), 1)
    }

    /// `mg` of Memcached.
    pub fn mg(&mut self, key: &str) -> Vec<u8> {
        self.ask(|request| write!(request, "mg {key} v\r\n"), 3)
    }

    /// The value whose length stands behind `skip` characters of the answer's first line.
    fn ask(&mut self, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>, skip: usize) -> Vec<u8> {
        self.request.clear();
        write(&mut self.request).expect("vectors take all");
        self.reader.get_mut().write_all(&self.request).expect("the server reads");
        self.line.clear();
        self.reader.read_line(&mut self.line).expect("the server answers");
        let length: usize = self.line[skip..].trim_end().parse().expect("a value is there");
        let mut value = vec![0; length + 2];
        self.reader.read_exact(&mut value).expect("the value comes");
        value.truncate(length);
        value
    }
}
