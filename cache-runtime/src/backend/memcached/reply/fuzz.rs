//! What must hold for any stream from a server.

use super::*;
use crate::net::fuzz;

/// The key that was asked for.
const KEY: &[u8] = b"key";

/// Answers don't depend on how the stream is cut. A value is as long as announced, and belongs to the key.
pub(crate) fn replies(stream: &[u8]) {
    for (answer, bytes) in fuzz::replies(stream, |cursor| parse(cursor, KEY)) {
        let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        assert!(answer.key.as_deref() == Some(KEY) || line.starts_with(b"EN"), "{}", line.escape_ascii());
        if answer.rc == ReturnCode::Va {
            let announced = line.split(|byte| *byte == b' ').nth(1).map(String::from_utf8_lossy);
            let len = answer.value.as_ref().map(Vec::len);
            assert_eq!(announced.and_then(|len| len.parse().ok()), len, "{}", line.escape_ascii());
        }
        let _ = value(answer.clone());
        let _ = stored(answer.clone());
        let _ = done(answer.clone());
        let _ = ttl(answer.clone());
        let _ = sum(answer);
    }
}
