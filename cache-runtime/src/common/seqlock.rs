//! A sequence lock: readers write nothing, and notice when a writer was active while they read.
//!
//! After Boehm, "Can seqlocks get along with programming language memory models?" (MSPC 2012). The guarded data are
//! atomics, read and written in any order. A reader that sees the same even version before and after has read what one
//! writer left.

use std::hint;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::sync::checked::{AtomicU64, fence, yield_now};

/// Odd while a writer is active; 0 before the first write.
#[derive(Default)]
pub(crate) struct Version(AtomicU64);

impl Version {
    /// Returns what `read` finds in the data, unless a writer was active meanwhile. `read` gets the version.
    ///
    /// Always inlined. Otherwise the result is returned through memory and read back in larger pieces than it was
    /// written in, which costs more than the rest.
    #[inline(always)]
    pub(crate) fn read<T>(&self, read: impl FnOnce(u64) -> Option<T>) -> Option<T> {
        let version = self.begin_read();
        let found = read(version)?;
        self.was_quiet_since(version).then_some(found)
    }

    /// The version before a read.
    #[inline(always)]
    pub(crate) fn begin_read(&self) -> u64 {
        self.0.load(Acquire)
    }

    /// Whether no writer was active since the read began.
    #[inline(always)]
    pub(crate) fn was_quiet_since(&self, version: u64) -> bool {
        // A reader that has seen new data must also see the new version.
        fence(Acquire);
        version.is_multiple_of(2) && self.0.load(Relaxed) == version
    }

    /// Runs `write` as the only writer. Spins, then yields, because a write takes nanoseconds.
    pub(crate) fn write(&self, write: impl Fn()) {
        let mut attempts = 0;
        while !self.try_write(&write) {
            attempts += 1;
            if attempts < 100 { hint::spin_loop() } else { yield_now() }
        }
    }

    /// Runs `write` unless another writer is active. Returns whether it ran.
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
