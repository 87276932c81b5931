//! A URL as what it names: one server, a cluster, or the primary that sentinels know.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, cmd};

use super::abilities::Abilities;
use crate::error::{Error, ErrorKind};
use crate::net::dial::Address;
use crate::net::options::Options;
use crate::net::tls::Tls;
use crate::net::url::{Host, Url};

const PORT: u16 = 6379;

const SENTINEL_PORT: u16 = 26379;

/// The server's own limit.
const MAX_VALUE: usize = 512 << 20;

/// What a URL says of servers, whatever their addresses.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) options: Arc<Options>,
    /// `AUTH` and `SELECT`, if the URL asks for them.
    login: Arc<[Cmd]>,
    tls: Option<Tls>,
    role: Role,
}

/// What a server is to those who ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It has all keys.
    Alone,
    /// A node of a cluster: it has some keys, and refuses commands on several that it may have apart.
    Node,
    /// It has all keys as long as it is the primary, which each new connection makes sure of.
    Primary,
    /// It has no keys, but knows the primary.
    Sentinel,
}

/// One server, and what each new connection to it says first.
pub(super) struct Server {
    pub(super) options: Arc<Options>,
    pub(super) address: Address,
    pub(super) login: Arc<[Cmd]>,
    pub(super) tls: Option<Tls>,
    pub(super) role: Role,
    pub(super) abilities: Abilities,
}

/// What a URL names.
pub(super) enum Target {
    Alone(Address),
    /// Some of the nodes of a cluster.
    Cluster(Vec<Address>),
    /// The sentinels, how they are accessed, and the name that they know the primary by.
    Primary {
        sentinels: Vec<Server>,
        name: String,
    },
}

impl Access {
    /// The server at `address`.
    pub(super) fn server(&self, address: Address) -> Server {
        let Self { options, login, tls, role } = self.clone();
        let abilities = Abilities::new(options.place.clone());
        Server { options, address, login, tls, role, abilities }
    }
}

/// What `url` names, and how it is accessed. `timeout` applies if the URL has none.
pub(super) fn target(mut url: Url, timeout: Duration) -> Result<(Access, Target), Error> {
    let (scheme, is_secure) = scheme(&url.scheme);
    // Taken first, because an accepted URL is shown with the parameters that it still has.
    let sentinel_login = match scheme.as_str() {
        "redis+sentinel" => (url.take("sentinel_user", "text")?, url.take("sentinel_password", "text")?),
        _ => (None, None),
    };
    let options = Arc::new(Options::take(&mut url, timeout, MAX_VALUE)?);
    let tls = is_secure.then(|| Tls::take(&mut url)).transpose()?;
    let parameter: Option<u32> = url.take("db", "a database number")?;
    let (role, target, path) = match scheme.as_str() {
        "redis" => (Role::Alone, Target::Alone(tcp_address(&url)?), path_db(&url.path)?),
        "unix" | "redis+unix" => (Role::Alone, Target::Alone(unix_address(&url)?), None),
        "redis+cluster" => (Role::Node, Target::Cluster(addresses(&url, PORT)?), path_db(&url.path)?),
        "redis+sentinel" => {
            let (name, path) = primary(&url.path)?;
            let login = login(sentinel_login, 0)?;
            let access = Access { options: options.clone(), login, tls: tls.clone(), role: Role::Sentinel };
            let addresses = addresses(&url, SENTINEL_PORT)?;
            let sentinels = addresses.into_iter().map(|address| access.server(address)).collect();
            (Role::Primary, Target::Primary { sentinels, name }, path)
        }
        _ => return Err(config(format!("`{}://` is not a Redis URL", url.scheme))),
    };
    if parameter.is_some() && path.is_some() {
        return Err(config("the URL gives the database twice"));
    }
    let db = path.or(parameter).unwrap_or(0);
    if role == Role::Node && db != 0 {
        return Err(config("a cluster has only the database 0"));
    }
    url.finish()?;
    let login = login((url.user, url.password), db)?;
    Ok((Access { options, login, tls, role }, target))
}

/// The scheme without TLS, and whether it was with TLS. Valkey's schemes are Redis's.
fn scheme(scheme: &str) -> (String, bool) {
    let (server, kind) = scheme.split_at(scheme.find('+').unwrap_or(scheme.len()));
    match (server, kind) {
        ("redis" | "valkey", kind) => (format!("redis{kind}"), false),
        ("rediss" | "valkeys", "" | "+cluster" | "+sentinel") => (format!("redis{kind}"), true),
        _ => (scheme.to_owned(), false),
    }
}

