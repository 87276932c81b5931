//! Many keys in one round trip.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::here::{Life, Unsettled};
use super::plain::Plain;
use super::value::{Form, Stored, Value};
use crate::backend::{Reply, Request, SetOptions, Versioned};
use crate::error::{Error, ErrorKind};

impl Plain {
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
        let open = |(key, value): (&'k str, Option<Versioned>)| {
            let value = value?;
            Some((key, form.open(&here.space.text(&read.generation, key), value.bytes)?))
        };
        Ok(keys.into_iter().zip(read.values).filter_map(open).collect())
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
        let request = Request::SetMany { entries: &list, options: SetOptions::exact(ttl) };
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
