//! The environment's settings, as a process of its own sees them.

use std::ffi::OsStr;
use std::process::Command;

/// Runs the program with these variables and steps; its standard output.
fn run<T: AsRef<OsStr>>(variables: &[(&str, T)], steps: &[&str]) -> String {
    let [out, err] = run_for_both(variables, steps);
    assert_eq!(err, "", "the log has said it");
    out
}

/// The same, with its standard error.
fn run_for_both<T: AsRef<OsStr>>(variables: &[(&str, T)], steps: &[&str]) -> [String; 2] {
    let mut command = Command::new(env!("CARGO_BIN_EXE_configured"));
    command.env_clear().envs(variables.iter().map(|(name, value)| (name, value))).args(steps);
    let output = command.output().unwrap();
    let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{}", texts[1]);
    texts
}

#[track_caller]
fn assert_has(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "no `{part}` in:\n{output}");
    }
}

#[test]
fn an_alias_comes_from_its_variable() {
    let output = run(&[("CACHE_SESSIONS_URL", "memory://?prefix=app:")], &["check", "calls"]);
    assert_has(&output, &["check: ok", "runs: 1 1", "errors: 0 0", "key: app:configured::session:0:"]);
}

#[test]
fn an_unknown_alias_names_its_variable_and_bodies_run() {
    assert_has(&run::<&str>(&[], &["check", "known", "check"]), &["check: ok", "check: 1 wrong"]);
    let output = run::<&str>(&[], &["calls", "check"]);
    assert_has(
        &output,
        &[
            "runs: 3 1",
            "errors: 3 0",
            "check: 1 wrong",
            "no backend is named `sessions`: set CACHE_SESSIONS_URL",
        ],
    );
    assert_eq!(output.matches("ERROR").count(), 1, "misuse is logged once:\n{output}");
}

#[test]
fn one_variable_serves_all_aliases_that_have_none() {
    let all = ("CACHE_URL", "memory://?prefix=all:");
    assert_has(&run(&[all], &["calls"]), &["runs: 1 1", "key: all:configured::session:0:"]);
    let output = run(&[all, ("CACHE_SESSIONS_URL", "memory://?prefix=own:")], &["calls"]);
    assert_has(&output, &["runs: 1 1", "key: own:configured::session:0:"]);
    let output = run(&[("CACHE_URL", "reddis://host")], &["calls"]);
    assert_has(&output, &["runs: 3 1", "(CACHE_URL"]);
}

#[test]
fn a_program_without_a_logger_says_it_once() {
    for variables in [&[][..], &[("CACHE_BACKEND", "reddis")]] {
        let [_, err] = run_for_both(variables, &["silent", "calls", "calls"]);
        assert_has(&err, &["session is not cached: wrong cache configuration: ", "cache_runtime::check()"]);
        assert_eq!(err.lines().count(), 2, "{err}");
    }
    let [_, err] = run_for_both(&[("CACHE_BACKEND", "memory")], &["silent", "calls"]);
    assert_eq!(err, "");
}

#[cfg(feature = "servers")]
#[test]
fn a_server_that_is_not_there_is_said_too() {
    let nobody = ("CACHE_SESSIONS_URL", "redis://127.0.0.1:1");
    for steps in [["silent", "calls"], ["silent", "check"]] {
        let [_, err] = run_for_both(&[nobody], &steps);
        assert_has(&err, &["unavailable", "redis://127.0.0.1:1", "cache_runtime::check()"]);
        assert_eq!(err.lines().count(), 2, "{err}");
    }
}

#[test]
fn memory_for_all_needs_no_url() {
    let output = run(&[("CACHE_BACKEND", "memory")], &["calls", "check"]);
    assert_has(&output, &["runs: 1 1", "errors: 0 0", "check: ok"]);
}

#[test]
fn the_kill_switch_runs_bodies() {
    for off in ["0", "false", "off", "no"] {
        let output = run(&[("CACHE_ENABLED", off), ("CACHE_BACKEND", "memory")], &["calls"]);
        assert_has(&output, &["runs: 3 3", "errors: 0 0"]);
    }
    assert_has(&run(&[("CACHE_ENABLED", "1"), ("CACHE_BACKEND", "memory")], &["calls"]), &["runs: 1 1"]);
}

