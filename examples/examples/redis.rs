//! A tour of a cached function on Redis, and of the plain cache beside it.
//!
//! ```text
//! redis-server &
//! cargo run -p cache-examples --example redis
//! ```
//!
//! `CACHE_REDIS_URL`, then `REDIS_URL`, say where Redis is, unless it is on this machine. Run it without
//! a server too: every call still gets its answer.

use std::error::Error;
use std::num::ParseIntError;
use std::time::Duration;

use cache_runtime::{Cache, cached};

/// Only `Ok` is stored, here for a minute.
#[cached(backend = "redis", ttl = "1m")]
fn total(receipt: &str) -> Result<u64, ParseIntError> {
    println!("  adding up {receipt}");
    receipt.split('+').map(str::parse::<u64>).sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    // A wrong URL or password shows here; a server that is down is no reason not to start.
    cache_runtime::check()?;

    println!("two calls: {} and {}", total("12+30")?, total("12+30")?);
    println!("a failure: {:?}", total("12+x"));
    if let Err(error) = tour() {
        println!("server not reachable, results stayed in the process: {error}");
    }
    println!("\n{}", total::stats());
    Ok(())
}

/// What the server must be there for, unlike calls: these report its errors.
fn tour() -> Result<(), cache_runtime::Error> {
    println!("the cache holds {:?} under {}", total::peek("12+30")?, total::key("12+30"));
    total::invalidate("12+30")?;
    println!("invalidated, it holds {:?}", total::peek("12+30")?);
    total::insert("12+30", 42)?;
    println!("told the answer, it holds {:?}", total::peek("12+30")?);
    total::clear()?;
    println!("cleared, it holds {:?}", total::peek("12+30")?);

    let cache = Cache::named("redis")?;
    cache.set("greeting", &"hello".to_owned(), Duration::from_secs(60))?;
    println!("the plain cache says {:?}", cache.get::<String>("greeting")?);
    println!("deleted: {}, then it says {:?}", cache.delete("greeting")?, cache.get::<String>("greeting")?);
    Ok(())
}
