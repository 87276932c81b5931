//! A URL as the address and the login of one server.

use std::time::Duration;

use ::redis::{Cmd, cmd};

use super::abilities::Abilities;
use crate::error::{Error, ErrorKind};
use crate::net::dial::Address;
use crate::net::options::Options;
use crate::net::url::{Host, Url};

const PORT: u16 = 6379;

/// The server's own limit.
const MAX_VALUE: usize = 512 << 20;

/// One server, and what each new connection to it says first.
pub(super) struct Server {
    pub(super) options: Options,
    pub(super) address: Address,
    /// `AUTH` and `SELECT`, if the URL asks for them.
    pub(super) login: Vec<Cmd>,
    pub(super) abilities: Abilities,
}

impl Server {
    /// `timeout` applies if the URL has none.
    pub(super) fn new(mut url: Url, timeout: Duration) -> Result<Self, Error> {
        let options = Options::take(&mut url, timeout, MAX_VALUE)?;
        let parameter: Option<u32> = url.take("db", "a database number")?;
        let (address, path) = match url.scheme.as_str() {
            "redis" => (tcp_address(&url)?, path_db(&url.path)?),
            "unix" | "redis+unix" => (unix_address(&url)?, None),
            scheme @ ("rediss" | "redis+cluster" | "redis+sentinel") => {
                return Err(config(format!("`{scheme}://` is not supported yet")));
            }
            scheme => return Err(config(format!("`{scheme}://` is not a Redis URL"))),
        };
        if parameter.is_some() && path.is_some() {
            return Err(config("the URL gives the database twice".to_owned()));
        }
        url.finish()?;
        let login = login(&url, path.or(parameter).unwrap_or(0))?;
        Ok(Self { abilities: Abilities::new(options.place.clone()), options, address, login })
    }
}

fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn tcp_address(url: &Url) -> Result<Address, Error> {
    match url.hosts.as_slice() {
        [Host { name, port }] => Ok(Address::Tcp { host: name.clone(), port: port.unwrap_or(PORT) }),
        [] => Err(config("the URL names no host".to_owned())),
        _ => Err(config("several hosts need `redis+cluster://`, which is not supported yet".to_owned())),
    }
}

fn unix_address(url: &Url) -> Result<Address, Error> {
    if !url.hosts.is_empty() || url.path.len() < 2 {
        return Err(config("a socket is written with three slashes: `unix:///path/to.sock`".to_owned()));
    }
    #[cfg(unix)]
    return Ok(Address::Unix(url.path.clone().into()));
    #[cfg(not(unix))]
    return Err(config("this system has no unix sockets".to_owned()));
}

fn path_db(path: &str) -> Result<Option<u32>, Error> {
    match path.trim_matches('/') {
        "" => Ok(None),
        db => db.parse().map(Some).map_err(|_| config("the path is not a database number".to_owned())),
    }
}

fn login(url: &Url, db: u32) -> Result<Vec<Cmd>, Error> {
    let mut commands = Vec::new();
    match (&url.user, &url.password) {
        (None, None) => {}
        (Some(_), None) => return Err(config("the URL has a user without a password".to_owned())),
        (user, Some(password)) => commands.push(cmd("AUTH").arg(user).arg(password).take()),
    }
    if db != 0 {
        commands.push(cmd("SELECT").arg(db).take());
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::redis::Redis;

    fn server(text: &str) -> Result<Server, Error> {
        Redis::from_url(text).map(|redis| redis.server)
    }

    fn logins(text: &str) -> Vec<String> {
        let login = server(text).unwrap().login;
        login.iter().map(|command| String::from_utf8(command.get_packed_command()).unwrap()).collect()
    }

    #[test]
    fn addresses() {
        let address = |text| server(text).unwrap().address;
        assert_eq!(address("redis://h"), Address::Tcp { host: "h".into(), port: 6379 });
        assert_eq!(address("redis://[::1]:7/2"), Address::Tcp { host: "::1".into(), port: 7 });
        assert_eq!(address("unix:///run/r.sock?db=2"), Address::Unix("/run/r.sock".into()));
        assert_eq!(address("redis+unix:///r.sock"), Address::Unix("/r.sock".into()));
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
            "rediss://h",
            "redis+cluster://a,b",
            "redis+sentinel://a/m",
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
