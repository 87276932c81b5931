//! A line to a server that can be cut, silenced, slowed and garbled while it is in use.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What the line does with what travels on it, from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything on.
    None,
    /// Closes what is open and what is opened.
    Cut,
    /// Takes connections and requests, and passes nothing on.
    Silence,
    /// Holds each answer back for this long.
    Delay(Duration),
    /// Passes requests on and closes the connection instead of answering: who asked can't know what was done.
    HalfOpen,
    /// Answers every request with this.
    Garbage(&'static [u8]),
    /// Passes answers on a byte at a time, with this pause before each.
    Drip(Duration),
    /// Passes answers on at this many bytes per second, on each connection.
    Slow(usize),
}

/// A proxy on a free loopback port, in front of one server; gone when dropped.
pub struct Proxy {
    address: SocketAddr,
    line: Arc<Line>,
}

struct Line {
    server: Mutex<SocketAddr>,
    fault: Mutex<Fault>,
    changed: Condvar,
    is_gone: AtomicBool,
    open: AtomicUsize,
    requests: AtomicUsize,
}

impl Proxy {
    /// A line to `server` without faults.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Line {
            server: Mutex::new(server),
            fault: Mutex::new(Fault::None),
            changed: Condvar::new(),
            is_gone: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let accepting = line.clone();
        thread::spawn(move || accept(&accepting, &listener));
        Self { address, line }
    }

    /// Where clients find it.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Does `fault` from now on, on open connections and new ones. What a fault held back is lost with its connection.
    pub fn set(&self, fault: Fault) {
        *self.line.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        self.line.changed.notify_all();
    }

    /// Leads to `server` from now on; connections that are open stay where they are.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.line.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// The connections that are open.
    pub fn open(&self) -> usize {
        self.line.open.load(Ordering::SeqCst)
    }

    /// The requests that arrived so far, however they went on.
    pub fn requests(&self) -> usize {
        self.line.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.is_gone.store(true, Ordering::SeqCst);
        self.set(Fault::Cut);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(line: &Arc<Line>, listener: &TcpListener) {
    for client in listener.incoming().flatten() {
        if line.is_gone.load(Ordering::SeqCst) {
            return;
        }
        let line = line.clone();
        thread::spawn(move || {
            line.open.fetch_add(1, Ordering::SeqCst);
            // An error means that there is no server.
            let _ = line.serve(&client);
            line.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// How often a thread that waits for bytes looks whether the line has been cut.
const TICK: Duration = Duration::from_millis(5);

impl Line {
    fn server(&self) -> SocketAddr {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one connection until either end closes it, or the line is cut.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        if self.fault() == Fault::Cut {
            return Ok(());
        }
        let server = &TcpStream::connect(self.server())?;
        for stream in [client, server] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TICK))?;
        }
        thread::scope(|scope| {
            scope.spawn(|| self.carry(client, server, |request| self.pass_request(client, server, request)));
            self.carry(server, client, |answer| self.pass_answer(client, answer));
        });
        Ok(())
    }

    /// Reads from one end until it is closed, or the line is cut, and closes both.
    fn carry(&self, mut from: &TcpStream, to: &TcpStream, pass: impl Fn(&[u8]) -> io::Result<()>) {
        let mut buffer = vec![0; 1 << 16];
        while self.fault() != Fault::Cut {
            match from.read(&mut buffer) {
                Ok(length) if length > 0 && pass(&buffer[..length]).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
        for end in [from, to] {
            // An error means that it is closed.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn pass_request(&self, mut client: &TcpStream, mut server: &TcpStream, request: &[u8]) -> io::Result<()> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        match self.fault() {
            Fault::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
            Fault::Silence => Ok(()),
            Fault::Garbage(noise) => client.write_all(noise),
            Fault::None | Fault::Delay(_) | Fault::HalfOpen | Fault::Drip(_) | Fault::Slow(_) => {
                server.write_all(request)
            }
        }
    }

    fn pass_answer(&self, mut client: &TcpStream, answer: &[u8]) -> io::Result<()> {
        match self.fault() {
            Fault::None => client.write_all(answer),
            Fault::Cut | Fault::HalfOpen => Err(io::ErrorKind::ConnectionAborted.into()),
            Fault::Silence | Fault::Garbage(_) => Ok(()),
            Fault::Delay(time) => {
                self.pause(time);
                client.write_all(answer)
            }
            Fault::Drip(pause) => answer.chunks(1).try_for_each(|byte| {
                self.pause(pause);
                client.write_all(byte)
            }),
            Fault::Slow(rate) => answer.chunks(1 << 14).try_for_each(|part| {
                self.pause(Duration::from_secs_f64(part.len() as f64 / rate as f64));
                client.write_all(part)
            }),
        }
    }

    /// Waits, but not beyond the end of the fault.
    fn pause(&self, time: Duration) {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *fault;
        drop(self.changed.wait_timeout_while(fault, time, |fault| *fault == before));
    }
}
