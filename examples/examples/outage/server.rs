//! A Redis to be treated badly.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long it may take to listen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    port: u16,
    child: Child,
}

impl Server {
    /// Starts one on a free port, without a file.
    pub(crate) fn start() -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Ok(Self { port, child: launch(port)? })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    pub(crate) fn start_again(&mut self) -> io::Result<()> {
        self.child = launch(self.port)?;
        Ok(())
    }

    pub(crate) fn signal(&mut self, name: &str) -> io::Result<()> {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other("redis-server has ended by itself")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.kill();
    }
}

fn launch(port: u16) -> io::Result<Child> {
    let port_text = port.to_string();
    let options = ["--bind", "127.0.0.1", "--port", &port_text, "--save", "", "--appendonly", "no"];
    let child =
        Command::new("redis-server").args(options).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => io::Error::other(
            "`redis-server` is needed: apt-get install -y redis-server   (macOS: brew install redis)",
        ),
        _ => error,
    })?;
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
            let _ = child.kill();
            return Err(io::Error::other("`redis-server` doesn't start; try it by hand"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(child)
}
