//! One run per key across processes: `single_flight = "cluster"`, with real processes on real servers.
//!
//! Bodies wait until the test tells them what to return, so the order of events is fixed. Leases use the machine's clock:
//! other processes notice the death of a holder only after real time has passed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use cache_runtime::{Backend, Memcached, Redis};
use cache_tests::servers::{MemcachedServer, Process, RedisServer};

/// How long to wait for anything on a machine that runs all tests at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// A holder without a heartbeat for this long loses its lease.
const LEASE: Duration = Duration::from_secs(2);

/// How much longer a busy machine may take.
const SLACK: Duration = Duration::from_secs(3);

/// Entries of `insert-stale` are stale after this time.
const STALE: Duration = Duration::from_millis(600);

/// A process that shares its cache with others; killed when dropped.
struct Member {
    child: Child,
    orders: ChildStdin,
    events: Receiver<String>,
}

impl Member {
    fn start(url: &str, kind: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_member"))
            .arg(kind)
            .env("CACHE_SHARED_URL", url)
            .env("CACHE_TIMEOUT", "2s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, events) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { orders: child.stdin.take().unwrap(), child, events }
    }

    fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// Its next line.
    fn says(&self) -> String {
        self.events.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no event: {error}"))
    }

    fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.says()
    }

    /// Fails if it says anything within `time`.
    fn is_silent(&self, time: Duration) {
        if let Ok(event) = self.events.recv_timeout(time) {
            panic!("unexpected: {event}");
        }
    }

    /// Waits until `count` calls have missed: by then they lead or wait, or are about to.
    fn until_misses(&mut self, count: u64) {
        until(|| self.ask("stats").split(' ').nth(1) == Some(&count.to_string()));
    }

