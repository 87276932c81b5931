//! Messages about what only a person can fix.

use std::fmt::Arguments;
use std::sync::atomic::{AtomicBool, Ordering};

use log::LevelFilter;

/// Reports an error in the log. A program that logs nothing gets the first one on standard error instead: a cache that
/// stores nothing otherwise looks like one that works.
#[expect(clippy::print_stderr, reason = "there is nowhere else to say it")]
pub(crate) fn report(message: Arguments<'_>) {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    log::error!("{message}");
    if log::max_level() == LevelFilter::Off && !IS_TOLD.swap(true, Ordering::Relaxed) {
        eprintln!(
            "{message}\nFor more, install a logger for the crate `log`, and call `cache_runtime::check()` at start-up."
        );
    }
}