#[test]
fn a_bad_variable_is_named_and_bodies_run() {
    // What is wrong with servers leaves memory alone.
    for (name, text, runs) in [
        ("CACHE_TIMEOUT", "soon", "runs: 3 1"),
        ("CACHE_DEFAULT_TTL", "0", "runs: 3 3"),
        ("CACHE_ENABLED", "maybe", "runs: 3 3"),
        ("CACHE_BACKEND", "redis://:s3cret@h", "runs: 3 1"),
    ] {
        let variables = [(name, text), ("CACHE_SESSIONS_URL", "memory://"), ("CACHE_OTHER_URL", "memory://")];
        let output = run(&variables, &["check", "calls", "check"]);
        assert_has(&output, &["the value is not", &format!("({name}"), runs]);
        assert_eq!(output.matches("check: 1 wrong").count(), 2, "listed once:\n{output}");
        assert!(!output.contains("s3cret"), "{output}");
    }
}

#[test]
fn every_mistake_is_listed_beside_a_common_one() {
    let variables = [("CACHE_TIMEOUT", "soon"), ("CACHE_SESSIONS_URL", "memory://?speed=1")];
    assert_has(&run(&variables, &["check"]), &["check: 2 wrong", "(CACHE_TIMEOUT)", "(CACHE_SESSIONS_URL)"]);
}

#[test]
fn a_url_of_another_purpose_is_a_mistake_once_a_function_uses_it() {
    let other = "https://me:s3cret@h/api?flag&flag";
    let output =
        run(&[("CACHE_SERVICE_URL", other), ("CACHE_SESSIONS_URL", "memory://")], &["calls", "check"]);
    assert_has(&output, &["runs: 1 1", "WARN: CACHE_SERVICE_URL ", "check: ok"]);
    let unused = run(&[("CACHE_SESSIONS_URL", other)], &["check"]);
    assert_has(&unused, &["WARN: CACHE_SESSIONS_URL ", "unknown URL scheme `https://`", "check: ok"]);
    assert_has(&run(&[("CACHE_SESSIONS_URL", other)], &["known", "check"]), &["check: 1 wrong"]);
    let used = run(&[("CACHE_SESSIONS_URL", other)], &["calls", "check"]);
    let message = "unknown URL scheme `https://`; known are `redis`, `rediss`, `redis+cluster`, `redis+sentinel`, `unix`, `memcached`, `memcacheds` and `memory` (CACHE_SESSIONS_URL";
    assert_has(&used, &["runs: 3 1", "check: 1 wrong", message]);
    assert!(![output, unused, used].concat().contains("s3cret"));
    assert_has(&run(&[("CACHE_REDIS_URL", other)], &["check"]), &["check: 1 wrong", "(CACHE_REDIS_URL)"]);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let value = |text: &'static [u8]| OsStr::from_bytes(text);
    for (name, runs) in [
        ("CACHE_PREFIX", "runs: 3 1"),
        ("CACHE_ENABLED", "runs: 3 3"),
        ("CACHE_SESSIONS_URL", "runs: 3 1"),
        ("CACHE_REDIS_URL", "runs: 1 1"),
        ("REDIS_URL", "runs: 1 1"),
    ] {
        // Without the feature that variable is somebody else's.
        if name == "REDIS_URL" && !cfg!(feature = "servers") {
            continue;
        }
        let variables = [("CACHE_SESSIONS_URL", value(b"memory://")), (name, value(b"memory://\xff"))];
        let output = run(&variables, &["check", "calls"]);
        assert_has(&output, &["check: 1 wrong", &format!("not UTF-8 ({name}"), runs]);
    }
}

#[test]
fn white_space_around_a_variable_is_not_part_of_it() {
    let variables = [
        ("CACHE_SESSIONS_URL", "\n memory://?capacity=10 \r\n"),
        ("CACHE_PREFIX", "env:\n"),
        ("CACHE_TIMEOUT", "1s\n"),
        ("CACHE_ENABLED", "1\n"),
        ("CACHE_OTHER_URL", " \n"),
        ("CACHE_BACKEND", "\n"),
    ];
    let output = run(&variables, &["check", "calls"]);
    assert_has(&output, &["check: ok", "runs: 1 1", "key: env:configured::session:0:"]);
}

