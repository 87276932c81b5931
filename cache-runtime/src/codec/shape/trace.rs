//! The text of a type's shape as runs add to it, and the path of the current run.

use std::any::type_name;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde::de::DeserializeOwned;

use super::tracer::Tracer;
use crate::codec::canonical::MAX_DEPTH;
use crate::common::catch::catch;
use crate::error::{Error, ErrorKind};

/// No type needs more runs than this, unless its `Deserialize` impl behaves differently each time.
const MAX_RUNS: usize = 1 << 14;

/// How many samples are tried for one element before its type's name stands for the rest.
const MAX_TRIES: usize = 64;

#[derive(Default)]
pub(super) struct Trace {
    pub(super) text: String,
    /// Whether a container contains itself.
    pub(super) recursive: bool,
    path: Vec<Choice>,
    /// How many choices of `path` the current run has passed.
    passed: usize,
    found: Found,
    /// The containers of the text, numbered in its order.
    containers: HashMap<ContainerId, usize>,
    /// How many samples were tried since the text last grew.
    tries: usize,
    /// The visitors of the containers that the current sample is made of, from the outside in.
    pub(super) sampling: Vec<&'static str>,
}

/// What the current run has found at the end of its path.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    #[default]
    Nothing,
    Shape,
    /// The type asked what comes next, which only a self-describing format can answer.
    NotPositional,
}

/// A fork that runs pass, and the way that the current run takes.
struct Choice {
    picked: usize,
    count: usize,
    fork: Fork,
}

enum Fork {
    /// The parts of a container, each to be traced. `number` is that of the container, if it has one.
    Parts { number: Option<usize>, type_name: &'static str, close: &'static str },
    /// Samples for one element. The first that the type accepts is kept.
    Sample,
}

/// Tells containers apart. For derived impls the visitor's name is enough; hand-written ones may share
/// visitors.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ContainerId {
    visitor: &'static str,
    name: &'static str,
    parts: Parts,
}

/// The parts of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Parts {
    Named(&'static [&'static str]),
    Unnamed(usize),
}

/// A type that holds others, as it requests to be read.
pub(super) struct Container {
    pub(super) keyword: &'static str,
    pub(super) name: &'static str,
    pub(super) parts: Parts,
    pub(super) type_name: &'static str,
    /// `None` for the contents of an enum's variants: they have no name, and their visitors share one.
    pub(super) visitor: Option<&'static str>,
}

impl Parts {
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Named(names) => names.len(),
            Self::Unnamed(count) => count,
        }
    }
}

impl Container {
    /// How many parts have to be traced. Those of an array are all alike.
    fn distinct_parts(&self) -> usize {
        let is_array = self.type_name.starts_with('[');
        if is_array { self.parts.len().min(1) } else { self.parts.len() }
    }
}

impl Trace {
    /// Traces `T` to the end.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if a part of `T` has no fixed shape.
    pub(super) fn of<T: DeserializeOwned>() -> Result<Self, Error> {
        let mut trace = Self::default();
        for _ in 0..MAX_RUNS {
            trace.passed = 0;
            trace.found = Found::Nothing;
            // The value doesn't matter: an impl may swallow the error that ends the run.
            let run = catch::<T, _>(ErrorKind::Encode, || {
                drop(T::deserialize(Tracer::new(&mut trace)));
                Ok(())
            });
            if let Err(error) = run {
                log::warn!("a change of the type won't show in its keys, so raise `version` then: {error}");
                break;
            }
            let has_next = match trace.found {
                Found::NotPositional => return Err(trace.not_positional(type_name::<T>())),
                Found::Shape => trace.next_path(),
                Found::Nothing => trace.next_sample() || trace.write_name_instead(type_name::<T>()),
            };
            if !has_next {
                return Ok(trace);
            }
        }
        trace.write(format_args!("~{:?}", type_name::<T>()));
        Ok(trace)
    }

    /// Whether the current run may still find something.
    pub(super) fn is_running(&self) -> bool {
        self.found == Found::Nothing
    }

    /// Ends the run with what it found, and appends `text`.
    pub(super) fn finish_run(&mut self, found: Found, text: &str) {
        self.write_new(text);
        self.found = found;
    }

    /// Appends `text` if the run is past everything that earlier runs have seen.
    pub(super) fn write_new(&mut self, text: &str) {
        if self.at_frontier() {
            self.text.push_str(text);
        }
    }

    fn at_frontier(&self) -> bool {
        self.passed == self.path.len()
    }

