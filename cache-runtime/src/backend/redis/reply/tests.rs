use super::fuzz::value;
use super::*;
use crate::net::read_buffer::ReadBuffer;

fn parsed(bytes: &[u8]) -> Result<Option<Resp>, ErrorKind> {
    let mut buffer = ReadBuffer::default();
    buffer.space()[..bytes.len()].copy_from_slice(bytes);
    buffer.fill(bytes.len());
    buffer.take(parse).map_err(|error| error.kind())
}

fn parsed_value(text: &str) -> Result<Option<Value>, ErrorKind> {
    parsed(text.as_bytes()).map(|resp| resp.map(value))
}

#[test]
fn answers_are_read_as_redis_rs_reads_them() {
    for text in [
        "+OK\r\n",
        "+PONG\r\n",
        ":-7\r\n",
        "-ERR no\r\n",
        "-NOAUTH Authentication required.\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "$4\r\n\r\n\r\n\r\n",
        "*0\r\n",
        "*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n",
    ] {
        let theirs = parse_redis_value(text.as_bytes()).unwrap();
        assert_eq!(parsed_value(text), Ok(Some(theirs)), "{text}");
        for end in 0..text.len() {
            assert_eq!(parsed(&text.as_bytes()[..end]), Ok(None), "{text} up to {end}");
        }
    }
}

#[test]
fn one_answer_at_a_time() {
    let first = Resp::Bulk(Some(Bytes::from_static(b"a")));
    assert_eq!(parsed(b"$1\r\na\r\n$1\r\nb\r\n"), Ok(Some(first)));
}

#[test]
fn small_values_share_memory_and_large_ones_do_not() {
    for (len, shared) in [(10, true), (SHARED, false)] {
        let one = format!("${len}\r\n{}\r\n", "x".repeat(len));
        let mut buffer = ReadBuffer::default();
        for byte in format!("*2\r\n{one}{one}").bytes() {
            buffer.space()[0] = byte;
            buffer.fill(1);
        }
        let Ok(Some(Resp::Array(values))) = buffer.take(parse) else { panic!("two values") };
        let [Some(first), Some(second)] = values.as_slice() else { panic!("two values") };
        assert_eq!((first.len(), second), (len, first));
        // One behind the other, with a line between.
        let next = first.as_ptr().wrapping_add(one.len());
        assert_eq!(second.as_ptr() == next, shared);
    }
}

#[test]
fn other_bytes_are_refused() {
    for text in
        ["x\r\n", "\r\n", "$x\r\n", "$-2\r\n", "*-2\r\n", ":x\r\n", "$1\r\nabc", "*1\r\n:1\r\n", "%0\r\n"]
    {
        assert_eq!(parsed(text.as_bytes()), Err(ErrorKind::Protocol), "{text}");
    }
}

fn answer(line: &str) -> Result<Value, RedisError> {
    parse_redis_value(line.as_bytes())
}

#[test]
fn errors_have_their_kinds() {
    for (line, kind) in [
        ("-NOAUTH Authentication required.\r\n", ErrorKind::Denied),
        ("-WRONGPASS invalid username-password pair or user is disabled.\r\n", ErrorKind::Denied),
        ("-NOPERM this user has no permissions\r\n", ErrorKind::Denied),
        ("-DENIED Redis is running in protected mode\r\n", ErrorKind::Denied),
        ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", ErrorKind::Server),
        ("-READONLY You can't write against a read only replica.\r\n", ErrorKind::Server),
        ("-LOADING Redis is loading the dataset in memory\r\n", ErrorKind::Server),
        ("-ERR unknown command\r\n", ErrorKind::Server),
        ("HTTP/1.1 400 Bad Request\r\n", ErrorKind::Protocol),
        ("$5\r\nhello__", ErrorKind::Protocol),
        ("$5\r\nhe", ErrorKind::Unavailable),
    ] {
        let said = answer(line).and_then(Value::extract_error).expect_err(line);
        assert_eq!(of_redis(said).kind(), kind, "{line}");
    }
    for io in [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock] {
        assert_eq!(of_io(io.into()).kind(), ErrorKind::Timeout);
    }
    for io in [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::NotFound] {
        assert_eq!(of_io(io.into()).kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn a_rejected_login_repeats_nothing() {
    for (line, kind) in [
        ("-WRONGPASS invalid username-password pair\r\n", ErrorKind::Denied),
        ("-ERR AUTH <password> called without any password configured\r\n", ErrorKind::Denied),
        ("-ERR unknown command `AUTH`, with args beginning with: `s3cret`\r\n", ErrorKind::Denied),
        ("-ERR max number of clients reached\r\n", ErrorKind::Server),
        ("-LOADING Redis is loading the dataset in memory\r\n", ErrorKind::Server),
        // The wording of several versions, of a cluster, and of proxies.
        ("-ERR DB index is out of range\r\n", ErrorKind::Denied),
        ("-ERR invalid DB index\r\n", ErrorKind::Denied),
        ("-ERR SELECT is not allowed in cluster mode\r\n", ErrorKind::Denied),
        ("-ERR unknown command `SELECT`, with args beginning with: `3`\r\n", ErrorKind::Denied),
    ] {
        let error = check_login(Ok(Resp::Other(answer(line).unwrap()))).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
    let echo = Resp::Array([&b"AUTH"[..], b"s3cret"].map(|word| Some(Bytes::from_static(word))).into());
    let error = check_login(Ok(echo)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[test]
fn replies_that_do_not_fit_the_command_are_rejected() {
    let okay = || Resp::Other(Value::Okay);
    let fits = |resp, expected| judge(resp, expected).map(Result::unwrap).map_err(|error| error.kind());
    assert_eq!(fits(Resp::Bulk(None), Expected::Value), Ok(Reply::Value(None)));
    assert_eq!(fits(Resp::Bulk(None), Expected::Stored), Ok(Reply::Set(None)));
    assert_eq!(fits(okay(), Expected::Stored), Ok(Reply::Set(Some(Version::UNKNOWN))));
    assert_eq!(fits(Resp::Other(Value::Int(0)), Expected::Count), Ok(Reply::Done(false)));
    for (resp, expected) in [
        (okay(), Expected::Value),
        (Resp::Bulk(Some(Bytes::new())), Expected::Stored),
        (Resp::Array(vec![None]), Expected::Values(2)),
        (Resp::Other(Value::Int(1)), Expected::Stored),
        (Resp::Bulk(None), Expected::Count),
    ] {
        assert_eq!(fits(resp, expected), Err(ErrorKind::Protocol));
    }
}

#[test]
fn who_asks_the_wrong_server_gives_up_the_connection() {
    let judged = |text: &str| judge(parsed(text.as_bytes()).unwrap().unwrap(), Expected::Stored);
    for text in [
        "-READONLY You can't write against a read only replica.\r\n",
        "-READONLY You can't write against a read only replica. script: 8c1f, on @user_script:1.\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n",
    ] {
        assert!(judged(text).unwrap_err().has_effect(Effect::Connection), "{text}");
    }
    assert!(judged("-ERR max number of clients reached\r\n").unwrap_err().has_effect(Effect::NewConnection));
    for text in [
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-MOVED 3999 127.0.0.1:6381\r\n",
        "-ERR syntax error\r\n",
        "-NOPERM this user has no permissions to run the 'set' command\r\n",
        "-EXECABORT Transaction discarded because of: NOPERM this user has no permissions\r\n",
    ] {
        assert!(judged(text).unwrap().unwrap_err().refusal().is_some(), "{text}");
    }
}

/// Errors can't be compared.
impl PartialEq for Reply {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}
