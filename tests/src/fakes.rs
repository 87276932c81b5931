//! Servers that misbehave.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

/// A port on which nobody listens.
pub fn absent() -> SocketAddr {
    listener().local_addr().unwrap()
}

/// A server that takes connections and requests and never answers.
pub fn silent() -> SocketAddr {
    serving(|_, _| Some(Vec::new()))
}

/// A server that answers every request with `answer`.
pub fn answering(answer: &'static [u8]) -> SocketAddr {
    serving(move |_, _| Some(answer.to_vec()))
}

/// A server that returns what it is sent, as port 7 does.
pub fn echoing() -> SocketAddr {
    serving(|_, request| Some(request.to_vec()))
}

/// A server that says something `more` after its first answer on each connection.
pub fn talkative(answer: &'static [u8], more: &'static [u8]) -> SocketAddr {
    serving(move |count, _| Some([answer, if count == 0 { more } else { b"" }].concat()))
}

/// A server that closes a connection instead of answering its `nth` request, counted from 0.
pub fn closing_at(nth: usize, answer: &'static [u8]) -> SocketAddr {
    serving(move |count, _| (count < nth).then(|| answer.to_vec()))
}

/// A server that answers every request with `answer`, a byte at a time.
pub fn trickling(answer: &'static [u8], pause: Duration) -> SocketAddr {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                for byte in answer.chunks(1) {
                    thread::sleep(pause);
                    if stream.write_all(byte).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Serves with `answer`, which gets the number of the request on its connection and the request; on
/// `None` the connection is closed.
fn serving(answer: impl Fn(usize, &[u8]) -> Option<Vec<u8>> + Copy + Send + 'static) -> SocketAddr {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut request = vec![0; 1 << 16];
                for count in 0.. {
                    let length = match stream.read(&mut request) {
                        Ok(length) if length > 0 => length,
                        _ => return,
                    };
                    match answer(count, &request[..length]) {
                        Some(bytes) if stream.write_all(&bytes).is_ok() => {}
                        _ => return,
                    }
                }
            });
        }
    });
    address
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}
