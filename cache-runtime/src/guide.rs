//! The options of [`cached`](macro@crate::cached), a page for each topic. Nothing else is here.

#[doc = include_str!("../docs/guide/keys.md")]
pub mod keys {}

#[doc = include_str!("../docs/guide/values.md")]
pub mod values {}

#[doc = include_str!("../docs/guide/backends.md")]
pub mod backends {}

#[doc = include_str!("../docs/guide/freshness.md")]
pub mod freshness {}

#[doc = include_str!("../docs/guide/single_flight.md")]
pub mod single_flight {}

#[doc = include_str!("../docs/guide/companions.md")]
pub mod companions {}

#[doc = include_str!("../docs/guide/generics.md")]
pub mod generics {}
