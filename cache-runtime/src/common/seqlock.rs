//! What tells a reader, who writes nothing, that somebody wrote while it read.
//!
//! As in Boehm, "Can seqlocks get along with programming language memory models?" (MSPC 2012). The data beside it are
//! atomics, read and written in any order: whoever sees one even version before and after has read what one writer left.

use std::hint;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
#[cfg(not(shuttle))]
use std::sync::atomic::{AtomicU64, fence};
#[cfg(not(shuttle))]
use std::thread;

#[cfg(shuttle)]
use shuttle::sync::atomic::{AtomicU64, fence};
#[cfg(shuttle)]
use shuttle::thread;

/// Odd while somebody writes; 0 before the first.
#[derive(Default)]
pub(crate) struct Version(AtomicU64);

impl Version {
    /// What `read` finds in the data of the version that it is told, unless somebody writes meanwhile. Always inlined,
    /// because what is returned by way of memory is read in larger pieces than it was written in, which takes longer than
    /// all of this.
    #[inline(always)]
    pub(crate) fn read<T>(&self, read: impl FnOnce(u64) -> Option<T>) -> Option<T> {
        let version = self.0.load(Acquire);
        let found = read(version)?;
        // Whoever has seen something new sees that there was a change.
        fence(Acquire);
        (version.is_multiple_of(2) && self.0.load(Relaxed) == version).then_some(found)
    }

    /// Lets `write` write the data, alone. Writers are done in some nanoseconds, unless they are not running.
    pub(crate) fn write(&self, write: impl Fn()) {
        let mut attempts = 0;
        while !self.try_write(&write) {
            attempts += 1;
            if attempts < 100 { hint::spin_loop() } else { thread::yield_now() }
        }
    }

    /// As [`write`](Self::write), unless somebody else does; returns whether.
    pub(crate) fn try_write(&self, write: impl FnOnce()) -> bool {
        let version = self.0.load(Relaxed);
        let is_mine = version.is_multiple_of(2)
            && self.0.compare_exchange(version, version + 1, Acquire, Relaxed).is_ok();
        if is_mine {
            fence(Release);
            write();
            self.0.store(version.wrapping_add(2), Release);
        }
        is_mine
    }
}