    /// Begins a call that waits for a run in another process.
    fn waits(&mut self, key: u64) {
        self.tell(&format!("call {key} 1"));
        self.until_misses(1);
        self.is_silent(Duration::from_millis(100));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never comes");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The number of members that say something within `time`, each of them `event`.
fn say(members: &[Member], event: &str, time: Duration) -> usize {
    let start = Instant::now();
    let mut count = 0;
    for member in members {
        if let Ok(said) = member.events.recv_timeout(time.saturating_sub(start.elapsed())) {
            assert_eq!(said, event);
            count += 1;
        }
    }
    count
}

macro_rules! suite {
    ($module:ident, $server:ty, $backend:ty, $kind:literal) => {
        mod $module {
            use super::*;

            fn members<const N: usize>(server: &$server) -> [Member; N] {
                std::array::from_fn(|_| Member::start(&server.url(), $kind))
            }

            #[test]
            fn eight_processes_run_a_cold_key_once() {
                let server = <$server>::start();
                let mut members = members::<8>(&server);
                for member in &mut members {
                    member.tell("call 1 50");
                }
                let mut runs = 0;
                for member in &mut members {
                    // The line about its own run may come before the answer.
                    until(|| {
                        let mut said = member.ask("stats");
                        while said == "runs 1" {
                            runs += 1;
                            said = member.says();
                        }
                        said.starts_with("stats: 50 ")
                    });
                }
                for member in &mut members {
                    member.tell("give 7");
                }
                for member in &mut members {
                    let mut answers = 0;
                    while answers < 50 {
                        match member.says().as_str() {
                            "call = 7" => answers += 1,
                            "runs 1" => runs += 1,
                            other => panic!("unexpected: {other}"),
                        }
                    }
                }
                assert_eq!(runs, 1);
                let stores: u64 = members
                    .iter_mut()
                    .map(|member| member.ask("stats").rsplit(' ').next().unwrap().parse::<u64>().unwrap())
                    .sum();
                assert_eq!(stores, 1);
            }

            #[test]
            fn a_holder_that_lives_is_waited_for_and_one_that_was_killed_is_followed() {
                let server = <$server>::start();
                let [mut holder, mut other] = members(&server);
                assert_eq!(holder.ask("call 1 1"), "runs 1");
                other.waits(1);
                other.is_silent(LEASE + LEASE / 2);
                holder.child.kill().unwrap();
                let killed = Instant::now();
                assert_eq!(other.says(), "runs 1");
                assert!(killed.elapsed() < LEASE + LEASE / 2 + SLACK, "{:?}", killed.elapsed());
                assert_eq!(other.ask("give 3"), "call = 3");
                assert_eq!(other.ask("peek 1"), "peek: 3");
            }

            #[test]
            fn an_invalidation_elsewhere_fences_the_run_under_way() {
                for order in ["invalidate 1", "clear"] {
                    let server = <$server>::start();
                    let [mut holder, mut other, mut third] = members(&server);
                    assert_eq!(holder.ask("call 1 1"), "runs 1");
                    other.waits(1);
                    assert!(third.ask(order).ends_with(": ok"));
                    assert_eq!(other.says(), "runs 1", "who waits starts anew");
                    assert_eq!(holder.ask("give 1"), "call = 1");
                    assert_eq!(third.ask("peek 1"), "peek: none");
                    third.waits(1);
                    assert_eq!(other.ask("give 2"), "call = 2");
                    assert_eq!(third.says(), "call = 2");
                    // Other processes see a clear within half a second.
                    until(|| holder.ask("peek 1") == "peek: 2");
                }
            }

            #[test]
            fn calls_after_an_invalidation_elsewhere_dont_join_the_run_under_way() {
                let server = <$server>::start();
                let [mut holder, mut other] = members(&server);
                assert_eq!(holder.ask("call 1 1"), "runs 1");
                assert_eq!(other.ask("invalidate 1"), "invalidate: ok");
                assert_eq!(holder.ask("call 1 1"), "runs 1", "in the process of the old run");
                holder.tell("call 1 1");
                holder.until_misses(3);
                holder.tell("give 1");
                for _ in 0..3 {
                    assert_eq!(holder.says(), "call = 1");
                }
                assert_eq!(holder.ask("stats"), "stats: 3 2 1 1");
            }

            #[test]
            fn an_insert_elsewhere_answers_who_waits_and_stays() {
                let server = <$server>::start();
                let [mut holder, mut other, mut third] = members(&server);
                assert_eq!(holder.ask("call 1 1"), "runs 1");
                other.waits(1);
                assert_eq!(third.ask("insert 1 5"), "insert: ok");
                assert_eq!(other.says(), "call = 5");
                assert_eq!(holder.ask("give 1"), "call = 1");
                assert_eq!(holder.ask("stats"), "stats: 1 1 0 0");
                assert_eq!(holder.ask("peek 1"), "peek: 5");
            }

            #[test]
            fn without_the_server_all_who_wait_are_answered() {
                for fail in [Process::kill as fn(&mut Process), |server| server.freeze()] {
                    let mut server = <$server>::start();
                    let [mut holder, mut other] = members(&server);
                    assert_eq!(holder.ask("call 1 1"), "runs 1");
                    other.waits(1);
                    fail(&mut server);
                    assert_eq!(other.says(), "runs 1");
                    assert_eq!(other.ask("give 2"), "call = 2");
                    assert_eq!(holder.ask("give 1"), "call = 1");
                }
            }

            #[test]
            fn when_a_run_fails_those_who_waited_run_at_the_same_time() {
                let server = <$server>::start();
                let [mut holder, first, second] = members(&server);
                let mut others = [first, second];
                assert_eq!(holder.ask("call 1 1"), "runs 1");
                others.iter_mut().for_each(|other| other.waits(1));
                assert_eq!(holder.ask("fail"), "call = on purpose");
                for other in &others {
                    assert_eq!(other.says(), "runs 1");
                }
                for other in &mut others {
                    assert_eq!(other.ask("give 4"), "call = 4");
                }
            }

            /// Although the holder's process ends right after its call.
            #[test]
            fn a_run_that_stores_nothing_leaves_nobody_waiting() {
                let server = <$server>::start();
                for (order, result) in [("large", "large = 4096"), ("absent", "absent = 0")] {
                    let url = format!("{}?max_value=2KiB", server.url());
                    let [mut holder, first, second] = std::array::from_fn(|_| Member::start(&url, $kind));
                    let mut others = [first, second];
                    assert_eq!(holder.ask(&format!("{order} 1")), "runs 1");
                    for other in &mut others {
                        other.tell(&format!("{order} 1"));
                        other.is_silent(LEASE / 8);
                    }
                    assert_eq!(holder.ask("give 1"), result);
                    drop(holder);
                    assert_eq!(say(&others, "runs 1", LEASE / 2), 2, "{order}: at the same time");
                    for other in &mut others {
                        assert_eq!(other.ask("give 1"), result);
                    }
                }
            }

            #[test]
            fn when_a_run_panics_one_of_those_who_waited_follows() {
                let server = <$server>::start();
                let [mut holder, first, second] = members(&server);
                let mut others = [first, second];
                assert_eq!(holder.ask("call 1 1"), "runs 1");
                others.iter_mut().for_each(|other| other.waits(1));
                holder.tell("panic");
                until(|| say(&others, "runs 1", LEASE / 4) == 1);
                assert_eq!(say(&others, "runs 1", LEASE / 4), 0, "the other waits for it");
                others.iter_mut().for_each(|other| other.tell("give 4"));
                assert_eq!(say(&others, "call = 4", PATIENCE), 2);
            }

            #[test]
            fn calls_after_a_failed_run_start_anew() {
                let server = <$server>::start();
                let [mut holder, mut other] = members(&server);
                holder.tell("fail");
                assert_eq!(holder.ask("call 1 1"), "runs 1");
                assert_eq!(holder.says(), "call = on purpose");
                other.tell("give 4");
                assert_eq!(other.ask("call 1 1"), "runs 1");
                assert_eq!(other.says(), "call = 4");
                // A call made before the lease was released ran the body without it, and stored nothing.
                until(|| other.ask("call 1 1") == "call = 4" || other.says().is_empty());
                assert_eq!(holder.ask("peek 1"), "peek: 4");
            }

            #[test]
            fn nothing_is_left_behind() {
                let server = <$server>::start();
                let [mut member] = members(&server);
                assert_eq!(member.ask("call 1 1"), "runs 1");
                until(|| member.ask("background") == "background: true");
                let key = member.ask("key 1");
                let backend = <$backend>::from_url(&server.url()).unwrap();
                let lies = || {
                    let soon = Instant::now() + PATIENCE;
                    Backend::get(&backend, key["key: ".len()..].as_bytes(), soon).unwrap()
                };
                assert!(lies().is_some());
                assert_eq!(member.ask("fail"), "call = on purpose");
                until(|| lies().is_none());
                until(|| member.ask("background") == "background: false");
            }

            #[test]
            fn refreshes_share_the_next_run_and_the_old_value_is_served_meanwhile() {
                let server = <$server>::start();
                let [mut holder, mut reader, one, another] = members(&server);
                assert_eq!(holder.ask("insert 1 5"), "insert: ok");
                assert_eq!(holder.ask("refresh 1"), "runs 1");
                // What the holder's run has read may be too old for these.
                let mut later = [one, another];
                for member in &mut later {
                    member.tell("refresh 1");
                    member.is_silent(LEASE + LEASE / 2);
                }
                assert_eq!(reader.ask("call 1 1"), "call = 5");
                assert_eq!(reader.ask("peek 1"), "peek: 5");
                assert_eq!(holder.ask("give 6"), "refresh = 6");
                let runs = |member: &Member| {
                    member.events.recv_timeout(LEASE / 2).is_ok_and(|said| said == "runs 1")
                };
                let leader = later.iter().position(runs).expect("one of them runs");
                assert_eq!(reader.ask("call 1 1"), "call = 6");
                later.iter().for_each(|member| member.is_silent(LEASE / 4));
                later[leader].tell("give 7");
                later.iter().for_each(|member| assert_eq!(member.says(), "refresh = 7"));
                assert_eq!(reader.ask("call 1 1"), "call = 7");
            }

            #[test]
            fn one_process_renews_what_is_stale() {
                let server = <$server>::start();
                let [mut holder, mut other] = members(&server);
                assert_eq!(other.ask("insert-stale 1 5"), "insert: ok");
                thread::sleep(STALE);
                // The call returns the stale value at once, while the background runs the body.
                let mut said = [holder.ask("stale 1"), holder.says()];
                said.sort();
                assert_eq!(said, ["runs 1", "stale = 5"]);
                let silent = |other: &mut Member| assert_eq!(other.ask("stale 1"), "stale = 5");
                let start = Instant::now();
                while start.elapsed() < LEASE + LEASE / 2 {
                    silent(&mut other);
                    thread::sleep(Duration::from_millis(50));
                }
                holder.child.kill().unwrap();
                let killed = Instant::now();
                until(|| {
                    let mut said = other.ask("stale 1");
                    if said == "runs 1" {
                        said = other.says();
                        assert_eq!(said, "stale = 5");
                        return true;
                    }
                    assert_eq!(said, "stale = 5");
                    false
                });
                assert!(killed.elapsed() < LEASE + LEASE / 2 + SLACK, "{:?}", killed.elapsed());
                other.tell("give 6");
                until(|| other.ask("stale 1") == "stale = 6");
            }

            #[test]
            fn a_refresh_that_fails_leaves_the_old_value() {
                let server = <$server>::start();
                let [mut holder, mut other] = members(&server);
                assert_eq!(holder.ask("insert 1 5"), "insert: ok");
                assert_eq!(holder.ask("refresh 1"), "runs 1");
                other.tell("refresh 1");
                other.is_silent(LEASE / 4);
                assert_eq!(holder.ask("fail"), "refresh = on purpose");
                assert_eq!(other.says(), "runs 1");
                assert_eq!(other.ask("peek 1"), "peek: 5");
                assert_eq!(other.ask("give 6"), "refresh = 6");
                assert_eq!(holder.ask("call 1 1"), "call = 6");
            }
        }
    };
}

suite!(redis_blocking, RedisServer, Redis, "blocking");
suite!(redis_async, RedisServer, Redis, "async");
suite!(memcached_blocking, MemcachedServer, Memcached, "blocking");
suite!(memcached_async, MemcachedServer, Memcached, "async");

#[test]
fn a_cancelled_run_is_followed() {
    let server = RedisServer::start();
    let [mut holder, mut other] = std::array::from_fn(|_| Member::start(&server.url(), "async"));
    assert_eq!(holder.ask("call 1 1"), "runs 1");
    other.waits(1);
    holder.tell("cancel");
    assert_eq!(other.says(), "runs 1");
    assert_eq!(other.ask("give 2"), "call = 2");
    assert_eq!(holder.ask("call 1 1"), "call = 2");
}

#[test]
fn a_lease_is_a_miss_to_others() {
    let server = RedisServer::start();
    let [mut holder, mut other] = std::array::from_fn(|_| Member::start(&server.url(), "blocking"));
    assert_eq!(holder.ask("call 1 1"), "runs 1");
    assert_eq!(other.ask("peek 1"), "peek: none");
    assert_eq!(other.ask("loner 1"), "loner 1");
    assert_eq!(other.says(), "loner = 1");
    assert_eq!(holder.ask("give 2"), "call = 2");
    assert_eq!(holder.ask("peek 1"), "peek: 1", "what was stored meanwhile is newer");
}

#[test]
fn runs_that_wait_for_each_other_in_a_circle_end() {
    circle(false);
}

#[test]
fn runs_that_wait_for_each_other_through_other_calls_end() {
    circle(true);
}

fn circle(through_others: bool) {
    let server = RedisServer::start();
    let [mut first, mut second] = std::array::from_fn(|_| Member::start(&server.url(), "blocking"));
    assert_eq!(first.ask("nested 1 2"), "runs 1");
    assert_eq!(second.ask("nested 2 1"), "runs 2");
    if through_others {
        // The inner calls will wait for these calls, which are not part of a run.
        first.tell("nested 2 0");
        second.tell("nested 1 0");
        first.is_silent(LEASE / 4);
        second.is_silent(LEASE / 4);
    }
    let start = Instant::now();
    for member in [&mut first, &mut second] {
        member.tell("give 0");
    }
    for member in [&mut first, &mut second] {
        for _ in 0..1 + usize::from(through_others) {
            until(|| member.says().starts_with("nested = "));
        }
    }
    assert!(start.elapsed() < 3 * LEASE, "{:?}", start.elapsed());
}

/// Four processes call as fast as they can, and one of them also changes the data and invalidates. A call that begins
/// after an invalidation has returned never gets a value from before it.
#[test]
fn no_value_outlives_its_invalidation() {
    let dir = std::env::temp_dir().join(format!("cache-tests-churn-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let redis = RedisServer::start();
    let memcached = MemcachedServer::start();
    let servers = [redis.url(), memcached.url()];
    for (url, kind) in servers.iter().flat_map(|url| [(url, "blocking"), (url, "async")]) {
        for file in ["truth", "known"] {
            std::fs::write(dir.join(file), "0").unwrap();
        }
        let mut members: [Member; 4] = std::array::from_fn(|_| Member::start(url, kind));
        for (index, member) in members.iter_mut().enumerate() {
            let role = if index == 0 { "writer" } else { "reader" };
            member.tell(&format!("churn {role} 2 {}", dir.display()));
        }
        for member in &members {
            let said = member.says();
            assert!(said.starts_with("churned "), "{said}");
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
