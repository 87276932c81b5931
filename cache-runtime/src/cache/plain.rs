//! What both kinds of cache have in common: everything but the waiting.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::here::{Here, Life, Unsettled};
use super::value::{Form, Stored, Value};
use crate::backend::connected::Connected;
use crate::backend::{Condition, Reply, Request, SetOptions};
use crate::common::process::PerProcess;
use crate::common::wait::Caller;
use crate::error::Error;
use crate::function::world::World;
use crate::remote::space::{Space, Spaces};

/// The path of the outermost space.
const ROOT: &str = "cache";

#[derive(Clone)]
pub(super) struct Plain {
    source: Source,
    path: Arc<str>,
    /// The scope that this was made in. In another one, the backend is that scope's.
    scope: Option<Arc<World>>,
    connected: Arc<Connected>,
    world: Arc<World>,
    /// Of a cache with a backend of its own. Caches with an alias share their world's.
    spaces: Option<Arc<PerProcess<Spaces>>>,
    space: Arc<PerProcess<Arc<Space>>>,
    pub(super) caller: Caller,
}

#[derive(Clone)]
enum Source {
    Alias(Arc<str>),
    Url(Arc<str>),
}

impl Plain {
    pub(super) fn named(alias: &str, caller: Caller) -> Result<Self, Error> {
        let world = World::current();
        let connected = world.context.connected(alias)?;
        Ok(Self::new(Source::Alias(alias.into()), world, connected, None, caller))
    }

    pub(super) fn from_url(url: &str, caller: Caller) -> Result<Self, Error> {
        let world = World::current();
        let connected = world.context.open_url(url)?;
        let spaces = (!world.context.config.replaces_server(url)).then(Arc::default);
        Ok(Self::new(Source::Url(url.into()), world, connected, spaces, caller))
    }

    fn new(
        source: Source,
        world: Arc<World>,
        connected: Arc<Connected>,
        spaces: Option<Arc<PerProcess<Spaces>>>,
        caller: Caller,
    ) -> Self {
        let (scope, space) = (World::scoped(), Arc::default());
        Self { source, path: ROOT.into(), scope, connected, world, spaces, space, caller }
    }

    pub(super) fn within(&self, space: &str) -> Self {
        // Injective, so that no two spaces share a path.
        let segment = space.replace('%', "%25").replace('/', "%2F");
        Self { path: format!("{}/{segment}", self.path).into(), space: Arc::default(), ..self.clone() }
    }

    /// The space outside of other scopes. A child of `fork` has its own, because threads of the parent may hold its locks.
    fn home(&self) -> &Arc<Space> {
        self.space.get(|_| {
            let own = self.spaces.as_deref().map(|spaces| spaces.get(|_| Spaces::default()));
            let spaces = own.unwrap_or_else(|| self.world.spaces());
            spaces.get(&self.connected, &self.world.context.clock, &self.path)
        })
    }

    /// Where the call that begins now finds its entries. In a scope that isn't the cache's own, that is the scope's backend,
    /// so that a cache in a `static` is isolated too.
    pub(super) fn here(&self) -> Result<Here, Error> {
        let of = |space: Arc<Space>, world: &World| Here {
            deadline: Instant::now() + space.connected.timeout,
            is_disabled: world.context.config.is_disabled(),
            caller: self.caller,
            space,
        };
        let Some(world) =
            World::scoped().filter(|world| !self.scope.as_ref().is_some_and(|own| Arc::ptr_eq(own, world)))
        else {
            return Ok(of(self.home().clone(), &self.world));
        };
        let connected = match &self.source {
            Source::Alias(alias) => world.context.connected(alias)?,
            Source::Url(url) if world.context.config.replaces_server(url) => world.context.open_url(url)?,
            Source::Url(_) => return Ok(of(self.home().clone(), &world)),
        };
        Ok(of(world.spaces().get(&connected, &world.context.clock, &self.path), &world))
    }

