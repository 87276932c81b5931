//! The fingerprint of a value type's wire shape, traced from its `Deserialize` impl.
//!
//! A positional format decodes bytes of another shape in silence: width and height swap when their fields do. So the
//! shape is part of every remote key, and a deploy that changes it reads nothing old. Owns the tracing and its text;
//! knows nothing of formats but what they have in common: `is_human_readable` is false, and structs are positional.
//!
//! The tracer (`shape/probe.rs`) is a `Deserializer` that has no data. A run follows one path of choices (which field,
//! variant or element), notes what the type asks for at its end, and stops it there with an error. The next run takes
//! the next path. So nothing is ever invented for a type to validate, except elements that stand before the one
//! looked for in a tuple, and keys before their values in a map: if a type takes none of the samples there, its name
//! stands for what lies behind. Two things escape: what a hand-written impl asks for after the first element of a
//! sequence, and what it asks for only after having seen a value.
//!
//! The text reads like `struct "User"{"id":u64,"tags":seq(string),"boss":option(#0)}`; `#0` is the first type of the
//! text that holds others, seen before. It names each once, so runs are as many as the distinct types have parts, and
//! recursion ends. Types are told apart by the name of their visitor, which holds their path and type arguments.

mod probe;
mod walk;

use std::any::type_name;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use twox_hash::XxHash3_64;

use crate::codec::canonical::MAX_DEPTH;
use crate::error::{Error, ErrorKind};
use probe::Probe;

/// Types have no more parts than this unless their `Deserialize` is not a function of the type.
const MAX_RUNS: usize = 1 << 14;

/// How many samples are tried for one element before its name is taken instead.
const MAX_TRIES: usize = 64;

/// What is known of a value type's wire shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// [XXH3](https://github.com/Cyan4973/xxHash) of the text, the same on every machine.
    pub(crate) fingerprint: u64,
    /// Whether values hold values of their own type, and so may be of any depth.
    pub(crate) recursive: bool,
}

/// The shape of `T` as positional formats write it.
pub(crate) fn of<T: DeserializeOwned>() -> Result<Shape, Error> {
    let trace = Trace::of::<T>()?;
    Ok(Shape { fingerprint: XxHash3_64::oneshot(trace.text.as_bytes()), recursive: trace.recursive })
}

/// The shape of `T` where the format checks names and kinds itself. Nothing is known of recursion.
pub(crate) fn named<T>(codec: &str) -> Shape {
    let text = format!("{codec} {:?}", type_name::<T>());
    Shape { fingerprint: XxHash3_64::oneshot(text.as_bytes()), recursive: false }
}

/// The trace so far, and the path of the current run.
#[derive(Default)]
struct Trace {
    text: String,
    path: Vec<Choice>,
    /// How many choices of `path` the current run has made.
    made: usize,
    outcome: Outcome,
    known: HashMap<Identity, usize>,
    recursive: bool,
    /// The types that samples are being made of, one within another.
    sampled: Vec<&'static str>,
    tries: usize,
}

/// How the current run ended.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing was learnt yet.
    #[default]
    Open,
    Learnt,
    /// The type asked what comes next, as only a self-describing format can tell.
    NotPositional,
}

/// A fork that runs pass, and which way the current one takes.
struct Choice {
    picked: usize,
    of: usize,
    fork: Fork,
}

enum Fork {
    /// The parts of a type, each to be traced.
    Parts { id: Option<usize>, type_name: &'static str, close: &'static str },
    /// Samples for an element that has to be made up: the first that serves is kept.
    Sample,
}

/// What tells types apart. The visitor's name alone would do for derived types; hand-written ones may share visitors.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    visitor: &'static str,
    name: &'static str,
    parts: Parts,
}

/// The parts of a type that holds others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Parts {
    Named(&'static [&'static str]),
    Unnamed(usize),
}

/// A type that holds others, as it first presents itself.
struct Compound {
    keyword: &'static str,
    name: &'static str,
    parts: Parts,
    type_name: &'static str,
    /// The contents of variants are unnamed, and their visitors share a name.
    visitor: Option<&'static str>,
}

impl Parts {
    const fn len(self) -> usize {
        match self {
            Self::Named(names) => names.len(),
            Self::Unnamed(count) => count,
        }
    }
}

impl Compound {
    /// How many parts have to be traced: those of an array are all alike.
    fn distinct(&self) -> usize {
        let is_array = self.type_name.starts_with('[');
        if is_array { self.parts.len().min(1) } else { self.parts.len() }
    }
}

impl Trace {
    fn of<T: DeserializeOwned>() -> Result<Self, Error> {
        let mut trace = Self::default();
        for _ in 0..MAX_RUNS {
            (trace.made, trace.outcome) = (0, Outcome::Open);
            // What it returns is of no interest: an impl may well swallow the error that ends the run.
            drop(T::deserialize(Probe::tracing(&mut trace)));
            let more = match trace.outcome {
                Outcome::NotPositional => return Err(trace.not_positional(type_name::<T>())),
                Outcome::Learnt => trace.next_path(),
                Outcome::Open => trace.next_sample() || trace.opaque(type_name::<T>()),
            };
            if !more {
                return Ok(trace);
            }
        }
        trace.write(format_args!("~{:?}", type_name::<T>()));
        Ok(trace)
    }

