//! Everything that generated code may name. Nothing here is stable: the macro crate is pinned to this one.

mod template;

// The template, which the attribute fills in.
pub use crate::{
    __assert_kinds as assert_kinds, __companions as companions,
    __companions_struct as in_an_impl_write_companions_Self, __function as function, __keep as keep,
    __share_err as share_err, __site as site, __stored_part as stored_part,
};

// What generated code calls.
#[cfg(feature = "bincode")]
pub use crate::codec::Bincode;
#[cfg(feature = "json")]
pub use crate::codec::Json;
#[cfg(feature = "msgpack")]
pub use crate::codec::MsgPack;
#[cfg(feature = "postcard")]
pub use crate::codec::Postcard;
pub use crate::function::keep::{Arg, BodyFuture, CloneFallback, SendFallback, unreachable_arg};
pub use crate::function::renew::{BackgroundBody, BackgroundFuture};
pub use crate::function::spec::{Spec, entries};
pub use crate::function::{Function, Site, Values};
pub use crate::key::{Args, Template};
pub use crate::value::outcome::{KindFallback, KindProbe, Outcome, Returns, StoredBy, StoredPart};
pub use crate::value::{EqFallback, EqProbe, ErrFallback, ErrProbe};
pub use std::boxed::Box;
pub use std::string::String;

/// A `&mut` argument of a companion.
pub type Mut<'a, T> = &'a mut T;