fn config(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn tcp_address(url: &Url) -> Result<Address, Error> {
    match url.hosts.as_slice() {
        [host] => Ok(address(host, PORT)),
        [] => Err(config("the URL names no host")),
        _ => {
            Err(config("several hosts are a cluster, `redis+cluster://`, or sentinels, `redis+sentinel://`"))
        }
    }
}

fn address(host: &Host, port: u16) -> Address {
    Address::Tcp { host: host.name.clone(), port: host.port.unwrap_or(port) }
}

fn addresses(url: &Url, port: u16) -> Result<Vec<Address>, Error> {
    match url.hosts.as_slice() {
        [] => Err(config("the URL names no host")),
        hosts => Ok(hosts.iter().map(|host| address(host, port)).collect()),
    }
}

fn unix_address(url: &Url) -> Result<Address, Error> {
    if !url.hosts.is_empty() || url.path.len() < 2 {
        return Err(config("a socket is written with three slashes: `unix:///path/to.sock`"));
    }
    #[cfg(unix)]
    return Ok(Address::Unix(url.path.clone().into()));
    #[cfg(not(unix))]
    return Err(config("this system has no unix sockets"));
}

fn path_db(path: &str) -> Result<Option<u32>, Error> {
    match path.trim_matches('/') {
        "" => Ok(None),
        db => db.parse().map(Some).map_err(|_| config("the path is not a database number")),
    }
}

/// The name of the primary and the database in `/name[/db]`.
fn primary(path: &str) -> Result<(String, Option<u32>), Error> {
    let path = path.trim_matches('/');
    let (name, db) = path.split_once('/').unwrap_or((path, ""));
    match name {
        "" => Err(config("the URL doesn't name the primary: `redis+sentinel://host1,host2/mymaster`")),
        name => Ok((name.to_owned(), path_db(db)?)),
    }
}

fn login((user, password): (Option<String>, Option<String>), db: u32) -> Result<Arc<[Cmd]>, Error> {
    let mut commands = Vec::new();
    match (user, password) {
        (None, None) => {}
        (Some(_), None) => return Err(config("the URL has a user without a password")),
        (user, Some(password)) => commands.push(cmd("AUTH").arg(user).arg(password).take()),
    }
    if db != 0 {
        commands.push(cmd("SELECT").arg(db).take());
    }
    Ok(commands.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::redis::Redis;
    use crate::net::options::DEFAULT_TIMEOUT;

    fn target(text: &str) -> Result<(Access, Target), Error> {
        super::target(Url::parse(text)?, DEFAULT_TIMEOUT)
    }

    fn logins(text: &str) -> Vec<String> {
        packed(&target(text).unwrap().0.login)
    }

    fn packed(login: &[Cmd]) -> Vec<String> {
        login.iter().map(|command| String::from_utf8(command.get_packed_command()).unwrap()).collect()
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    #[test]
    fn addresses() {
        let address = |text| match target(text).unwrap().1 {
            Target::Alone(address) => address,
            Target::Cluster(_) | Target::Primary { .. } => panic!("one server"),
        };
        assert_eq!(address("redis://h"), tcp("h", 6379));
        assert_eq!(address("redis://[::1]:7/2"), tcp("::1", 7));
        assert_eq!(address("unix:///run/r.sock?db=2"), Address::Unix("/run/r.sock".into()));
        assert_eq!(address("redis+unix:///r.sock"), Address::Unix("/r.sock".into()));
    }

    #[test]
    fn clusters_and_sentinels() {
        let (access, cluster) = target("redis+cluster://me:pw@a,b:7").unwrap();
        assert!(matches!(cluster, Target::Cluster(seeds) if seeds == [tcp("a", 6379), tcp("b", 7)]));
        assert_eq!((access.role, access.login.len()), (Role::Node, 1));
        let text = "redis+sentinel://me:pw@a,b:7/main/3?sentinel_password=s3cret";
        let (access, primary) = target(text).unwrap();
        assert_eq!((access.role, access.login.len()), (Role::Primary, 2));
        assert!(!access.options.place.contains("s3cret") && !access.options.place.contains("pw"));
        let Target::Primary { sentinels, name } = primary else { panic!("sentinels") };
        let addresses: Vec<_> = sentinels.iter().map(|sentinel| sentinel.address.clone()).collect();
        assert_eq!((name.as_str(), addresses), ("main", vec![tcp("a", 26379), tcp("b", 7)]));
        assert_eq!(packed(&sentinels[0].login), ["*2\r\n$4\r\nAUTH\r\n$6\r\ns3cret\r\n"]);
    }

    #[test]
    fn logins_are_what_the_url_asks_for() {
        assert_eq!(logins("redis://h/0"), [""; 0]);
        assert_eq!(logins("redis://:pw@h"), ["*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"]);
        let both = ["*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n", "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"];
        assert_eq!(logins("redis://me:pw@h/3"), both);
        assert_eq!(logins("unix://me:pw@/r.sock?db=3"), both);
    }

    #[test]
    fn other_urls_are_rejected() {
        for text in [
            "rediss+unix:///r.sock",
            "redis://h?ca=/ca.pem",
            "rediss://h?cert=/c.pem",
            "rediss://h?verify=maybe",
            "rediss://h?server_name=a%20b",
            "redis+cluster://",
            "redis+cluster://a/1",
            "redis+sentinel://a",
            "redis+sentinel:///main",
            "redis+sentinel://a/main/x",
            "redis+sentinel://a/main?sentinel_user=me",
            "redis://h?sentinel_password=s3cret",
            "http://h",
            "redis://",
            "redis://a,b",
            "redis://h/x",
            "redis://h/1?db=1",
            "redis://h?db=-1",
            "redis://me@h",
            "unix://h/r.sock",
            "unix://",
            "redis://h?tiemout=1s",
            "redis://h?pool=0",
        ] {
            let error = Redis::from_url(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config, "{text}: {error}");
        }
        for text in
            ["redis://:s3cret@h?pool=x", "redis://s3cret@h", "redis://u:1/s3cret", "redis://u:p@h/s3cret"]
        {
            let error = Redis::from_url(text).expect_err(text);
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
