//! A server that may answer anything, in front of one that answers right.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

/// Answers of another type, of another protocol, or with lengths that nobody should trust.
const STRANGE: [&[u8]; 28] = [
    b"$1000000000\r\nx",
    b"$9223372036854775807\r\n",
    b"*1000000000\r\n$1\r\nx\r\n",
    b"*1\r\n*1\r\n*1\r\n",
    b"VA 1000000000 kkey\r\nx",
    b"VA 18446744073709551615 kkey\r\n",
    b"VA 0 k\r\n\r\n",
    b"+OK\r\n",
    b"+QUEUED\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b":1\r\n",
    b":-9223372036854775808\r\n",
    b":99999999999999999999\r\n",
    b"-ERR no\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n",
    b"-NOSCRIPT none\r\n",
    b"%1\r\n+a\r\n+b\r\n",
    b"_\r\n",
    b">1\r\n+push\r\n",
    b"EN\r\n",
    b"HD\r\n",
    b"NF\r\n",
    b"SERVER_ERROR out of memory\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\r\n",
    b"\0",
];

/// Longer than any line that a server sends.
const ENDLESS: usize = 80 << 10;

/// How many answers are kept, to be given to the wrong question.
const KEPT: usize = 16;

/// A listener on a free loopback port. It passes every request on to a server, and gives half of the answers wrong.
pub struct Hostile {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    questions: AtomicUsize,
    earlier: Mutex<Vec<Vec<u8>>>,
}

impl Hostile {
    /// The nth connection gets the same sequence of faults in every run with this `seed`.
    pub fn before(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { server, questions: AtomicUsize::new(0), earlier: Mutex::default() });
        let accepting = state.clone();
        thread::spawn(move || {
            for (client, nth) in listener.incoming().flatten().zip(0..) {
                let state = accepting.clone();
                // An error means that the client has gone.
                thread::spawn(move || state.serve(&client, Rng::with_seed(seed << 32 | nth)));
            }
        });
        Self { address, state }
    }

    /// Where clients find it.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have arrived.
    pub fn questions(&self) -> usize {
        self.state.questions.load(Ordering::Relaxed)
    }
}

impl State {
    fn serve(&self, mut client: &TcpStream, mut dice: Rng) -> io::Result<()> {
        let mut server = TcpStream::connect(self.server)?;
        server.set_read_timeout(Some(Duration::from_secs(1)))?;
        for stream in [client, &server] {
            stream.set_nodelay(true)?;
        }
        let mut buffer = vec![0; 16 << 10];
        loop {
            let request = match client.read(&mut buffer)? {
                0 => return Ok(()),
                len => &buffer[..len],
            };
            self.questions.fetch_add(1, Ordering::Relaxed);
            server.write_all(request)?;
            let len = server.read(&mut buffer)?;
            if len == 0 {
                return Ok(());
            }
            let (answer, is_last) = self.distorted(&buffer[..len], &mut dice);
            client.write_all(&answer)?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// What is answered instead of `right`, and whether the connection is closed then. Most of what looks unfinished is
    /// closed, because a client waits for the rest until its time is over.
    fn distorted(&self, right: &[u8], dice: &mut Rng) -> (Vec<u8>, bool) {
        let (mut answer, mostly_closed) = (right.to_vec(), dice.u8(..8) != 0);
        match dice.u8(..100) {
            0..50 => {
                let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
                match earlier.len() {
                    ..KEPT => earlier.push(right.to_vec()),
                    _ => earlier[dice.usize(..KEPT)] = right.to_vec(),
                }
                (answer, false)
            }
            50..62 => {
                for _ in 0..dice.usize(1..4) {
                    let at = dice.usize(..answer.len());
                    answer[at] = if dice.bool() { dice.u8(..) } else { *dice.choice(right).unwrap() };
                }
                (answer, mostly_closed)
            }
            62..72 => {
                let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
                (dice.choice(&*earlier).cloned().unwrap_or_default(), mostly_closed)
            }
            72..78 => {
                answer.truncate(dice.usize(..right.len()));
                (answer, mostly_closed)
            }
            78..86 => (dice.choice(STRANGE).unwrap().to_vec(), mostly_closed),
            86..91 => ((0..dice.usize(1..200)).map(|_| dice.u8(..)).collect(), mostly_closed),
            91..94 => (vec![b'x'; ENDLESS], mostly_closed),
            // The right answer, and more that nobody asked for.
            94..97 => ([right, right].concat(), false),
            97..99 => (Vec::new(), true),
            _ => (Vec::new(), false),
        }
    }
}
