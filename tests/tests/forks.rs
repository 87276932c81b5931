//! A child of `fork` is a process of its own: it repeats no token, shares no connection, and waits for no thread that only
//! its parent has.
//!
//! The scenes are in `src/bin/forks.rs`, because only a process without the test harness's threads can fork at will.
#![cfg(all(feature = "servers", unix))]

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cache_tests::servers::{MemcachedServer, RedisServer};

/// How long a scene may take on a machine that runs all tests at once.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process and its children, which are killed if it doesn't end in time.
struct Scene {
    process: Child,
}

impl Scene {
    fn start(name: &str, url: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forks"));
        // A budget that a busy machine keeps, so that every failure counts.
        command.arg(name).env("CACHE_SHARED_URL", url).env("CACHE_TIMEOUT", "5s");
        Self { process: command.stdout(Stdio::piped()).process_group(0).spawn().unwrap() }
    }

    fn wait_for_line(&mut self) {
        let output = self.process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut String::new()).unwrap();
    }

    fn ends_well(mut self) {
        let started = Instant::now();
        let status = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status,
                None if started.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
                None => panic!("it hangs"),
            }
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // An error means that all of them have ended.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}

macro_rules! scenes {
    ($($module:ident, $server:ty;)*) => {
        $(mod $module {
            use super::*;

            fn play(name: &str) {
                let server = <$server>::start();
                Scene::start(name, &server.url()).ends_well();
            }

            #[test]
            fn tokens_differ() {
                play("tokens");
            }

            #[test]
            fn outages_end_in_children_too() {
                let mut server = <$server>::start();
                server.kill();
                let mut scene = Scene::start("outage", &server.url());
                scene.wait_for_line();
                server.restart();
                scene.ends_well();
            }

            #[test]
            fn connections_are_not_shared() {
                play("connections");
            }

            #[test]
            fn runs_of_other_threads_are_not_awaited() {
                play("runs");
            }

            #[test]
            fn nothing_of_other_threads_is_needed() {
                play("threads");
            }

            #[test]
            fn a_run_belongs_to_the_process_that_began_it() {
                play("inside");
            }

            #[test]
            fn children_draw_other_numbers() {
                play("dice");
            }
        })*
    };
}

scenes! {
    redis, RedisServer;
    memcached, MemcachedServer;
}

#[test]
fn children_renew_in_the_background() {
    Scene::start("renewals", "memory://").ends_well();
}

#[test]
fn entries_in_memory_are_inherited() {
    Scene::start("memory", "memory://").ends_well();
}
