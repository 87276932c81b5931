//! What both kinds of cache have in common: everything but the waiting.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::value::{Form, Stored, Value};
use crate::backend::connected::Connected;
use crate::backend::{Condition, Reply, Request, SetOptions};
use crate::common::process::PerProcess;
use crate::common::wait::Caller;
use crate::error::{Error, ErrorKind};
use crate::flight::StoreInProgress;
use crate::function::world::World;
use crate::remote::envelope::Token;
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

/// The space that a call is about.
pub(super) struct Here {
    pub(super) space: Arc<Space>,
    pub(super) is_disabled: bool,
    pub(super) caller: Caller,
    pub(super) deadline: Instant,
}

/// How long an entry is kept.
pub(super) enum Life {
    Zero,
    Kept(Option<Duration>),
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

    pub(super) async fn get_many<'k, T: Value>(
        &self,
        keys: Vec<&'k str>,
    ) -> Result<HashMap<&'k str, T>, Error> {
        let here = self.here()?;
        let form = Form::of::<T>(here.space.connected.codec)?;
        if here.is_disabled || keys.is_empty() {
            return Ok(HashMap::new());
        }
        let read = here.space.read(&keys, here.deadline, here.caller).await?;
        let open = |(key, value): (&'k str, Option<_>)| {
            let value: crate::backend::Versioned = value?;
            Some((key, form.open(&here.space.text(&read.generation, key), value.bytes)?))
        };
        Ok(keys.into_iter().zip(read.values).filter_map(open).collect())
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
                let set = connected.set(&text, bytes, ttl, always, here.deadline, here.caller).await;
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
            return here.ask(&text, Request::Contains(&text)).await?.done().map(|is_taken| !is_taken);
        };
        here.deliver(&text).await?;
        let (connected, absent) = (&here.space.connected, Condition::Absent);
        let added = connected.set(&text, bytes, ttl, absent, here.deadline, here.caller).await?;
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
        here.ask(&text, Request::Contains(&text)).await?.done()
    }

    pub(super) async fn touch(&self, key: &str, ttl: Option<Duration>) -> Result<bool, Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(false);
        }
        let Life::Kept(ttl) = here.life(ttl) else { return self.delete(key).await };
        let text = here.text(key).await?;
        here.ask(&text, Request::Touch { key: &text, ttl }).await?.done()
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
        if here.space.invalidations.has(&text) {
            return Ok(None);
        }
        here.request(Request::Ttl(&text)).await?.ttl()
    }

    pub(super) async fn incr(&self, key: &str, by: i64) -> Result<Option<i64>, Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(None);
        }
        let text = here.text(key).await?;
        if here.space.invalidations.has(&text) {
            return Ok(None);
        }
        here.request(Request::Incr { key: &text, by }).await?.number()
    }

    pub(super) async fn set_many<T: Stored + ?Sized>(
        &self,
        entries: Vec<(&str, &T)>,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        let here = self.here()?;
        if here.is_disabled || entries.is_empty() {
            return Ok(());
        }
        let Life::Kept(ttl) = here.life(ttl) else {
            let keys = entries.into_iter().map(|(key, _)| key).collect();
            return self.delete_many(keys).await.map(drop);
        };
        entries.iter().for_each(|(key, _)| drop(here.changes(key)));
        let mut unsettled = Unsettled::new(&here, entries.iter().map(|(key, _)| *key));
        let form = Form::of::<T::Owned>(here.space.connected.codec)?;
        let generation = here.generation().await?;
        let (mut sealed, mut failed) = (Vec::new(), Vec::new());
        for (key, value) in entries {
            let text = here.space.text(&generation, key);
            match here.seal_as(&form, &text, value) {
                Ok(bytes) => sealed.push((key, text, bytes)),
                Err(error) => failed.push((key, error)),
            }
        }
        let since = here.space.invalidations.latest();
        let list: Vec<(&[u8], Bytes)> =
            sealed.iter().map(|(_, text, bytes)| (text.as_slice(), bytes.clone())).collect();
        let request = Request::SetMany { entries: &list, options: SetOptions::new().ttl(ttl) };
        let results = here.request(request).await.and_then(Reply::set_each);
        let results = results.unwrap_or_else(|error| vec![Err(error); list.len()]);
        for ((key, text, _), result) in sealed.iter().zip(results) {
            match result {
                Ok(()) => {
                    here.space.invalidations.replaced(text, since);
                    unsettled.settle(key);
                }
                Err(error) => failed.push((key, error)),
            }
        }
        let Some((_, error)) = failed.first() else { return Ok(()) };
        if !error.is_without_answer() {
            for (key, _) in &failed {
                unsettled.remove(key).await;
            }
        }
        Err(not_stored(&failed))
    }

    pub(super) async fn delete_many(&self, keys: Vec<&str>) -> Result<usize, Error> {
        let here = self.here()?;
        if here.is_disabled || keys.is_empty() {
            return Ok(0);
        }
        let stores: Vec<_> = keys.iter().flat_map(|key| here.changes(key)).collect();
        let mut unsettled = Unsettled::new(&here, keys.iter().copied());
        here.wait_for(stores).await;
        let generation = here.generation().await?;
        let texts: Vec<Vec<u8>> = keys.iter().map(|key| here.space.text(&generation, key)).collect();
        let since = here.space.invalidations.latest();
        let list: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let count = here.request(Request::DeleteMany(&list)).await?.count()?;
        for (key, text) in keys.iter().zip(&texts) {
            here.space.invalidations.replaced(text, since);
            unsettled.settle(key);
        }
        Ok(count)
    }

    pub(super) async fn clear(&self) -> Result<(), Error> {
        let here = self.here()?;
        if here.is_disabled {
            return Ok(());
        }
        here.space.clear(here.caller).await
    }
}

