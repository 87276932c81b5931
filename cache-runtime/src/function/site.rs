//! The one place in the program that stands for a cached function.

use std::ops::Deref;
use std::sync::Arc;

use super::spec::Spec;
use super::state::State;
use super::world::World;
use crate::common::process::PerProcess;
use crate::common::wait::Caller;
use crate::error::Error;
use crate::key::path::function_path;
use crate::stats::Stats;

/// The constants of a cached function, and its state in each process.
pub struct Site {
    /// The type name of a marker in or beside the function, which contains the function's path.
    path: fn() -> &'static str,
    name: &'static str,
    spec: &'static Spec,
    state: PerProcess<Arc<State>>,
}

impl Site {
    /// A site. Nothing happens until the first call.
    pub const fn new(path: fn() -> &'static str, name: &'static str, spec: &'static Spec) -> Self {
        Self { path, name, spec, state: PerProcess::new() }
    }

    /// The state in the current world.
    #[inline]
    pub(super) fn state(&'static self) -> StateRef {
        self.state_outside_scopes().map_or_else(|| self.find_state(), StateRef::Global)
    }

    /// The state in the world of the process, unless a thread has ever entered a scope.
    #[inline]
    pub(super) fn state_outside_scopes(&'static self) -> Option<&'static Arc<State>> {
        self.state.existing().filter(|_| !World::has_scopes())
    }

    #[cold]
    #[inline(never)]
    fn find_state(&'static self) -> StateRef {
        match World::scoped() {
            None => {
                if World::has_scopes() {
                    World::notice_stray_call(self.name);
                }
                StateRef::Global(self.state.get(|parent| self.state_in(World::global(), parent)))
            }
            Some(scope) => StateRef::Scoped(self.state_in(&scope, None)),
        }
    }

    fn state_in(&'static self, world: &World, parent: Option<&Arc<State>>) -> Arc<State> {
        let path = || function_path((self.path)(), self.name);
        world.function(std::ptr::from_ref(self).addr(), || {
            let state = State::new(&world.context, path, self.spec);
            match parent {
                Some(parent) => state.child_of(parent),
                None => state,
            }
        })
    }

    /// Voids every entry of the function.
    ///
    /// # Errors
    /// The backend failed: entries may still be served.
    pub fn clear(&'static self) -> Result<(), Error> {
        self.state().clear(Caller::Blocking).wait()
    }

    /// [`clear`](Self::clear) for async functions.
    ///
    /// # Errors
    /// The backend failed: entries may still be served.
    pub async fn clear_async(&'static self) -> Result<(), Error> {
        self.state().clear(Caller::Async).await
    }

    /// What the function has done so far.
    pub fn stats(&'static self) -> Stats {
        self.state().stats()
    }
}

/// A state. A hit outside scopes counts no reference.
pub(crate) enum StateRef {
    Global(&'static Arc<State>),
    Scoped(Arc<State>),
}

impl StateRef {
    pub(crate) fn arc(&self) -> &Arc<State> {
        match self {
            Self::Global(state) => state,
            Self::Scoped(state) => state,
        }
    }
}

impl Deref for StateRef {
    type Target = State;

    fn deref(&self) -> &State {
        self.arc()
    }
}
