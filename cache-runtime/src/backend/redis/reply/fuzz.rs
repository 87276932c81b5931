//! What must hold for any stream from a server.

use super::*;
use crate::net::fuzz;

const COMMANDS: [Expected; 7] = [
    Expected::Value,
    Expected::Values(2),
    Expected::Stored,
    Expected::Count,
    Expected::Total,
    Expected::Number,
    Expected::Ttl,
];

/// As redis-rs has it.
pub(super) fn value(resp: Resp) -> Value {
    let one = |value: Option<Bytes>| value.map_or(Value::Nil, |bytes| Value::BulkString(bytes.into()));
    match resp {
        Resp::Bulk(value) => one(value),
        Resp::Array(values) => Value::Array(values.into_iter().map(one).collect()),
        Resp::Other(value) => value,
    }
}

/// Replies don't depend on how the stream is cut. redis-rs reads them as we do. No login repeats what the server says.
pub(crate) fn replies(stream: &[u8]) {
    fuzz::replies(stream, parse_exec);
    for (resp, bytes) in fuzz::replies(stream, parse) {
        assert_eq!(parse_redis_value(&bytes).ok(), Some(value(resp)), "{}", bytes.escape_ascii());
        let resp = || fuzz::reply(&bytes, parse);
        for expected in COMMANDS {
            let _ = judge(resp(), expected);
        }
        let _ = check_word(resp(), "QUEUED");
        let _ = check_nothing_done(resp());
        if let Err(error) = check_login(Ok(resp())) {
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
