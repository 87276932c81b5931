//! What a key knows a type by, for generic functions and `impl Trait` arguments.

use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::error::{Error, ErrorKind};

/// What a key knows a type by.
pub(super) enum Identity {
    /// In this process.
    Number(u64),
    /// On servers.
    Name(&'static str),
}

impl Identity {
    /// Inlined, so that a program without servers has no code that looks into names.
    #[inline]
    pub(super) fn of<T: ?Sized>(in_memory: bool, is_callee: bool) -> Result<Self, Error> {
        let (id, name) = (typeid::of::<T>(), type_name::<T>());
        match in_memory {
            true => Ok(Self::Number(type_number(id))),
            false => own_name(id, name, is_callee).map(|()| Self::Name(name)),
        }
    }

    /// Of a callee, if it is one of many.
    #[inline]
    pub(super) fn of_instance<T: ?Sized>(in_memory: bool) -> Option<Result<Self, Error>> {
        is_one_of_many::<T>().then(|| Self::of::<T>(in_memory, true))
    }
}

/// Whether `T`, a function or a closure within one, has siblings that differ in type arguments only.
///
/// Functions and closures carry the type and const parameters of all that they stand in: function, `impl` and
/// trait. Written out, these stand in angle brackets; where there are none, the function's namespace says it all.
#[inline]
fn is_one_of_many<T: ?Sized>() -> bool {
    type_name::<T>().as_bytes().contains(&b'<')
}

/// A number for each type that this process asks about: a `TypeId` shows no bytes that are its own alone.
fn type_number(id: TypeId) -> u64 {
    static NUMBERS: RwLock<BTreeMap<TypeId, u64>> = RwLock::new(BTreeMap::new());
    if let Some(number) = NUMBERS.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return *number;
    }
    let mut numbers = NUMBERS.write().unwrap_or_else(PoisonError::into_inner);
    let next = numbers.len() as u64;
    *numbers.entry(id).or_insert(next)
}

/// Refuses a name that is not the type's own. All processes that share a server must mean the same by it: closures never
/// have a name of their own; that two types share one shows once both are here, and from then on neither has it.
fn own_name(id: TypeId, name: &'static str, is_callee: bool) -> Result<(), Error> {
    /// The type that each name stands for; `None` where there are more.
    static NAMES: RwLock<BTreeMap<&str, Option<TypeId>>> = RwLock::new(BTreeMap::new());
    if NAMES.read().unwrap_or_else(PoisonError::into_inner).get(name) == Some(&Some(id)) {
        return Ok(());
    }
    if names_closure(name, is_callee) {
        let message =
            "all closures in a function share its name: on a server, pass a function that has one of its own";
        return Err(Error::new(ErrorKind::Key, message).at(name));
    }
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    let known = names.entry(name).or_insert(Some(id));
    if *known == Some(id) {
        return Ok(());
    }
    *known = None;
    let message =
        "two types share this name, which is all that a server would know them by: rename one of them";
    Err(Error::new(ErrorKind::Key, message).at(name))
}

/// Whether a closure is part of the type, or of the types that a function's arguments in angle brackets are: its own path may
/// lead through closures.
fn names_closure(name: &str, is_callee: bool) -> bool {
    let mut depth = usize::from(!is_callee);
    name.match_indices(['<', '>', '{']).any(|(at, found)| {
        let (before, rest) = name.split_at(at);
        match found {
            // No brackets: the constants `'<'` and `'>'`, and the arrow of a function's type.
            _ if before.ends_with('\'') && rest.get(1..).is_some_and(|rest| rest.starts_with('\'')) => {}
            ">" if before.ends_with('-') => {}
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            _ => return depth > 0 && rest.starts_with("{{closure}}"),
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::super::Args;
    use super::*;

    #[test]
    fn closures_among_type_arguments_are_seen() {
        for callee in [
            "app::apply::__cached<app::main::{{closure}}>",
            "app::f<(u8, alloc::vec::Vec<app::main::{{closure}}::{{closure}}>)>::{{closure}}",
            "app::f<'>', app::main::{{closure}}>",
            "app::f<fn() -> u8, app::main::{{closure}}>",
            "<app::main::{{closure}}::A as app::Animal>::twice::{{closure}}",
        ] {
            assert!(names_closure(callee, true), "{callee}");
        }
        for callee in [
            "app::main::{{closure}}::apply::__cached<u8>",
            "app::f<u8>::{{closure}}::{{closure}}",
            "app::f<'<'>::{{closure}}",
            "app::f<fn() -> u8>::{{closure}}",
            "<app::A as app::Animal>::twice::{{closure}}",
        ] {
            assert!(!names_closure(callee, true), "{callee}");
        }
        assert!(names_closure("app::main::{{closure}}", false));
        assert!(!names_closure("app::main", false));
    }

    #[test]
    fn a_name_that_two_types_share_is_no_name() {
        fn key<T>(in_memory: bool) -> Result<Vec<u8>, ErrorKind> {
            let mut args = Args::new();
            args.type_of(&std::marker::PhantomData::<T>, in_memory);
            args.0.map(|key| key.bytes().to_vec()).map_err(|error| error.kind())
        }
        let [of_first, in_memory] = {
            struct Local;
            let first = key::<Local>(false);
            assert!(first.is_ok());
            assert_eq!(key::<Local>(false), first);
            [|| key::<Local>(false), || key::<Local>(true)]
        };
        {
            struct Local;
            assert_eq!(key::<Local>(false), Err(ErrorKind::Key));
            assert_ne!(key::<Local>(true).unwrap(), in_memory().unwrap());
        }
        assert_eq!(of_first(), Err(ErrorKind::Key));
    }
}
