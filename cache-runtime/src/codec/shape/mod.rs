//! The fingerprint of a value type's wire shape, traced from its `Deserialize` impl.
//!
//! A positional format silently decodes bytes of another shape: if a type swaps its fields `width` and
//! `height`, their values swap. So every remote key contains the shape, and after a deploy that changes a
//! type no old entry is read. Owns the tracing and its text. Of formats it knows only what the positional
//! ones share: `is_human_readable` is false, and structs are positional.
//!
//! The [`Tracer`](tracer::Tracer) is a `Deserializer` without data, as in
//! [serde-reflection](https://docs.rs/serde-reflection). A run follows one path of choices (field, variant or
//! element), records what the type requests at its end, and stops there with an error. The next run takes the
//! next path. So a type gets no made-up values to validate, with two exceptions: elements before the traced
//! one of a tuple, and the keys of maps. If it rejects all samples there, its name stands for the rest. Two
//! things are not seen: what a hand-written impl requests after the first element of a sequence, and what it
//! requests only after looking at a value.
//!
//! The text reads like `struct "User"{"id":u64,"tags":seq(string),"boss":option(#0)}`. A *container* is a
//! type that holds others; `#0` is the first container of the text. Each is written once, so recursion ends,
//! and there are as many runs as the distinct types have parts. Types are told apart by the name of their
//! visitor, which contains their path and type arguments.

mod trace;
mod tracer;
mod walk;

use std::any::type_name;

use serde::de::DeserializeOwned;
use twox_hash::XxHash3_64;

use self::trace::Trace;
use crate::error::Error;

/// What is known of a value type's wire shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// [XXH3](https://github.com/Cyan4973/xxHash) of the text, the same on every machine.
    pub(crate) fingerprint: u64,
    /// Whether values may contain values of their own type, and so have any depth.
    pub(crate) recursive: bool,
}

/// The shape of `T` as positional formats write it.
///
/// # Errors
/// [`ErrorKind::Encode`](crate::ErrorKind::Encode) if a part of `T` has no fixed shape, and so needs a
/// self-describing format.
pub(crate) fn of<T: DeserializeOwned>() -> Result<Shape, Error> {
    let trace = Trace::of::<T>()?;
    Ok(Shape { fingerprint: XxHash3_64::oneshot(trace.text.as_bytes()), recursive: trace.recursive })
}

/// The shape of `T` in a format that checks names and types itself. `recursive` is unknown and false.
pub(crate) fn named<T>(codec: &str) -> Shape {
    let text = format!("{codec} {:?}", type_name::<T>());
    Shape { fingerprint: XxHash3_64::oneshot(text.as_bytes()), recursive: false }
}

#[cfg(test)]
mod tests;
