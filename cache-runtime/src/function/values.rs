//! How the values of one function are packed, and the options that are asked for each value.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Site, hit};
use crate::codec::Codec;
use crate::error::Error;
use crate::key::Key;
use crate::value::outcome::Outcome;
use crate::value::{
    ClonedOnHit, Encoded, MakeFormat, Mode, Pack, Packed, ShareErr, SharedByThreads, StoredOnServer, Typed,
    weigh,
};

/// A lifetime: mostly a constant, so that most functions bring no code for it.
#[derive(Clone, Copy)]
pub(super) enum Ttl<F> {
    /// The settings decide.
    Default,
    /// The same for all values.
    Fixed(Duration),
    /// What this returns.
    By(F),
}

impl<F> Ttl<F> {
    pub(super) fn ask(self, ask: impl FnOnce(F) -> Duration) -> Option<Duration> {
        match self {
            Self::Default => None,
            Self::Fixed(duration) => Some(duration),
            Self::By(f) => Some(ask(f)),
        }
    }
}

/// How values are packed, and the options that are asked for each: constants of the program.
///
/// The mode is held as function pointers, so that a value that doesn't fit it is one error, where the function is
/// made, and not one for each method that is called.
pub struct Values<O: Outcome<R>, R> {
    pub(super) format: MakeFormat,
    pub(super) pack: Pack<O::Stored>,
    pub(super) hit: fn(&'static Site, &Result<Key, Error>) -> Option<R>,
    pub(super) unpack: fn(&Packed) -> Result<O::Stored, Error>,
    /// The lifetime of a success.
    pub(super) ttl: Ttl<fn(&O::Value) -> Duration>,
    /// The lifetime of a stored `None` or `Err`.
    pub(super) negative_ttl: Ttl<fn() -> Duration>,
    /// Which successes are stored.
    pub(super) cache_if: Option<fn(&O::Value) -> bool>,
    /// How errors that aren't stored are shared, if they can be.
    pub(super) share_err: Option<ShareErr<R>>,
    /// Measures a value, for a store that is bounded by bytes.
    pub(super) weigh: Option<fn(&O::Stored) -> u64>,
}

/// The options as generated code states them, one call each.
///
/// `S` is what an entry holds. Generated code spells it, so that the compiler underlines it where it doesn't meet the
/// bounds. Where it has type parameters, the compiler says best which bound they lack: that's what the constructors
/// `…_generic` are for.
impl<O: Outcome<R>, R> Values<O, R> {
    /// Values stay as they are.
    pub const fn in_memory<S: ClonedOnHit + SharedByThreads + 'static>() -> Self
    where
        O: Outcome<R, Stored = S>,
    {
        Self::new::<Typed>()
    }

    /// The same for an `S` with type parameters.
    pub const fn in_memory_generic<S: Clone + Send + Sync + 'static>() -> Self
    where
        O: Outcome<R, Stored = S>,
    {
        Self::new::<Typed>()
    }

    /// Values are encoded by `C`; `pack` does it, if it is given.
    pub const fn encoded<S: StoredOnServer, C: Codec>(pack: Option<Pack<S>>) -> Self
    where
        O: Outcome<R, Stored = S>,
    {
        Self::new::<Encoded<C>>().packed_by(pack)
    }

    /// The same for an `S` with type parameters.
    pub const fn encoded_generic<S: Serialize + DeserializeOwned, C: Codec>(pack: Option<Pack<S>>) -> Self
    where
        O: Outcome<R, Stored = S>,
    {
        Self::new::<Encoded<C>>().packed_by(pack)
    }

    const fn new<M: Mode<O::Stored>>() -> Self {
        Self {
            format: M::format,
            pack: M::pack,
            hit: hit::<M, O, R>,
            unpack: M::unpack,
            ttl: Ttl::Default,
            negative_ttl: Ttl::Default,
            cache_if: None,
            share_err: None,
            weigh: None,
        }
    }

    const fn packed_by(mut self, pack: Option<Pack<O::Stored>>) -> Self {
        if let Some(pack) = pack {
            self.pack = pack;
        }
        self
    }

    /// `ttl = 60`
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Ttl::Fixed(ttl);
        self
    }

    /// `ttl = |value| …`, or any other expression.
    pub const fn ttl_by(mut self, ttl: fn(&O::Value) -> Duration) -> Self {
        self.ttl = Ttl::By(ttl);
        self
    }

    /// `negative_ttl = 5`
    pub const fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Ttl::Fixed(ttl);
        self
    }

    /// `negative_ttl` as any other expression.
    pub const fn negative_ttl_by(mut self, ttl: fn() -> Duration) -> Self {
        self.negative_ttl = Ttl::By(ttl);
        self
    }

    /// `cache_if = |value| …`
    pub const fn cache_if(mut self, cache_if: fn(&O::Value) -> bool) -> Self {
        self.cache_if = Some(cache_if);
        self
    }

    /// Shares errors that aren't stored with the calls that waited for them.
    pub const fn share_err(mut self, share: Option<ShareErr<R>>) -> Self {
        self.share_err = share;
        self
    }

    /// Measures values, for `max_bytes`.
    pub const fn weighed<S: Serialize>(mut self) -> Self
    where
        O: Outcome<R, Stored = S>,
    {
        self.weigh = Some(weigh::<S>);
        self
    }
}