    /// Enters a container and returns the part that this run traces. `None` ends the run: the container is
    /// complete.
    pub(super) fn enter(&mut self, container: &Container) -> Option<usize> {
        if self.at_frontier() && !self.open(container) {
            self.found = Found::Shape;
            return None;
        }
        let picked = self.path.get(self.passed)?.picked;
        self.passed += 1;
        if self.at_frontier() {
            self.write_label(container.parts, picked);
        }
        Some(picked)
    }

    /// Writes a container that no run has entered here, and returns whether it has parts to trace.
    fn open(&mut self, container: &Container) -> bool {
        if self.path.len() >= MAX_DEPTH {
            self.write(format_args!("~{:?}", container.type_name));
            return false;
        }
        let mut number = None;
        if let Some(visitor) = container.visitor {
            let id = ContainerId { visitor, name: container.name, parts: container.parts };
            if let Some(&known) = self.containers.get(&id) {
                self.recursive |= self.path.iter().any(|choice| choice.is_inside(known));
                self.write(format_args!("#{known}"));
                return false;
            }
            number = Some(self.containers.len());
            self.containers.insert(id, self.containers.len());
        }
        let close = self.write_head(container);
        let count = container.distinct_parts();
        if count == 0 {
            self.text.push_str(close);
            return false;
        }
        let fork = Fork::Parts { number, type_name: container.type_name, close };
        self.path.push(Choice { picked: 0, count, fork });
        true
    }

    /// Writes keyword, name and opening bracket, and returns the closing one.
    fn write_head(&mut self, container: &Container) -> &'static str {
        self.text.push_str(container.keyword);
        if !container.name.is_empty() {
            self.write(format_args!(" {:?}", container.name));
        }
        let (open, close) = match container.parts {
            Parts::Named(_) => ("{", "}"),
            Parts::Unnamed(count) => {
                if container.distinct_parts() < count {
                    self.write(format_args!(" {count}"));
                }
                ("(", ")")
            }
        };
        self.text.push_str(open);
        close
    }

    fn write_label(&mut self, parts: Parts, picked: usize) {
        if picked > 0 {
            self.text.push(',');
        }
        if let Parts::Named(names) = parts {
            self.write(format_args!("{:?}:", names.get(picked).copied().unwrap_or_default()));
        }
    }

    /// Which of `count` samples this run gives to the type.
    pub(super) fn pick_sample(&mut self, count: usize) -> usize {
        if self.at_frontier() {
            self.path.push(Choice { picked: 0, count, fork: Fork::Sample });
        }
        self.passed += 1;
        self.path.get(self.passed - 1).map_or(0, |choice| choice.picked)
    }

    /// Where the next sample starts, for [`keep_samples`](Self::keep_samples).
    pub(super) fn position(&self) -> usize {
        self.passed
    }

    /// Keeps the samples picked since position `start`: the type accepted the element that they make up.
    pub(super) fn keep_samples(&mut self, start: usize) {
        for choice in self.path.iter_mut().take(self.passed).skip(start) {
            choice.count = choice.picked + 1;
        }
    }

    /// Goes on to the next sample, after a run that found nothing, and returns whether there is one.
    fn next_sample(&mut self) -> bool {
        while let Some(choice) = self.path.last_mut()
            && matches!(choice.fork, Fork::Sample)
        {
            choice.picked += 1;
            if choice.picked < choice.count && self.tries < MAX_TRIES {
                self.tries += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }

    /// Goes on to the next path, and returns whether there is one.
    fn next_path(&mut self) -> bool {
        self.tries = 0;
        while let Some(choice) = self.path.last_mut() {
            if let Fork::Parts { close, .. } = choice.fork {
                choice.picked += 1;
                if choice.picked < choice.count {
                    return true;
                }
                self.text.push_str(close);
            }
            self.path.pop();
        }
        false
    }

    /// Writes the type's name for what no sample reaches, and goes on to the next path as
    /// [`next_path`](Self::next_path).
    fn write_name_instead(&mut self, whole: &'static str) -> bool {
        let name = self.innermost_type().unwrap_or(whole);
        self.write(format_args!("~{name:?}"));
        self.next_path()
    }

    fn innermost_type(&self) -> Option<&'static str> {
        self.path.iter().rev().find_map(|choice| match choice.fork {
            Fork::Parts { type_name, .. } => Some(type_name),
            Fork::Sample => None,
        })
    }

    fn not_positional(&self, whole: &'static str) -> Error {
        let inner = self.innermost_type().unwrap_or(whole);
        let message = format!(
            "`{inner}` is untagged, flattened or has no fixed shape, and needs a self-describing format: \
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
    /// Whether this is a choice among the parts of that container.
    fn is_inside(&self, container: usize) -> bool {
        matches!(self.fork, Fork::Parts { number: Some(number), .. } if number == container)
    }
}
