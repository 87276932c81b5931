//! hitbox and cachekit: both cache async functions only, and take a cache with each call.
//!
//! hitbox has no borrowed arguments. cachekit keeps what a process asks for in its first layer (`quick_cache`), encoded,
//! in front of a server; in memory alone, the server is one that has nothing.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use cachekit::backend::{Backend, HealthStatus};
use cachekit::{BackendError, CacheKit, CachekitError};
use hitbox_backend::CacheBackend;
use hitbox_backend::format::BincodeFormat;
use hitbox_fn::Cache;
use hitbox_fn::prelude::PolicyConfig;
use hitbox_moka::MokaBackend;

use crate::functions::{self, ROOM};

const TTL: Duration = Duration::from_secs(3600);

/// A cache of hitbox on `backend`.
pub fn hitbox<B: CacheBackend>(backend: B) -> Cache<B> {
    Cache::builder().backend(backend).policy(PolicyConfig::builder().ttl(TTL).build()).build()
}

/// hitbox on moka.
pub static MOKA: LazyLock<Cache<MokaBackend<BincodeFormat>>> = LazyLock::new(|| {
    hitbox(MokaBackend::builder().max_entries(ROOM as u64).value_format(BincodeFormat).build())
});

/// cachekit's first layer.
pub static FIRST_LAYER: LazyLock<CacheKit> = LazyLock::new(|| {
    let builder = CacheKit::builder().backend(Arc::new(Nothing)).l1_capacity(ROOM);
    builder.build().expect("the settings are right")
});

/// A number for a number, by hitbox on moka.
pub async fn hitbox_number(n: u64) -> u64 {
    numbers(n).cache(&*MOKA).await
}

/// A text of 64 bytes for a text of 24 and a number, by hitbox on moka.
pub async fn hitbox_string(name: String, n: u32) -> String {
    strings(name, n).cache(&*MOKA).await
}

#[hitbox_fn::cached]
async fn numbers(n: u64) -> u64 {
    functions::numbers::body(n)
}

#[hitbox_fn::cached]
async fn strings(name: String, n: u32) -> String {
    functions::strings::body(&name, n)
}

/// A number for a number, by cachekit in its first layer.
#[cachekit::cachekit(client = cache, ttl = 3600, interop = "numbers", namespace = "benches")]
pub async fn cachekit_number(cache: &CacheKit, n: u64) -> Result<u64, CachekitError> {
    Ok(functions::numbers::body(n))
}

/// A text of 64 bytes for a text of 24 and a number, by cachekit in its first layer.
#[cachekit::cachekit(client = cache, ttl = 3600, interop = "strings", namespace = "benches")]
pub async fn cachekit_string(cache: &CacheKit, name: &str, n: u32) -> Result<String, CachekitError> {
    Ok(functions::strings::body(name, n))
}

/// A server that keeps nothing.
struct Nothing;

#[async_trait]
impl Backend for Nothing {
    async fn get(&self, _: &str) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(None)
    }

    async fn set(&self, _: &str, _: Vec<u8>, _: Option<Duration>) -> Result<(), BackendError> {
        Ok(())
    }

    async fn delete(&self, _: &str) -> Result<bool, BackendError> {
        Ok(false)
    }

    async fn exists(&self, _: &str) -> Result<bool, BackendError> {
        Ok(false)
    }

    async fn health(&self) -> Result<HealthStatus, BackendError> {
        let (backend_type, details) = (String::new(), HashMap::new());
        Ok(HealthStatus { is_healthy: true, latency_ms: 0.0, backend_type, details })
    }
}
