//! What belongs to one process.
//!
//! `fork` copies memory and shares sockets, but copies only one thread. So a child has locks whose owners it lacks, runs that
//! nobody in it leads, and connections that its parent goes on using.
//!
//! **Everything that holds a lock, a thread or a socket is in a [`PerProcess`], or in something that is.** A child makes its
//! own at first use. It doesn't drop the parent's, because dropping a socket removes it from the poller that both share.
//! Things that end with an action, such as the lead of a run, hold a [`Process`] and leave that action to the parent.

use std::mem;
use std::sync::OnceLock;

/// The mark of a process. A child recognizes its parent's as another's with a load and a comparison; asking for the process
/// id is a system call.
#[derive(Clone)]
pub(crate) struct Process(Option<forkguard::Guard>);

impl Process {
    pub(crate) fn current() -> Self {
        // Fails only if there is no memory for the handler that notices forks.
        Self(forkguard::Guard::try_new().ok())
    }

    /// Whether this is the process that made the mark.
    #[inline]
    pub(crate) fn is_current(&self) -> bool {
        !self.0.clone().is_some_and(|mut guard| guard.detected_fork())
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::current()
    }
}

/// A value for each process that asks for one.
///
/// Values are only appended, so nobody waits here for a thread that may be the parent's.
pub(crate) struct PerProcess<T>(OnceLock<Node<T>>);

struct Node<T> {
    process: Process,
    value: T,
    /// The value of a child, and those of its children.
    child: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The value of this process, if it has one.
    #[inline]
    pub(crate) fn existing(&self) -> Option<&T> {
        let mut node = self.0.get()?;
        while !node.process.is_current() {
            node = node.child.get()?;
        }
        Some(&node.value)
    }

    /// The value of this process. `make` makes it at first use, and gets the parent's if there is one.
    #[inline]
    pub(crate) fn get(&self, make: impl FnOnce(Option<&T>) -> T) -> &T {
        match self.0.get() {
            Some(node) if node.process.is_current() => &node.value,
            Some(node) => node.get_in_child(make),
            None => {
                // Made first: `get_or_init` would make the others wait, also those of a child.
                let made = Node::new(make(None));
                &self.0.get_or_init(|| made).value
            }
        }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Node<T> {
    fn new(value: T) -> Self {
        Self { process: Process::current(), value, child: OnceLock::new() }
    }

    fn get_in_child(&self, make: impl FnOnce(Option<&T>) -> T) -> &T {
        match self.child.get() {
            Some(node) if node.process.is_current() => &node.value,
            Some(node) => node.get_in_child(make),
            None => {
                let made = Box::new(Self::new(make(Some(&self.value))));
                &self.child.get_or_init(|| made).value
            }
        }
    }

    /// Drops the values of this process only.
    fn release(mut self) {
        if let Some(child) = self.child.take() {
            child.release();
        }
        if !self.process.is_current() {
            mem::forget(self);
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if let Some(node) = self.0.take() {
            node.release();
        }
    }
}
