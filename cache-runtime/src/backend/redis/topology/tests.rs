use super::super::reply::parse_nested;
use super::*;
use crate::net::read_buffer::ReadBuffer;

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp { host: host.into(), port }
}

fn reply(text: &str) -> Value {
    let mut buffer = ReadBuffer::default();
    buffer.space()[..text.len()].copy_from_slice(text.as_bytes());
    buffer.fill(text.len());
    buffer.take(parse_nested).unwrap().expect("a whole reply")
}

/// The examples of the specification, and what `redis-cli CLUSTER KEYSLOT` says.
#[test]
fn slots_are_those_of_the_servers() {
    let slots = ["123456789", "foo", "{user1000}.following", "user1000", "foo{}{bar}", "foo{{bar}}zap"];
    assert_eq!(slots.map(|key| slot_of(key.as_bytes())), [12739, 12182, 3443, 3443, 8363, 4015]);
    assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
}

#[test]
fn ranges_name_their_primaries() {
    let text = "*2\r\n*4\r\n:0\r\n:5460\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n\
                *3\r\n$9\r\n127.0.0.1\r\n:7003\r\n$2\r\nid\r\n*3\r\n:5461\r\n:5461\r\n*2\r\n$-1\r\n:7001\r\n";
    let ranges = slot_ranges(reply(text), &tcp("asked", 1)).unwrap();
    let first = SlotRange { slots: 0..=5460, address: tcp("127.0.0.1", 7000) };
    assert_eq!(ranges, [first, SlotRange { slots: 5461..=5461, address: tcp("asked", 7001) }]);
    for bad in
        ["*1\r\n*0\r\n", "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n", ":1\r\n", "*1\r\n:1\r\n"]
    {
        assert_eq!(slot_ranges(reply(bad), &tcp("a", 1)).unwrap_err().kind(), ErrorKind::Protocol, "{bad}");
    }
    let error = slot_ranges(reply("-ERR This instance has cluster support disabled\r\n"), &tcp("a", 1));
    assert!(error.unwrap_err().to_string().contains("`redis://`"));
}

#[test]
fn sentinels_name_the_primary() {
    let known = primary_address(reply("*2\r\n$1\r\nh\r\n$4\r\n6379\r\n"), "main").unwrap();
    assert_eq!(known, tcp("h", 6379));
    assert_eq!(primary_address(reply("*-1\r\n"), "main").unwrap_err().kind(), ErrorKind::Config);
    assert!(primary_address(reply("*2\r\n$0\r\n\r\n$4\r\n6379\r\n"), "main").is_err());
}

#[test]
fn redirects_are_read_from_errors() {
    let said = |text: &str| of_redis(reply(text).extract_error().unwrap_err());
    let moved = redirect(&said("-MOVED 3999 127.0.0.1:6381\r\n"), &tcp("asked", 1)).unwrap();
    assert_eq!(moved, Redirect { slot: 3999, address: tcp("127.0.0.1", 6381), is_ask: false });
    let ask = redirect(&said("-ASK 3999 :6381\r\n"), &tcp("asked", 1)).unwrap();
    assert_eq!(ask, Redirect { slot: 3999, address: tcp("asked", 6381), is_ask: true });
    for other in ["-ERR MOVED 1 a:1\r\n", "-MOVED 16384 a:1\r\n", "-MOVED 1 a\r\n", "-TRYAGAIN later\r\n"] {
        assert_eq!(redirect(&said(other), &tcp("asked", 1)), None, "{other}");
    }
}
