//! Where a call finds its entries, and what becomes of changes that fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::value::{Form, Stored};
use crate::backend::{Reply, Request};
use crate::common::wait::Caller;
use crate::error::Error;
use crate::flight::StoreInProgress;
use crate::remote::envelope::Token;
use crate::remote::space::Space;

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

    pub(super) async fn text(&self, key: &str) -> Result<Vec<u8>, Error> {
        Ok(self.space.text(&self.generation().await?, key))
    }

    pub(super) async fn request(&self, request: Request<'_>) -> Result<Reply, Error> {
        self.space.connected.call(request, self.deadline, self.caller).await
    }

    /// The answer to `request`, which concerns what is under `text`. `None` if an invalidation is pending: nothing is there.
    pub(super) async fn ask(&self, text: &[u8], request: Request<'_>) -> Result<Option<Reply>, Error> {
        if self.space.invalidations.has(text) {
            return Ok(None);
        }
        self.request(request).await.map(Some)
    }

    /// Delivers a pending invalidation before `add` looks whether anything is there.
    pub(super) async fn deliver(&self, text: &[u8]) -> Result<(), Error> {
        if !self.space.invalidations.has(text) {
            return Ok(());
        }
        self.space.remove(text).send(self.caller).await
    }

    /// The key on the server, and the bytes of `value` there.
    pub(super) async fn seal<T: Stored + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<(Vec<u8>, Bytes), Error> {
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
    pub(super) fn changes(&self, key: &str) -> Vec<StoreInProgress> {
        let local = self.space.local(key);
        self.space.forget_kept(&local);
        self.space.flights.invalidate(&local)
    }

    /// What a run stores now would come after a deletion.
    pub(super) async fn wait_for(&self, stores: Vec<StoreInProgress>) {
        for store in stores {
            store.done(Some(self.space.connected.timeout)).await;
        }
    }
}

/// Changes of keys that have not succeeded yet. What is left of them is removed in the background: the value that was to be
/// replaced must not stay.
pub(super) struct Unsettled<'a> {
    here: &'a Here,
    keys: Vec<&'a str>,
}

impl<'a> Unsettled<'a> {
    pub(super) fn new(here: &'a Here, keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self { here, keys: keys.into_iter().collect() }
    }

    pub(super) fn settle(&mut self, key: &str) {
        if let Some(place) = self.keys.iter().position(|unsettled| *unsettled == key) {
            self.keys.swap_remove(place);
        }
    }

    /// Removes what is under `key` now, or in the background after an error.
    pub(super) async fn remove(&mut self, key: &str) {
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
