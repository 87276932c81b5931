//! All that generated code may name. Nothing here is stable: the macro crate is pinned to this one.

#[cfg(feature = "bincode")]
pub use crate::codec::Bincode;
#[cfg(feature = "json")]
pub use crate::codec::Json;
#[cfg(feature = "msgpack")]
pub use crate::codec::MsgPack;
#[cfg(feature = "postcard")]
pub use crate::codec::Postcard;
pub use crate::error::Error;
pub use crate::freshness::FreshnessOptions as Freshness;
pub use crate::function::keep::{Held, Task, Unowned, Unsent, never};
pub use crate::function::place::MakePlace;
pub use crate::function::renew::{Kept, KeptFuture};
pub use crate::function::spec::{SingleFlight, Spec};
pub use crate::function::{Function, Policy, Site, Ttl, Values};
pub use crate::key::path::Written;
pub use crate::key::{Args, Template};
pub use crate::memory::Bound;
pub use crate::stats::Stats;
pub use crate::value::outcome::{
    As, AsOf, IsOption, IsPlain, IsResult, Kind, Kinds, Off, On, Plain, Probe, Returns, Stored, Wraps,
    assert_err, assert_none, assert_written_out,
};
pub use crate::value::{Compared, Memory, Remote, Uncompared, weigh};
pub use core::option::Option::{self, None, Some};
pub use core::result::Result::{self, Ok};
pub use core::time::Duration;
pub use std::boxed::Box;
pub use std::string::String;
