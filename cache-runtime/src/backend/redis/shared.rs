//! The async side: one pipelined connection of redis-rs for all calls of a runtime.

use std::sync::Mutex;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo};
use tokio::time::timeout_at;

use super::*;
use crate::backend::{AsyncBackend, BoxFuture};
use crate::context::lock;

/// Requests that may wait to be written; more wait in their own tasks, which costs a wake-up each.
const QUEUE: usize = 1024;

/// The connection that all calls of one runtime share.
#[derive(Default)]
pub(super) struct Shared {
    live: Mutex<Option<Live>>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    /// Tells it from the one that replaces it.
    opened: Instant,
}

impl Shared {
    /// The connection, and whether it was there before. One call connects while the others wait.
    async fn connection(&self, server: &Server) -> Result<(Live, bool), Error> {
        if let Some(live) = self.live() {
            return Ok((live, true));
        }
        let _turn = self.connecting.lock().await;
        if let Some(live) = self.live() {
            return Ok((live, true));
        }
        let live = Live { connection: server.connect_async().await?, opened: Instant::now() };
        *lock(&self.live) = Some(live.clone());
        Ok((live, false))
    }

    fn live(&self) -> Option<Live> {
        lock(&self.live).clone()
    }

    /// Sends nothing more over `broken`. The calls that still wait on it may get their answers.
    fn replace(&self, broken: &Live) {
        lock(&self.live).take_if(|live| live.opened == broken.opened);
    }
}

impl Server {
    async fn connect_async(&self) -> Result<MultiplexedConnection, Error> {
        let settings = AsyncConnectionConfig::new()
            // Each call has a deadline of its own.
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let client = self.client().map_err(failure)?;
        let mut connection =
            client.get_multiplexed_async_connection_with_config(&settings).await.map_err(failure)?;
        for command in &self.login {
            welcome(connection.send_packed_command(command).await.map_err(failure))?;
        }
        Ok(connection)
    }

    fn client(&self) -> Result<Client, RedisError> {
        let info = self.address.clone().into_connection_info()?;
        let login = info.redis_settings().clone().set_skip_set_lib_name();
        let tcp = TcpSettings::default().set_nodelay(true);
        Client::open(info.set_redis_settings(login).set_tcp_settings(tcp))
    }
}

impl Redis {
    async fn ask_async<T>(
        &self,
        command: &Cmd,
        redo: Redo,
        read: impl Fn(Value) -> Result<T, Error>,
        deadline: Instant,
    ) -> Result<T, Error> {
        let deadline = self.server.limits.deadline(deadline)?;
        let answer = self.run(command, redo, &read, deadline).await;
        answer.and_then(identity).map_err(|error| error.at(&self.server.limits.place))
    }

    /// As `Pool::run`.
    async fn run<T>(
        &self,
        command: &Cmd,
        redo: Redo,
        read: &impl Fn(Value) -> Result<T, Error>,
        deadline: Instant,
    ) -> Judged<T> {
        let shared = self.shared.get(Shared::default)?;
        let (live, used) = self.within(deadline, shared.connection(&self.server)).await?;
        match self.send(&shared, live, command, read, deadline).await {
            Err(error) if used && redo.applies(&error) => {}
            answer => return answer,
        }
        let (live, _) = self.within(deadline, shared.connection(&self.server)).await?;
        self.send(&shared, live, command, read, deadline).await
    }

    /// A future dropped here leaves its answer to the connection, which throws it away.
    async fn send<T>(
        &self,
        shared: &Shared,
        mut live: Live,
        command: &Cmd,
        read: &impl Fn(Value) -> Result<T, Error>,
        deadline: Instant,
    ) -> Judged<T> {
        let answer = live.connection.send_packed_command(command);
        let answer = self.within(deadline, async { judge(answer.await.map_err(failure)?, read) }).await;
        if answer.is_err() {
            // A timeout too: the line may be dead without anybody knowing.
            shared.replace(&live);
        }
        answer
    }

    async fn within<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        timeout_at(deadline.into(), work).await.unwrap_or_else(|_| Err(self.server.limits.timed_out()))
    }
}

impl AsyncBackend for Redis {
    fn get<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move { self.ask_async(&get(key), Redo::Once, one, deadline).await })
    }

    fn get_many<'a>(
        &'a self,
        keys: &'a [&'a [u8]],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            self.ask_async(&get_many(keys), Redo::Once, many(keys.len()), deadline).await
        })
    }

    fn set<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.server.limits.admit(&value)?;
            self.ask_async(&set(key, &value, ttl), Redo::Once, stored, deadline).await.map(drop)
        })
    }

    /// Once only, as the blocking `add` says.
    fn add<'a>(
        &'a self,
        key: &'a [u8],
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.server.limits.admit(&value)?;
            if self.ask_async(&exists(key), Redo::Once, any, deadline).await? {
                return Ok(false);
            }
            self.ask_async(&add(key, &value, ttl), Redo::Never, stored, deadline).await
        })
    }

    /// Once only, like `add`.
    fn replace<'a>(
        &'a self,
        key: &'a [u8],
        old: &'a [u8],
        new: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.server.limits.admit(&new)?;
            if !self.ask_async(&exists(key), Redo::Once, any, deadline).await? {
                return Ok(false);
            }
            self.ask_async(&replace(key, old, &new, ttl), Redo::Never, stored, deadline).await
        })
    }

    fn delete<'a>(&'a self, key: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { self.ask_async(&delete(key), Redo::Once, any, deadline).await })
    }

    fn max_value_len(&self) -> usize {
        self.server.limits.max_value
    }
}
