//! What the entries of one value type have in common.

use std::iter::successors;
use std::sync::{Arc, OnceLock};

use super::envelope::Binding;
use crate::error::Error;
use crate::key::path::KeySpace;
use crate::value::{Format, MakeFormat};

pub(super) struct Form {
    pub(super) codec: u8,
    pub(super) shape: u64,
    /// The text in front of every entry's key.
    pub(super) head: String,
}

impl Form {
    /// What an entry under `text` is bound to.
    pub(super) fn binding<'a>(&self, text: &'a [u8]) -> Binding<'a> {
        Binding { key: text, shape: self.shape, codec: self.codec }
    }
}

/// The form of each value type, found by the address of the function that makes its format. A generic function has one for
/// each instantiation, any other function has one.
pub(super) struct Forms {
    keys: KeySpace,
    list: List,
}

/// Forms are only added, so reading takes no lock.
#[derive(Default)]
struct List {
    first: OnceLock<(usize, Made)>,
    rest: OnceLock<Box<Self>>,
}

type Made = Result<Arc<Form>, Error>;

impl Forms {
    pub(super) fn new(keys: KeySpace) -> Self {
        Self { keys, list: List::default() }
    }

    /// The form of the type whose format `make` makes; made at first use.
    pub(super) fn get(&self, make: MakeFormat, namespace: &str) -> Result<&Arc<Form>, Error> {
        if let Some((_, form)) = self.list.iter().find(|(known, _)| *known == make as usize) {
            return form.as_ref().map_err(Error::clone);
        }
        // Made before it is added: tracing a type runs the user's `Deserialize`.
        let made = make().map_err(|error| error.at(namespace)).map(|Format { codec, shape }| {
            let head = self.keys.head(shape.fingerprint);
            Arc::new(Form { codec, shape: shape.fingerprint, head })
        });
        self.list.add(make as usize, made).as_ref().map_err(Error::clone)
    }

    /// Why some types have no form.
    pub(super) fn errors(&self) -> Vec<Error> {
        self.list.iter().filter_map(|(_, form)| form.as_ref().err().cloned()).collect()
    }
}

impl List {
    fn iter(&self) -> impl Iterator<Item = &(usize, Made)> {
        successors(Some(self), |list| list.rest.get().map(Box::as_ref)).filter_map(|list| list.first.get())
    }

    /// Adds a form, unless another thread has added one for the same type.
    fn add(&self, make: usize, made: Made) -> &Made {
        let (known, form) = self.first.get_or_init(|| (make, made.clone()));
        if *known == make { form } else { self.rest.get_or_init(Box::default).add(make, made) }
    }
}
