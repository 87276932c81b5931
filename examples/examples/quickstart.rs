//! How many ways lead from a workspace to each of its dependencies? Read a real `Cargo.lock` and count.
//!
//! ```text
//! cargo run -p cache-examples --example quickstart
//! cargo run -p cache-examples --example quickstart -- --backend redis path/to/Cargo.lock
//! ```
//!
//! The function that counts is plain recursion and takes exponential time. Cached, it runs once per
//! package; with `--backend redis` or `--backend memcached` a second process does not run it at all.

use std::cmp::Reverse;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use cache_runtime::{Config, cached};

/// The ways from the workspace to a package: as many as lead to all that depend on it.
///
/// A member of the workspace is where ways start, so nobody asks what depends on it: only
/// dev-dependencies go round in circles, and only through members, so the recursion ends. Numbers too
/// large for a `u128` stay at its maximum.
#[cached(backend = "paths", key = (lockfile.digest, package), ttl = "1h")]
fn paths(lockfile: &Lockfile, package: usize) -> u128 {
    let package = &lockfile.packages[package];
    if package.is_member {
        return 1;
    }
    package.dependents.iter().map(|dependent| paths(lockfile, *dependent)).fold(0, u128::saturating_add)
}

/// What of a `Cargo.lock` the count needs.
struct Lockfile {
    /// Identifies the content of the file, so that no two files share a cached number.
    digest: [u8; 32],
    /// In the order of the file.
    packages: Vec<Package>,
}

struct Package {
    name: String,
    /// Without a source, so it is part of the workspace.
    is_member: bool,
    /// The indices of the packages that depend on this one.
    dependents: Vec<usize>,
}

impl Lockfile {
    fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(file)?;
        let cargo_lock::Lockfile { packages: locked, .. } = text.parse()?;
        let package = |locked: &cargo_lock::Package| Package {
            name: format!("{} {}", locked.name, locked.version),
            is_member: locked.source.is_none(),
            dependents: vec![],
        };
        let mut packages: Vec<_> = locked.iter().map(package).collect();
        for (dependent, package) in locked.iter().enumerate() {
            for dependency in &package.dependencies {
                let sought = (&dependency.name, &dependency.version, &dependency.source);
                let found = locked.iter().position(|it| (&it.name, &it.version, &it.source) == sought);
                let index = found.ok_or_else(|| format!("it lacks the package `{dependency}`"))?;
                packages[index].dependents.push(dependent);
            }
        }
        Ok(Self { digest: blake3::hash(text.as_bytes()).into(), packages })
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (backend, file) = arguments()?;
    let (source, url) = source_and_url(&backend)?;
    let installed = Config::from_env().url("paths", &url).install();
    installed.map_err(|error| format!("{source}: {error}"))?;
    cache_runtime::check()?;
    let lockfile =
        Lockfile::read(&file).map_err(|error| format!("can't read {}: {error}", file.display()))?;
    if let Err(error) = paths::peek(&lockfile, 0) {
        eprintln!("{error}\nCarrying on without it: results stay in this process for some seconds.");
    }

    let count_all =
        || -> Vec<u128> { (0..lockfile.packages.len()).map(|package| paths(&lockfile, package)).collect() };
    let start = Instant::now();
    let counts = count_all();
    let cold = start.elapsed();
    let start = Instant::now();
    count_all();
    let warm = start.elapsed();

    println!("{}: {} packages\n\n{:>40}  package", file.display(), lockfile.packages.len(), "paths");
    let mut ranking: Vec<_> = lockfile.packages.iter().zip(counts).collect();
    ranking.sort_by_key(|(_, count)| Reverse(*count));
    for (package, count) in ranking.iter().take(10) {
        println!("{count:>40}  {}", package.name);
    }
    println!("\ncold {cold:.1?}, warm {warm:.1?}");
    println!("bodies run: {}\n", paths::stats().runs);
    println!("{}", paths::stats());
    Ok(())
}

/// The backend to use, and the file to read: this workspace's own unless another is given.
fn arguments() -> Result<(String, PathBuf), String> {
    let usage = "usage: quickstart [--backend memory|redis|memcached] [path/to/Cargo.lock]";
    let mut backend = "memory".to_owned();
    let mut file = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.lock");
    let mut arguments = env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--backend") => {
                backend = arguments.next().and_then(|name| name.into_string().ok()).ok_or(usage)?;
            }
            Some(option) if option.starts_with('-') => return Err(usage.to_owned()),
            _ => file = argument.into(),
        }
    }
    Ok((backend, file))
}

/// Where the backend is, and who says so: a variable, or this program, which takes this machine.
fn source_and_url(backend: &str) -> Result<(&'static str, String), String> {
    let (variables, default) = match backend {
        "memory" => return Ok(("--backend", "memory://".to_owned())),
        "redis" => (["CACHE_REDIS_URL", "REDIS_URL"], "redis://127.0.0.1:6379"),
        "memcached" => (["CACHE_MEMCACHED_URL", "MEMCACHED_URL"], "memcached://127.0.0.1:11211"),
        _ => return Err(format!("there is no backend `{backend}`: choose memory, redis or memcached")),
    };
    let set = |name| Some((name, env::var(name).ok().filter(|url| !url.trim().is_empty())?));
    Ok(variables.into_iter().find_map(set).unwrap_or_else(|| ("--backend", default.to_owned())))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
