//! A web service whose look-ups in a slow database are cached.
//!
//! ```text
//! PORT=8080 cargo run -p cache-examples --example async_service
//! curl http://127.0.0.1:8080/users/1; curl -X DELETE http://127.0.0.1:8080/users/1
//! curl http://127.0.0.1:8080/stats
//! ```
//!
//! Users are cached in memory, or where `CACHE_USERS_URL` says, such as `redis://127.0.0.1`. Without
//! `PORT` a free one is taken and printed.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, io};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use cache_runtime::{Config, cached};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

/// Stands for a slow database on another machine.
struct Database(Mutex<BTreeMap<u64, User>>);

/// Which database is asked doesn't identify a call, so it is no part of the key. `None` is not stored.
#[cached(backend = "users", skip(database), ttl = "5m")]
async fn user(database: &Database, id: u64) -> Option<User> {
    database.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
}

async fn show(State(database): State<Arc<Database>>, Path(id): Path<u64>) -> Result<Json<User>, StatusCode> {
    user(&database, id).await.map(Json).ok_or(StatusCode::NOT_FOUND)
}

/// First the database, then the cache; if the cache can't be told, the client must know.
async fn delete(
    State(database): State<Arc<Database>>,
    Path(id): Path<u64>,
) -> Result<StatusCode, (StatusCode, String)> {
    database.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    match user::invalidate(id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

async fn stats() -> String {
    format!("{}\n", user::stats())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::from_env();
    if env::var_os("CACHE_USERS_URL").is_none_or(|url| url.is_empty()) {
        config = config.url("users", "memory://");
    }
    config.install()?;
    // A companion makes the function known to `check`, and with it that its backend needs a good URL.
    user::stats();
    cache_runtime::check()?;

    let users =
        [(1, "Ada"), (2, "Edsger"), (3, "Grace")].map(|(id, name)| (id, User { id, name: name.to_owned() }));
    let database = Arc::new(Database(Mutex::new(BTreeMap::from(users))));
    let app = Router::new()
        .route("/users/{id}", get(show).delete(delete))
        .route("/stats", get(stats))
        .with_state(database);

    let stop = asked_to_stop()?;
    let port = env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

/// Done at ctrl-c or SIGTERM, which are heeded from this call on.
#[cfg(unix)]
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Done at ctrl-c.
#[cfg(not(unix))]
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
