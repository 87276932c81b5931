//! Messages about what keeps a cache from working.

use std::fmt::Arguments;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{Level, LevelFilter};

/// Reports in the log. A program that logs nothing gets the first report on standard error instead: a cache that stores nothing
/// otherwise looks like one that works.
#[expect(clippy::print_stderr, reason = "there is nowhere else to say it")]
pub(crate) fn report(level: Level, message: Arguments<'_>) {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    log::log!(level, "{message}");
    if log::max_level() == LevelFilter::Off && !IS_TOLD.swap(true, Ordering::Relaxed) {
        eprintln!(
            "{message}\nFor more, install a logger for the crate `log`, and call `cache_runtime::check()` at start-up."
        );
    }
}
