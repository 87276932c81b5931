//! Sessions and a rate limiter on the plain cache: `add`, `incr` and `touch`.
//!
//! ```text
//! PORT=8080 cargo run -p cache-examples --example sessions
//! curl -X POST http://127.0.0.1:8080/login/ada; curl http://127.0.0.1:8080/sessions/…
//! ```
//!
//! Everything is in memory, or where `CACHE_SESSIONS_URL` says, such as `redis://127.0.0.1`: then all processes of the service
//! share sessions and limits. Without `PORT` a free one is taken and printed.

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use cache_runtime::{AsyncCache, Config};
use tokio::net::TcpListener;

/// A session ends when it hasn't been used for this long.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// A name may log in this often in a [`WINDOW`].
const LOGINS: i64 = 5;
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct App {
    sessions: AsyncCache,
    limits: AsyncCache,
}

type Failure = (StatusCode, String);

fn unavailable(error: impl Error) -> Failure {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

/// Counts one more use of `name`, and returns whether that is within the limit. The first one of a window begins it, because
/// `add` stores nothing where a number is, and `incr` leaves the lifetime as it is.
async fn is_within_limit(limits: &AsyncCache, name: &str) -> Result<bool, cache_runtime::Error> {
    // Twice if the window ends between the two calls.
    for _ in 0..2 {
        limits.add(name, &0_i64, WINDOW).await?;
        if let Some(uses) = limits.incr(name, 1).await? {
            return Ok(uses <= LOGINS);
        }
    }
    Ok(true)
}

async fn log_in(State(app): State<App>, Path(name): Path<String>) -> Result<String, Failure> {
    // A cache that is down limits nobody.
    if !is_within_limit(&app.limits, &name).await.unwrap_or(true) {
        return Err((StatusCode::TOO_MANY_REQUESTS, "try again in a minute\n".to_owned()));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(unavailable)?;
    let id = blake3::hash(&random).to_hex();
    app.sessions.set(&id, &name, IDLE).await.map_err(unavailable)?;
    Ok(id.to_string())
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<String, Failure> {
    let name: Option<String> = app.sessions.get(&id).await.map_err(unavailable)?;
    let Some(name) = name else { return Err((StatusCode::UNAUTHORIZED, "log in first\n".to_owned())) };
    app.sessions.touch(&id, IDLE).await.map_err(unavailable)?;
    Ok(name)
}

async fn log_out(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Failure> {
    match app.sessions.delete(&id).await.map_err(unavailable)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Ok(StatusCode::NOT_FOUND),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::from_env();
    if env::var_os("CACHE_SESSIONS_URL").is_none_or(|url| url.is_empty()) {
        config = config.url("sessions", "memory://?capacity=100000");
    }
    config.install()?;
    let cache = AsyncCache::named("sessions")?;
    // Spaces of one cache: no session has the key of a limit.
    let app = App { sessions: cache.within("sessions"), limits: cache.within("limits") };
    let routes = Router::new()
        .route("/login/{name}", post(log_in))
        .route("/sessions/{id}", get(show).delete(log_out))
        .with_state(app);

    let port = env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, routes).await?;
    Ok(())
}
