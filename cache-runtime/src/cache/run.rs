//! The runs of `get_or_set`: one per key in the process, through the same flights as functions.
//!
//! What is stored is stored only if the key still holds what the look-up saw, so it never replaces a newer value.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::here::{Here, Life};
use super::plain::Plain;
use super::value::{Form, Value};
use crate::backend::{Condition, SetOptions, Versioned};
use crate::error::Error;
use crate::flight::{Leader, Role, Turn};
use crate::function::call::{self, driven};
use crate::remote::envelope::Token;
use crate::value::{Packed, Shared};

/// How a call goes on.
pub(super) enum Next<T> {
    Answer(T),
    Run(Box<Run>),
}

/// A run that is about to happen. Without a target, its result is only for its caller.
pub(super) struct Run {
    run: call::Run,
    target: Option<Target>,
}

/// Where the result of a run belongs.
struct Target {
    key: String,
    local: Vec<u8>,
    here: Here,
    form: Form,
    /// What the look-up saw, in which generation, or why it saw nothing.
    seen: Result<(Token, Option<Versioned>), Error>,
}

impl<T> Next<T> {
    fn run(leader: Option<Leader>, target: Option<Target>) -> Self {
        Self::Run(Box::new(Run { run: call::Run::new(leader, None, false), target }))
    }
}

impl Plain {
    /// The value under `key`, or that of a run under way. If there is none, the right to run.
    pub(super) async fn find_or_lead<T: Value>(&self, key: &str) -> Next<T> {
        let here = match self.here() {
            Ok(here) if !here.is_disabled => here,
            Ok(_) => return Next::run(None, None),
            Err(error) => return alone(key, &error),
        };
        let form = match Form::of::<T>(here.space.connected.codec) {
            Ok(form) => form,
            Err(error) => return alone(key, &error),
        };
        let completed = here.space.flights.completed();
        let local = here.space.local(key);
        let mut target =
            Target { key: key.to_owned(), local, here, form, seen: Ok((Token::default(), None)) };
        if let Some(value) = target.look().await {
            return Next::Answer(value);
        }
        loop {
            let flights = target.here.space.flights.clone();
            let role = flights.join(&target.local, 0);
            if matches!(role, Role::Wait(_)) {
                flights.watch();
            }
            match role.turn(None).await {
                Turn::Lead(leader) => {
                    // The value that was missed may be there by now.
                    if completed != flights.completed()
                        && let Some(value) = driven(Some(leader.polls()), target.look_again()).await
                    {
                        leader.complete_in_store();
                        return Next::Answer(value);
                    }
                    return Next::run(Some(leader), Some(target));
                }
                Turn::Shared(Shared::Value(Packed::Encoded(packed))) => {
                    return target.form.unpack(&packed).map_or_else(|| Next::run(None, None), Next::Answer);
                }
                Turn::Shared(_) | Turn::Alone => return Next::run(None, None),
                Turn::InStore => {
                    if let Some(value) = target.look_again().await {
                        return Next::Answer(value);
                    }
                }
                Turn::Again => {}
            }
        }
    }
}

fn alone<T>(key: &str, error: &Error) -> Next<T> {
    log::debug!("cache key `{key}` can't be used: {error:?}");
    Next::run(None, None)
}

impl Target {
    /// Looks for the value, on the server and among the results that it could not take.
    async fn look<T: Value>(&mut self) -> Option<T> {
        let Here { space, deadline, caller, .. } = &self.here;
        let read = space.read(&[&self.key], *deadline, *caller).await;
        self.local = space.local(&self.key);
        let (value, kept) = match read {
            Ok(mut read) => {
                let (text, under) = (space.text(&read.generation, &self.key), read.values.pop().flatten());
                let value = under.as_ref().and_then(|under| self.form.open(&text, under.bytes.clone()));
                let after_miss = || space.kept_after_miss(&self.local, &read.generation);
                let kept = if value.is_none() { after_miss() } else { None };
                self.seen = Ok((read.generation, under));
                (value, kept)
            }
            Err(error) => {
                log::debug!("cache key `{}` can't be read: {error:?}", self.key);
                self.seen = Err(error);
                (None, space.kept_while_down(&self.local))
            }
        };
        value.or_else(|| match kept?.packed {
            Packed::Encoded(packed) => self.form.unpack(&packed),
            Packed::Typed(..) => None,
        })
    }

    async fn look_again<T: Value>(&mut self) -> Option<T> {
        self.here.renew();
        self.look().await
    }

    /// Stores `value`, whose packed form is `packed`. Returns the value that is there instead, if another one is.
    async fn store<T: Value>(
        &mut self,
        leader: &Leader,
        value: &T,
        packed: &Bytes,
        life: Option<Duration>,
    ) -> Option<T> {
        self.here.renew();
        let stored = self.put(leader, value, life).await;
        match stored {
            Ok(true) => None,
            Ok(false) => self.look_again().await,
            Err(error) => {
                log::debug!("cache key `{}` can't be written: {error:?}", self.key);
                self.here.space.keep(self.local.clone(), packed.clone(), life, &error);
                None
            }
        }
    }

    async fn put<T: Value>(&self, leader: &Leader, value: &T, life: Option<Duration>) -> Result<bool, Error> {
        let (generation, under) = self.seen.as_ref().map_err(Error::clone)?;
        let Here { space, deadline, caller, .. } = &self.here;
        let text = space.text(generation, &self.key);
        let bytes = self.here.seal_as(&self.form, &text, value)?;
        self.here.deliver(&text).await?;
        let condition = under.as_ref().map_or(Condition::Absent, Versioned::is_unchanged);
        let set =
            space.connected.set(&text, bytes, SetOptions::exact(life), condition, *deadline, *caller).await;
        // It may have been deleted meanwhile, or may still be stored when it has become old.
        if leader.store_must_be_removed() || set.as_ref().is_err_and(Error::is_without_answer) {
            drop(space.remove(&text));
        }
        set.map(|version| version.is_some())
    }
}

impl Run {
    /// See [`call::Run::inside`].
    pub(super) fn inside<O>(&self, make: impl FnOnce() -> O) -> O {
        self.run.inside(make)
    }

    /// See [`call::Run::inside_async`].
    pub(super) async fn inside_async<F: Future>(&self, make: Pin<&mut F>) -> F::Output {
        self.run.inside_async(make).await
    }

    /// See [`call::Run::after_body`].
    pub(super) fn after_body(self) -> Self {
        Self { run: self.run.after_body(), ..self }
    }

    /// Ends a run without a result.
    pub(super) fn fail(self) {
        self.run.leader.into_iter().for_each(|leader| leader.complete(None));
    }

    /// Stores and shares the result, and returns it, or the value that is stored by now.
    pub(super) async fn finish<T: Value>(self, made: T, ttl: Option<Duration>) -> T {
        let (Some(leader), Some(mut target)) = (self.run.leader, self.target) else { return made };
        let packed = match target.form.pack(&made) {
            Ok(packed) => packed,
            Err(error) => {
                log::debug!("cache key `{}` can't be written: {error:?}", target.key);
                leader.complete(None);
                return made;
            }
        };
        let shared = Shared::Value(Packed::Encoded(packed.clone()));
        if let Life::Kept(life) = target.here.life(ttl) {
            let polls = Some(leader.polls());
            let winner = match leader.may_store() {
                true => driven(polls, target.store(&leader, &made, &packed, life)).await,
                // The key has been changed since the run began.
                false => driven(polls, target.look_again()).await,
            };
            if let Some(winner) = winner {
                leader.complete_in_store();
                return winner;
            }
        }
        leader.complete(Some(shared));
        made
    }
}
