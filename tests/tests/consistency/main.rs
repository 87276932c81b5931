//! No call gets a wrong answer: not from another process, another build of the application, or another function, and
//! not from before an invalidation.

mod deploy;
mod failed_writes;
mod golden;
#[cfg(all(feature = "servers", target_os = "linux"))]
mod history;
#[cfg(feature = "servers")]
mod invalidation;
#[cfg(feature = "servers")]
mod processes;
#[cfg(feature = "servers")]
mod races;
