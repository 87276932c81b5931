use super::*;
use crate::net::read_buffer::ReadBuffer;

/// The answer to a command of the key `a`, if it is complete.
fn read<T>(bytes: &[u8], read: Read<T>) -> Result<Option<T>, ErrorKind> {
    let mut buffer = ReadBuffer::default();
    buffer.space()[..bytes.len()].copy_from_slice(bytes);
    buffer.fill(bytes.len());
    let answer = buffer.take(|cursor| parse(cursor, b"a"));
    answer.and_then(|answer| answer.map(read).transpose()).map_err(|error| error.kind())
}

#[test]
fn answers_are_what_the_protocol_says() {
    let found = Versioned { bytes: "xy".into(), version: Version(7) };
    assert_eq!(read(b"VA 2 ka c7\r\nxy\r\n", value), Ok(Some(Some(found))));
    assert_eq!(read(b"VA 4 ka c7\r\nxy", value), Ok(None), "the rest is on its way");
    assert_eq!(read(b"EN\r\n", value), Ok(Some(None)));
    assert_eq!(read(b"HD ka c8\r\n", stored), Ok(Some(Some(Version(8)))));
    assert_eq!(read(b"HD ka\r\n", done), Ok(Some(true)));
    assert_eq!(read(b"NF ka\r\n", done), Ok(Some(false)));
    for line in [&b"NF ka\r\n"[..], b"NS ka\r\n", b"EX ka\r\n"] {
        assert_eq!(read(line, stored), Ok(Some(None)));
    }
}

#[test]
fn answers_of_another_shape_or_for_another_key_are_rejected() {
    for line in
        [&b"HD kb\r\n"[..], b"EN kb\r\n", b"HD\r\n", b"MN\r\n", b"ME ka\r\n", b"\r\n", b"VA 0 ka\r\n\r\n"]
    {
        assert_eq!(read(line, done), Err(ErrorKind::Protocol), "{}", line.escape_ascii());
    }
    for line in [
        &b"HD ka\r\n"[..],
        b"VA 1 kb\r\nx\r\n",
        b"VA 1\r\nx\r\n",
        b"VA +1 ka\r\nx\r\n",
        b"VA  1 ka\r\nx\r\n",
        b"VA 1 ka\r\nxyz",
        b"VA -1 ka\r\n",
        b"VA 1073741825 ka\r\n",
        b"VA\r\n",
    ] {
        assert_eq!(read(line, value), Err(ErrorKind::Protocol), "{}", line.escape_ascii());
    }
}

#[test]
fn errors_have_their_kinds() {
    for (line, kind) in [
        ("SERVER_ERROR object too large for cache", ErrorKind::TooLarge),
        ("SERVER_ERROR out of memory storing object", ErrorKind::Server),
        ("CLIENT_ERROR bad data chunk", ErrorKind::Server),
        ("CLIENT_ERROR unauthenticated", ErrorKind::Denied),
        ("ERROR Too many open connections", ErrorKind::Server),
        ("ERROR", ErrorKind::Protocol),
        ("HTTP/1.1 400 Bad Request", ErrorKind::Protocol),
    ] {
        assert_eq!(read(format!("{line}\r\n").as_bytes(), done), Err(kind), "{line}");
    }
    for (io, kind) in [
        (io::ErrorKind::TimedOut, ErrorKind::Timeout),
        (io::ErrorKind::WouldBlock, ErrorKind::Timeout),
        (io::ErrorKind::UnexpectedEof, ErrorKind::Unavailable),
        (io::ErrorKind::ConnectionRefused, ErrorKind::Unavailable),
    ] {
        assert_eq!(of_io(io.into()).kind(), kind);
    }
}
