//! The one place of a cached function in the program.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::spec::Spec;
use super::state::State;
use crate::common::wait::Io;
use crate::config::context::Context;
use crate::error::Error;
use crate::key::path::function_path;
use crate::stats::Stats;

/// The one place of a cached function in the program: its constants, and its state in the process.
pub struct Site {
    /// The type name of the function's companion, or of a `__Site` within the function: its path.
    path: fn() -> &'static str,
    name: &'static str,
    spec: &'static Spec,
    state: OnceLock<Arc<State>>,
}

impl Site {
    /// A site; nothing happens until the first call.
    pub const fn new(path: fn() -> &'static str, name: &'static str, spec: &'static Spec) -> Self {
        Self { path, name, spec, state: OnceLock::new() }
    }

    /// The state in the current context.
    #[inline]
    pub(super) fn state(&'static self) -> StateRef {
        self.state_outside_scopes().map_or_else(|| self.find_state(), StateRef::Global)
    }

    /// The process's state, if there is one, and no thread has ever been in a scope.
    #[inline]
    pub(super) fn state_outside_scopes(&'static self) -> Option<&'static Arc<State>> {
        self.state.get().filter(|_| !Context::has_scopes())
    }

    #[cold]
    #[inline(never)]
    fn find_state(&'static self) -> StateRef {
        match Context::scoped() {
            None => StateRef::Global(self.state.get_or_init(|| self.state_in(Context::global()))),
            Some(scope) => StateRef::Scoped(self.state_in(&scope)),
        }
    }

    fn state_in(&'static self, context: &Context) -> Arc<State> {
        let path = || function_path((self.path)(), self.name);
        context.function(std::ptr::from_ref(self).addr(), || State::new(context, path, self.spec))
    }

    /// Ends the life of every entry of the function.
    ///
    /// # Errors
    /// The backend failed: entries may still be served.
    pub fn clear(&'static self) -> Result<(), Error> {
        self.state().clear(Io::Blocking).now()
    }

    /// [`clear`](Self::clear) for async functions.
    ///
    /// # Errors
    /// The backend failed: entries may still be served.
    pub async fn clear_async(&'static self) -> Result<(), Error> {
        self.state().clear(Io::Async).await
    }

    /// What the function has done so far.
    pub fn stats(&'static self) -> Stats {
        self.state().stats()
    }
}

/// A state: the process's own is not counted on a hit.
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