    pub(super) async fn get<T: Value>(&self, key: &str) -> Result<Option<T>, Error> {
        let here = self.here()?;
        let form = Form::of::<T>(here.space.connected.codec)?;
        if here.is_disabled {
            return Ok(None);
        }
        let mut read = here.space.read(&[key], here.deadline, here.caller).await?;
        let text = here.space.text(&read.generation, key);
        Ok(read.values.pop().flatten().and_then(|value| form.open(&text, value.bytes)))
    }

    pub(super) async fn set<T: Stored + ?Sized>(
        &self,
        key: &str,
        value: &T,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(());
        }
        let Life::Kept(ttl) = here.life(ttl) else { return self.delete(key).await.map(drop) };
        drop(here.changes(key));
        let mut unsettled = Unsettled::new(&here, [key]);
        let sealed = here.seal(key, value).await;
        let set = match sealed {
            Ok((text, bytes)) => {
                let since = here.space.invalidations.latest();
                let (connected, always) = (&here.space.connected, Condition::Always);
                let set = connected
                    .set(&text, bytes, SetOptions::exact(ttl), always, here.deadline, here.caller)
                    .await;
                set.map(|_| here.space.invalidations.replaced(&text, since))
            }
            Err(error) => Err(error),
        };
        match set {
            Ok(()) => unsettled.settle(key),
            // The server would take twice the time to give no answer again.
            Err(error) if error.is_without_answer() => return Err(error),
            Err(error) => {
                unsettled.remove(key).await;
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) async fn add<T: Stored + ?Sized>(
        &self,
        key: &str,
        value: &T,
        ttl: Option<Duration>,
    ) -> Result<bool, Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(true);
        }
        let (text, bytes) = here.seal(key, value).await?;
        let Life::Kept(ttl) = here.life(ttl) else {
            let is_taken = here.ask(&text, Request::Contains(&text)).await?.map_or(Ok(false), Reply::done)?;
            return Ok(!is_taken);
        };
        here.deliver(&text).await?;
        let (connected, absent) = (&here.space.connected, Condition::Absent);
        let added =
            connected.set(&text, bytes, SetOptions::exact(ttl), absent, here.deadline, here.caller).await?;
        Ok(added.is_some())
    }

    pub(super) async fn delete(&self, key: &str) -> Result<bool, Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(false);
        }
        let stores = here.changes(key);
        let mut unsettled = Unsettled::new(&here, [key]);
        here.wait_for(stores).await;
        let text = here.text(key).await?;
        let since = here.space.invalidations.latest();
        let was_there = here.space.connected.delete(&text, here.deadline, here.caller).await?;
        let was_pending = here.space.invalidations.has(&text);
        here.space.invalidations.replaced(&text, since);
        unsettled.settle(key);
        Ok(was_there && !was_pending)
    }

    pub(super) async fn contains(&self, key: &str) -> Result<bool, Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(false);
        }
        let text = here.text(key).await?;
        here.ask(&text, Request::Contains(&text)).await?.map_or(Ok(false), Reply::done)
    }

    pub(super) async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool, Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(false);
        }
        let Life::Kept(ttl) = here.life(ttl) else { return self.delete(key).await };
        let text = here.text(key).await?;
        here.ask(&text, Request::Touch { key: &text, ttl }).await?.map_or(Ok(false), Reply::done)
    }

    pub(super) async fn expire_at(&self, key: &str, time: SystemTime) -> Result<bool, Error> {
        let left = time.duration_since(SystemTime::now()).unwrap_or_default();
        self.touch(key, Some(left)).await
    }

    pub(super) async fn ttl(&self, key: &str) -> Result<Option<Duration>, Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(None);
        }
        let text = here.text(key).await?;
        here.ask(&text, Request::Ttl(&text)).await?.map_or(Ok(None), Reply::ttl)
    }

    pub(super) async fn incr(&self, key: &str, by: i64) -> Result<Option<i64>, Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(None);
        }
        let text = here.text(key).await?;
        here.ask(&text, Request::Incr { key: &text, by }).await?.map_or(Ok(None), Reply::number)
    }

    pub(super) async fn clear(&self) -> Result<(), Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(());
        }
        here.space.clear(here.caller).await
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("space", &self.path)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}
