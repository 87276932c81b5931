//! Three nodes of a Redis Cluster, and the certificate authority that has signed for them.

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// How long servers may take to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(crate) struct Cluster {
    dir: PathBuf,
    nodes: Vec<Node>,
}

struct Node {
    port: u16,
    child: Child,
}

impl Cluster {
    pub(crate) fn start() -> Result<Self> {
        let dir = env::temp_dir().join(format!("tls-cluster-{}", process::id()));
        fs::create_dir_all(&dir)?;
        write_certificates(&dir)?;
        let mut cluster = Self { dir, nodes: Vec::new() };
        for _ in 0..3 {
            let node = cluster.start_node()?;
            cluster.nodes.push(node);
        }
        cluster.join()?;
        Ok(cluster)
    }

    pub(crate) fn url(&self) -> String {
        format!("rediss+cluster://127.0.0.1:{}?ca={}", self.nodes[0].port, self.file("ca.pem"))
    }

    pub(crate) fn kill_one(&mut self) -> Result<()> {
        if let Some(mut node) = self.nodes.pop() {
            node.child.kill()?;
            node.child.wait()?;
        }
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn start_node(&self) -> Result<Node> {
        let (port, bus) = (free_port()?, free_port()?);
        let (port_text, bus_text, dir) = (port.to_string(), bus.to_string(), self.dir.display().to_string());
        let nodes = format!("nodes-{port}.conf");
        let (ca, cert, key) = (self.file("ca.pem"), self.file("cert.pem"), self.file("key.pem"));
        let options = [
            ("--port", "0"),
            ("--tls-port", &port_text),
            ("--tls-ca-cert-file", &ca),
            ("--tls-cert-file", &cert),
            ("--tls-key-file", &key),
            ("--tls-auth-clients", "no"),
            ("--tls-cluster", "yes"),
            ("--cluster-enabled", "yes"),
            ("--cluster-port", &bus_text),
            ("--cluster-config-file", &nodes),
            // The nodes that are alive go on.
            ("--cluster-require-full-coverage", "no"),
            ("--bind", "127.0.0.1"),
            ("--dir", &dir),
            ("--save", ""),
        ];
        let mut command = Command::new("redis-server");
        options.iter().for_each(|(name, value)| _ = command.args([name, value]));
        let child = command.stdout(Stdio::null()).spawn().map_err(missing)?;
        let node = Node { port, child };
        wait("a node", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
        Ok(node)
    }

    /// Gives each node its slots.
    fn join(&self) -> Result<()> {
        for (index, node) in self.nodes.iter().enumerate() {
            // Before it knows others.
            self.ask(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
            let slots = |index: usize| index * 16_384 / self.nodes.len();
            let (first, last) = (slots(index).to_string(), (slots(index + 1) - 1).to_string());
            self.ask(node, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        for node in &self.nodes {
            let bus = self.ask(node, &["CONFIG", "GET", "cluster-port"])?;
            let bus = bus.lines().last().unwrap_or_default();
            let port = node.port.to_string();
            for other in &self.nodes {
                self.ask(other, &["CLUSTER", "MEET", "127.0.0.1", &port, bus])?;
            }
        }
        wait("the cluster", || {
            let knows_all =
                |info: String| info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
            self.nodes.iter().all(|node| self.ask(node, &["CLUSTER", "INFO"]).is_ok_and(knows_all))
        })
    }

    fn ask(&self, node: &Node, command: &[&str]) -> Result<String> {
        let ca = self.file("ca.pem");
        let port = node.port.to_string();
        let login = ["--tls", "--cacert", &ca, "-p", &port];
        let Output { stdout, stderr, .. } =
            Command::new("redis-cli").args(login).args(command).output().map_err(missing)?;
        if !stderr.is_empty() {
            return Err(String::from_utf8_lossy(&stderr).into());
        }
        Ok(String::from_utf8(stdout)?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // An error means that it has ended already.
            let _ = node.child.kill().and_then(|()| node.child.wait());
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// An authority, and a certificate of it for this machine.
fn write_certificates(dir: &Path) -> Result<()> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name.push(DnType::CommonName, "an authority of this machine");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    fs::write(dir.join("ca.pem"), params.self_signed(&key)?.pem())?;
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
    fs::write(dir.join("cert.pem"), certificate.pem())?;
    fs::write(dir.join("key.pem"), key.serialize_pem())?;
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait(what: &str, is_there: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !is_there() {
        if started.elapsed() > PATIENCE {
            return Err(format!("{what} doesn't start; try `redis-server` by hand").into());
        }
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

fn missing(error: std::io::Error) -> Box<dyn Error> {
    let install = "apt-get install -y redis-server   (macOS: brew install redis)";
    format!("`redis-server` and `redis-cli` are needed ({error}): {install}").into()
}
