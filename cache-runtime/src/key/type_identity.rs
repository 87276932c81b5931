//! How a key identifies a type, for generic functions and `impl Trait` arguments.

use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::common::process::PerProcess;
use crate::error::{Error, ErrorKind};

/// How a key identifies a type.
pub(super) enum Identity {
    /// In this process.
    Number(u64),
    /// On servers.
    Name(&'static str),
}

impl Identity {
    /// Inlined, so that a program without servers contains no code that inspects names.
    #[inline]
    pub(super) fn of<T: ?Sized>(in_memory: bool, is_callee: bool) -> Result<Self, Error> {
        let (id, name) = (typeid::of::<T>(), type_name::<T>());
        match in_memory {
            true => Ok(Self::Number(type_number(id))),
            false => own_name(id, name, is_callee).map(|()| Self::Name(name)),
        }
    }

    /// The identity of a callee that has siblings.
    #[inline]
    pub(super) fn of_instance<T: ?Sized>(in_memory: bool) -> Option<Result<Self, Error>> {
        is_one_of_many::<T>().then(|| Self::of::<T>(in_memory, true))
    }
}

/// Whether `T`, a function or a closure inside one, has siblings that differ only in type arguments.
///
/// Functions and closures have the type and const parameters of everything around them: function, `impl` and trait. Their
/// names show these in angle brackets. Without angle brackets, the function's namespace alone identifies them.
#[inline]
fn is_one_of_many<T: ?Sized>() -> bool {
    type_name::<T>().as_bytes().contains(&b'<')
}

/// A number for each type that this process asks about: the bytes of a `TypeId` are not accessible.
fn type_number(id: TypeId) -> u64 {
    static NUMBERS: PerProcess<RwLock<BTreeMap<TypeId, u64>>> = PerProcess::new();
    /// A child that can't read its parent's numbers doesn't give them to other types.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let numbers = NUMBERS.get(copy);
    if let Some(number) = numbers.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return *number;
    }
    let mut numbers = numbers.write().unwrap_or_else(PoisonError::into_inner);
    *numbers.entry(id).or_insert_with(|| NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What a child of `fork` begins with: a copy, unless a thread that the child lacks was changing the parent's.
fn copy<T: Clone + Default>(parent: Option<&RwLock<T>>) -> RwLock<T> {
    let copy = parent.and_then(|parent| parent.try_read().ok()).map(|parent| parent.clone());
    RwLock::new(copy.unwrap_or_default())
}

/// Rejects a name that doesn't identify the type, because all processes that share a server must mean the same by it.
/// Closures have no name that identifies them. Two types of one name are noticed once this process has seen both, and from
/// then on the name is rejected for both.
fn own_name(id: TypeId, name: &'static str, is_callee: bool) -> Result<(), Error> {
    /// The type that each name stands for; `None` where there are more.
    static NAMES: PerProcess<RwLock<BTreeMap<&str, Option<TypeId>>>> = PerProcess::new();
    let names = NAMES.get(copy);
    if names.read().unwrap_or_else(PoisonError::into_inner).get(name) == Some(&Some(id)) {
        return Ok(());
    }
    if names_closure(name, is_callee) {
        let message = "all closures in a function share one name: pass a named function to a function that is cached on a server";
        return Err(Error::new(ErrorKind::Key, message).at(name));
    }
    let mut names = names.write().unwrap_or_else(PoisonError::into_inner);
    let known = names.entry(name).or_insert(Some(id));
    if *known == Some(id) {
        return Ok(());
    }
    *known = None;
    let message = "two types share this name, by which a server would identify them: rename one of them";
    Err(Error::new(ErrorKind::Key, message).at(name))
}

/// Whether a closure is part of the type or, for a callee, of its type arguments. The path of a callee may lead through
/// closures.
fn names_closure(name: &str, is_callee: bool) -> bool {
    let mut depth = usize::from(!is_callee);
    name.match_indices(['<', '>', '{']).any(|(at, found)| {
        let (before, rest) = name.split_at(at);
        match found {
            // Not brackets: the character constants `'<'` and `'>'`, and the arrow of a function type.
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
    fn closures_among_type_arguments_are_noticed() {
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
    fn a_name_that_two_types_share_is_rejected() {
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
