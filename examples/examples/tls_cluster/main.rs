//! A cached function on a Redis Cluster over TLS, which this program starts, and one of whose nodes it kills.
//!
//! ```text
//! cargo run -p cache-examples --example tls_cluster
//! ```
//!
//! It needs `redis-server` and `redis-cli`.

mod servers;

use std::error::Error;

use cache_runtime::{Config, Origin, cached};
use servers::Cluster;

const IDS: u64 = 300;

#[cached(backend = "prices", ttl = "10m")]
fn price(id: u64) -> u64 {
    id * 100
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut cluster = Cluster::start()?;
    // In a service this is in `CACHE_PRICES_URL`. One node is enough, because it knows the others.
    let url = cluster.url();
    println!("a cluster of three nodes: {url}");
    Config::from_env().url("prices", &url).install()?;
    cache_runtime::check()?;

    (0..IDS).for_each(|id| assert_eq!(price(id), id * 100));
    println!("all nodes:      {}", calls());
    cluster.kill_one()?;
    // The first call for the dead node finds out. From then on its keys cost nothing.
    calls();
    println!("one node dead:  {}", calls());
    Ok(())
}

/// Where the results of all calls come from.
fn calls() -> String {
    let origins: Vec<Origin> = (0..IDS)
        .map(|id| {
            let (price, origin) = price::lookup(id);
            assert_eq!(price, id * 100, "whatever happens to servers");
            origin
        })
        .collect();
    let count = |wanted: Origin| origins.iter().filter(|origin| **origin == wanted).count();
    format!(
        "{} from the cluster, {} from bodies, {} kept in this process while a node is down",
        count(Origin::Server),
        count(Origin::Run),
        count(Origin::Fallback)
    )
}
