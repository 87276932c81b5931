//! A backend of your own: each entry is a file.
//!
//! ```text
//! cargo run -p cache-examples --example custom_backend [-- directory]
//! ```
//!
//! Run it twice: the second process answers from disk. A backend knows bytes only, and its contract stands
//! in the documentation of [`Backend`]. This one leaves out one thing that yours may want: it removes an
//! expired file only when somebody stores under its key again.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::ErrorKind::NotFound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, io, process};

use cache_runtime::{Backend, Bytes, Config, Error, ErrorKind, SetOptions, cached};

/// One file per key: eight bytes that say when it expires, then the value.
struct Files {
    directory: PathBuf,
}

impl Files {
    fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Keeps other threads and processes from changing entries until it is dropped.
    fn lock(&self) -> Result<File, Error> {
        fs::create_dir_all(&self.directory).map_err(unavailable)?;
        let lock = File::create(self.directory.join("lock")).map_err(unavailable)?;
        lock.lock().map_err(unavailable)?;
        Ok(lock)
    }

    /// Keys are any bytes of any length; file names are not, hence a cryptographic hash.
    fn path(&self, key: &[u8]) -> PathBuf {
        self.directory.join(blake3::hash(key).to_hex().as_str())
    }

    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let file = match fs::read(self.path(key)) {
            Ok(file) => Bytes::from(file),
            Err(error) if error.kind() == NotFound => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let is_live = file.first_chunk().is_some_and(|until| now_ms() < u64::from_be_bytes(*until));
        Ok(is_live.then(|| file.slice(8..)))
    }

    /// Writes a file under a name that nobody else uses, then renames it: readers see all of it at once.
    fn write(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let aside = self.directory.join(format!("{}-{}-{count}.new", process::id(), now_ms()));
        let life_ms = |ttl: Duration| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let until = ttl.map_or(u64::MAX, |ttl| now_ms().saturating_add(life_ms(ttl)).saturating_add(1));
        fs::write(&aside, [&until.to_be_bytes(), value].concat()).map_err(unavailable)?;
        fs::rename(aside, self.path(key)).map_err(unavailable)
    }
}

impl Backend for Files {
    fn get(&self, key: &[u8], deadline: Instant) -> Result<Option<Bytes>, Error> {
        in_time(deadline)?;
        self.read(key)
    }

    fn set(&self, key: &[u8], value: Bytes, options: SetOptions, deadline: Instant) -> Result<(), Error> {
        in_time(deadline)?;
        let _held = self.lock()?;
        self.write(key, &value, options.ttl)
    }

    fn add(&self, key: &[u8], value: Bytes, options: SetOptions, deadline: Instant) -> Result<bool, Error> {
        in_time(deadline)?;
        let _held = self.lock()?;
        let is_vacant = self.read(key)?.is_none();
        if is_vacant {
            self.write(key, &value, options.ttl)?;
        }
        Ok(is_vacant)
    }

    fn compare_and_set(
        &self,
        key: &[u8],
        old: &[u8],
        new: Bytes,
        options: SetOptions,
        deadline: Instant,
    ) -> Result<bool, Error> {
        in_time(deadline)?;
        let _held = self.lock()?;
        let is_there = self.read(key)?.is_some_and(|current| current == old);
        if is_there {
            self.write(key, &new, options.ttl)?;
        }
        Ok(is_there)
    }

    fn delete(&self, key: &[u8], deadline: Instant) -> Result<bool, Error> {
        in_time(deadline)?;
        let _held = self.lock()?;
        let was_live = self.read(key)?.is_some();
        match fs::remove_file(self.path(key)) {
            Ok(()) => Ok(was_live),
            Err(error) if error.kind() == NotFound => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }
}

fn in_time(deadline: Instant) -> Result<(), Error> {
    match Instant::now() < deadline {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Timeout, "no time was left for the disk")),
    }
}

fn unavailable(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, error.to_string()).with_source(error)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cached(backend = "files", ttl = "1d")]
fn primes_below(limit: u64) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..limit).filter(is_prime).count() as u64
}

fn main() -> Result<(), Box<dyn StdError>> {
    let directory =
        env::args_os().nth(1).map_or_else(|| env::temp_dir().join("cache-example"), PathBuf::from);
    println!("entries are files in {}", directory.display());
    Config::from_env().backend("files", Files::new(directory)).install()?;
    cache_runtime::check()?;

    println!("{} primes are below 300000", primes_below(300_000));
    println!("bodies run: {}\n", primes_below::stats().runs);
    println!("{}", primes_below::stats());
    Ok(())
}