    /// Whether the run is past all that earlier runs saw, so that what it sees is news.
    fn at_frontier(&self) -> bool {
        self.made == self.path.len()
    }

    fn note(&mut self, text: &str) {
        if self.at_frontier() {
            self.text.push_str(text);
        }
    }

    /// The end of the path: what the type asked for there.
    fn end(&mut self, outcome: Outcome, text: &str) {
        self.note(text);
        self.outcome = outcome;
    }

    /// Enters a type that holds others; which of its parts this run is about, if any.
    fn enter(&mut self, compound: &Compound) -> Option<usize> {
        if self.at_frontier() && !self.opened(compound) {
            self.outcome = Outcome::Learnt;
            return None;
        }
        let picked = self.path.get(self.made)?.picked;
        self.made += 1;
        if self.at_frontier() {
            self.label(compound.parts, picked);
        }
        Some(picked)
    }

    /// Writes the head of a type met for the first time; whether there are parts to trace.
    fn opened(&mut self, compound: &Compound) -> bool {
        if self.path.len() >= MAX_DEPTH {
            self.write(format_args!("~{:?}", compound.type_name));
            return false;
        }
        let id = self.known.len();
        if let Some(visitor) = compound.visitor {
            let identity = Identity { visitor, name: compound.name, parts: compound.parts };
            if let Some(&known) = self.known.get(&identity) {
                self.recursive |= self.path.iter().any(|choice| choice.is_inside(known));
                self.write(format_args!("#{known}"));
                return false;
            }
            self.known.insert(identity, id);
        }
        let close = self.head(compound);
        if compound.distinct() == 0 {
            self.text.push_str(close);
            return false;
        }
        let id = compound.visitor.map(|_| id);
        let fork = Fork::Parts { id, type_name: compound.type_name, close };
        self.path.push(Choice { picked: 0, of: compound.distinct(), fork });
        true
    }

    fn head(&mut self, compound: &Compound) -> &'static str {
        self.text.push_str(compound.keyword);
        if !compound.name.is_empty() {
            self.write(format_args!(" {:?}", compound.name));
        }
        let (open, close) = match compound.parts {
            Parts::Named(_) => ("{", "}"),
            Parts::Unnamed(count) => {
                if compound.distinct() < count {
                    self.write(format_args!(" {count}"));
                }
                ("(", ")")
            }
        };
        self.text.push_str(open);
        close
    }

    fn label(&mut self, parts: Parts, picked: usize) {
        if picked > 0 {
            self.text.push(',');
        }
        if let Parts::Named(names) = parts {
            self.write(format_args!("{:?}:", names.get(picked).copied().unwrap_or_default()));
        }
    }

    /// Which sample this run makes an element of.
    fn sample(&mut self, of: usize) -> usize {
        if self.at_frontier() {
            self.path.push(Choice { picked: 0, of, fork: Fork::Sample });
        }
        self.made += 1;
        self.path.get(self.made - 1).map_or(0, |choice| choice.picked)
    }

    /// The samples from `start` on made an element: no others are wanted there.
    fn keep_samples(&mut self, start: usize) {
        for choice in self.path.iter_mut().take(self.made).skip(start) {
            choice.of = choice.picked + 1;
        }
    }

    /// After a run that learnt nothing: whether other samples are left that may lead further.
    fn next_sample(&mut self) -> bool {
        while let Some(choice) = self.path.last_mut()
            && matches!(choice.fork, Fork::Sample)
        {
            choice.picked += 1;
            if choice.picked < choice.of && self.tries < MAX_TRIES {
                self.tries += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }

    /// Lets the type's name stand for what can't be reached, and goes on to the next path; whether there is one.
    fn opaque(&mut self, whole: &'static str) -> bool {
        let name = self.innermost().unwrap_or(whole);
        self.write(format_args!("~{name:?}"));
        self.next_path()
    }

    /// Goes on to the next path; whether there is one.
    fn next_path(&mut self) -> bool {
        self.tries = 0;
        while let Some(choice) = self.path.last_mut() {
            if let Fork::Parts { close, .. } = choice.fork {
                choice.picked += 1;
                if choice.picked < choice.of {
                    return true;
                }
                self.text.push_str(close);
            }
            self.path.pop();
        }
        false
    }

    fn innermost(&self) -> Option<&'static str> {
        self.path.iter().rev().find_map(|choice| match choice.fork {
            Fork::Parts { type_name, .. } => Some(type_name),
            Fork::Sample => None,
        })
    }

    fn not_positional(&self, whole: &'static str) -> Error {
        let inner = self.innermost().unwrap_or(whole);
        let message = format!(
            "`{inner}` is untagged, flattened or of no fixed shape, which needs a self-describing format: \
             write `codec = \"msgpack\"`"
        );
        Error::new(ErrorKind::Encode, message).at(whole)
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string can't fail.
        let _ = self.text.write_fmt(text);
    }
}

impl Choice {
    fn is_inside(&self, known: usize) -> bool {
        matches!(self.fork, Fork::Parts { id: Some(id), .. } if id == known)
    }
}

#[cfg(test)]
mod tests;