#[test]
fn a_bad_url_is_named_without_its_password() {
    for (url, message) in [
        (
            "memory://:s3cret@h?speed=1",
            "unknown URL parameter `speed` for `memory://`; known are `prefix`, `ttl`, `codec`, `timeout`, `capacity`, `max_bytes`",
        ),
        ("memory://:s3cret@h?capacity=many", "`capacity=many` is not a number of entries"),
        ("memory://:s3cret@h?timeout=0", "`timeout=0` is not a duration"),
        ("redis//:s3cret@h", "no `scheme://`"),
        ("redis:user:s3cret", "no `scheme://`"),
        ("redis://user:s3cret/0", "a bad host or port"),
        ("redis://u:s3cret?x@h", "an `@` after a `?`"),
        ("memory://:s3cret@h:99999", "a bad host or port"),
    ] {
        let output = run(&[("CACHE_SESSIONS_URL", url)], &["check", "calls"]);
        assert_has(&output, &["check: 1 wrong", message, "(CACHE_SESSIONS_URL", "runs: 3 1"]);
        assert!(!output.contains("s3cret"), "{output}");
    }
}

#[test]
fn code_wins_over_the_environment_and_comes_first_or_never() {
    let variables = [("CACHE_SESSIONS_URL", "nonsense"), ("CACHE_PREFIX", "env:")];
    let output = run(&variables, &["install", "check", "calls"]);
    assert_has(&output, &["install: Ok", "check: ok", "runs: 1 1", "key: code:configured::session:0:"]);
    for name in ["CACHE_MEMORY_URL", "CACHE_OTHER_URL"] {
        assert_has(&run(&[(name, "memory://?speed=1")], &["install"]), &["install: Err", "`speed`", name]);
    }
    for url in ["gopher://other/program", "memory://"] {
        assert_has(&run(&[("CACHE_OTHER_URL", url)], &["install"]), &["install: Ok"]);
    }
    // Perhaps only another library reads it.
    assert_has(&run(&[("REDIS_URL", "redis://h?speed=1")], &["install"]), &["install: Ok"]);
    let output = run(&[("CACHE_BACKEND", "memory")], &["calls", "install"]);
    assert_has(&output, &["runs: 1 1", "install: Err", "install them once, before the first use of a cache"]);
}

#[test]
fn the_prefix_comes_from_the_environment() {
    let output = run(&[("CACHE_SESSIONS_URL", "memory://"), ("CACHE_PREFIX", "env:")], &["calls"]);
    assert_has(&output, &["key: env:configured::session:0:"]);
}

#[cfg(feature = "servers")]
mod servers {
    use super::*;
    use cache_tests::servers::RedisServer;

    #[test]
    fn a_wrong_password_is_misuse_and_a_dead_server_is_not() {
        let server = RedisServer::start();
        let url = server.url().replace("redis://", "redis://:s3cret@");
        let output = run(&[("CACHE_SESSIONS_URL", &url)], &["check", "calls"]);
        assert_has(&output, &["check: 1 wrong", "cache denied access", "runs: 1 1", "errors: 3 0"]);
        assert!(!output.contains("s3cret"), "{output}");

        let url = server.url();
        drop(server);
        let output = run(&[("CACHE_SESSIONS_URL", &url)], &["check", "calls"]);
        assert_has(&output, &["WARN: cache backend `sessions`: cache unavailable", "check: ok", "runs: 1 1"]);
    }

    #[test]
    fn a_database_that_is_not_there_is_misuse() {
        let server = RedisServer::start();
        for url in [format!("{}/99", server.url()), format!("{}?db=99", server.url())] {
            let output = run(&[("CACHE_SESSIONS_URL", &url)], &["check", "calls"]);
            assert_has(&output, &["check: 1 wrong", "cache denied access", "the database", "errors: 3 0"]);
            assert_eq!(output.matches("ERROR").count(), 1, "logged once:\n{output}");
        }
    }

    #[test]
    fn the_common_variables_name_the_built_in_backends() {
        let server = RedisServer::start();
        let good = server.url();
        let bad = "redis://127.0.0.1:1?speed=1";
        for (variables, expected) in [
            (vec![("REDIS_URL", good.as_str())], "check: ok"),
            (vec![("REDIS_URL", bad)], "(REDIS_URL)"),
            (vec![("REDIS_URL", bad), ("CACHE_REDIS_URL", good.as_str())], "check: ok"),
            (
                vec![("CACHE_REDIS_URL", bad)],
                "`prefix`, `ttl`, `codec`, `timeout`, `pool`, `max_value`, `db` (CACHE_REDIS_URL)",
            ),
            (vec![("MEMCACHED_URL", "memcached://127.0.0.1:1?speed=1")], "(MEMCACHED_URL)"),
        ] {
            assert_has(&run(&variables, &["check"]), &[expected]);
        }
    }
}