impl Here {
    /// The time for another question begins.
    pub(super) fn renew(&mut self) {
        self.deadline = Instant::now() + self.space.connected.timeout;
    }

    pub(super) fn life(&self, ttl: Option<Duration>) -> Life {
        match ttl.or(self.space.connected.default_ttl) {
            Some(Duration::ZERO) => Life::Zero,
            Some(Duration::MAX) | None => Life::Kept(None),
            ttl => Life::Kept(ttl),
        }
    }

    pub(super) async fn generation(&self) -> Result<Token, Error> {
        self.space.generation(self.deadline, self.caller).await
    }

    async fn text(&self, key: &str) -> Result<Vec<u8>, Error> {
        Ok(self.space.text(&self.generation().await?, key))
    }

    async fn request(&self, request: Request<'_>) -> Result<Reply, Error> {
        self.space.connected.call(request, self.deadline, self.caller).await
    }

    /// Asks whether something is there and does `request`. What has a pending invalidation is not there.
    async fn ask(&self, text: &[u8], request: Request<'_>) -> Result<Reply, Error> {
        if self.space.invalidations.has(text) {
            return Ok(Reply::Done(false));
        }
        self.request(request).await
    }

    /// Delivers a pending invalidation before `add` looks whether anything is there.
    pub(super) async fn deliver(&self, text: &[u8]) -> Result<(), Error> {
        if !self.space.invalidations.has(text) {
            return Ok(());
        }
        self.space.remove(text).send(self.caller).await
    }

    /// The key on the server, and the bytes of `value` there.
    async fn seal<T: Stored + ?Sized>(&self, key: &str, value: &T) -> Result<(Vec<u8>, Bytes), Error> {
        let form = Form::of::<T::Owned>(self.space.connected.codec)?;
        let text = self.text(key).await?;
        let bytes = self.seal_as(&form, &text, value)?;
        Ok((text, bytes))
    }

    pub(super) fn seal_as<T: Stored + ?Sized>(
        &self,
        form: &Form,
        text: &[u8],
        value: &T,
    ) -> Result<Bytes, Error> {
        let bytes = form.seal(text, value, self.space.clock.unix_ms())?;
        self.space.connected.check_len(bytes.len())?;
        Ok(bytes)
    }

    /// Detaches the runs of `key`, whose results are old now, and forgets results that could not be stored.
    fn changes(&self, key: &str) -> Vec<StoreInProgress> {
        let local = self.space.local(key);
        self.space.forget_kept(&local);
        self.space.flights.invalidate(&local)
    }

    /// What a run stores now would come after a deletion.
    async fn wait_for(&self, stores: Vec<StoreInProgress>) {
        for store in stores {
            store.done(Some(self.space.connected.timeout)).await;
        }
    }
}

/// Changes of keys that have not succeeded yet. What is left of them is removed in the background: the value that was to be
/// replaced must not stay.
struct Unsettled<'a> {
    here: &'a Here,
    keys: Vec<&'a str>,
}

impl<'a> Unsettled<'a> {
    fn new(here: &'a Here, keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self { here, keys: keys.into_iter().collect() }
    }

    fn settle(&mut self, key: &str) {
        if let Some(place) = self.keys.iter().position(|unsettled| *unsettled == key) {
            self.keys.swap_remove(place);
        }
    }

    /// Removes what is under `key` now, or in the background after an error.
    async fn remove(&mut self, key: &str) {
        if let Some(generation) = self.here.space.last() {
            let removal = self.here.space.remove(&self.here.space.text(&generation, key));
            self.settle(key);
            if let Err(error) = removal.send(self.here.caller).await {
                log::warn!("cache key `{key}`: the old value may still be served elsewhere: {error:?}");
            }
        }
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.here.space.remove_later(key));
    }
}

/// The error of a `set_many`, which names the keys.
fn not_stored(failed: &[(&str, Error)]) -> Error {
    const NAMED: usize = 10;
    let named: Vec<_> = failed.iter().take(NAMED).map(|(key, _)| format!("`{key}`")).collect();
    let others = failed.len().saturating_sub(NAMED);
    let others = if others == 0 { String::new() } else { format!(" and {others} others") };
    let (kind, cause) =
        failed.first().map_or((ErrorKind::Server, ""), |(_, error)| (error.kind(), error.message()));
    let error = Error::new(kind, format!("not stored: {}{others}: {cause}", named.join(", ")));
    match failed.first() {
        Some((_, cause)) => error.with_source(cause.clone()),
        None => error,
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
