#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use super::*;

const BINDING: Binding<'static> = Binding { key: b"key", shape: 7, codec: 1 };

fn header() -> Header {
    Header {
        flags: 2,
        created_ms: 1_700_000_000_000,
        fresh_until_ms: Some(1_700_000_060_000),
        cost_us: 1234,
        groups: smallvec![[0xAA; 16], [0xBB; 16]],
    }
}

fn sealed(binding: &Binding<'_>, header: &Header, payload: &[u8]) -> Vec<u8> {
    let write = |out: &mut Vec<u8>| {
        out.extend_from_slice(payload);
        Ok(())
    };
    seal(binding, header, 0, write).unwrap()
}

fn refused(binding: &Binding<'_>, bytes: &[u8]) -> bool {
    open(binding, Bytes::copy_from_slice(bytes)).is_err_and(|error| error.kind() == ErrorKind::Protocol)
}

/// A change here makes every stored entry unreadable: raise [`FORMAT_VERSION`] with it.
#[test]
fn golden() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let full = [
        ("magic", "666e63"),
        ("version", "02"),
        ("checksum", "a7ddfe2e48fd2df49328cc7510fa7e33"),
        ("codec", "01"),
        ("flags", "02"),
        ("number of groups", "0200"),
        ("created", "0068e5cf8b010000"),
        ("fresh until", "6052e6cf8b010000"),
        ("cost", "d2040000"),
        ("groups", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
        ("payload", "76616c7565"),
    ];
    assert_eq!(hex(sealed(&BINDING, &header(), b"value")), full.map(|(_, hex)| hex).concat());
    assert_eq!(
        hex(sealed(&BINDING, &Header::default(), b"")),
        "666e630246c9314aabe0c6850f9f9082d08e12ed010000000000000000000000ffffffffffffffff00000000"
    );
}

#[test]
fn an_entry_is_read_only_as_what_it_was_written() {
    let bytes = sealed(&BINDING, &header(), b"value");
    assert_eq!(open(&BINDING, bytes.clone().into()).unwrap(), (header(), Bytes::from("value")));
    assert!(refused(&Binding { key: b"kez", ..BINDING }, &bytes));
    assert!(refused(&Binding { key: b"", ..BINDING }, &bytes));
    assert!(refused(&Binding { shape: 8, ..BINDING }, &bytes));
    assert!(refused(&Binding { codec: 2, ..BINDING }, &bytes));
    assert!(refused(&BINDING, b""));
    assert!(refused(&BINDING, b"set by somebody else"));
}

#[test]
fn every_byte_counts() {
    let bytes = sealed(&BINDING, &header(), b"value");
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(refused(&BINDING, &changed), "bit {bit} of byte {at}");
        }
        assert!(refused(&BINDING, &bytes[..at]), "cut at {at}");
        assert!(refused(&BINDING, &bytes[at + 1..]), "without the first {}", at + 1);
    }
    assert!(refused(&BINDING, &[bytes.as_slice(), b"\0"].concat()));
}

#[test]
fn an_entry_of_another_version_is_refused_whatever_its_checksum() {
    let mut bytes = sealed(&BINDING, &header(), b"value");
    bytes[3] = FORMAT_VERSION + 1;
    assert!(refused(&BINDING, &bytes));
}

#[test]
fn what_a_payload_refuses_is_told() {
    let error = seal(&BINDING, &header(), 0, |_| Err(Error::new(ErrorKind::Encode, "no"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    let crowded = Header { groups: smallvec![[0; 16]; 1 << 16], ..Header::default() };
    assert_eq!(seal(&BINDING, &crowded, 0, |_| Ok(())).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn costs_saturate() {
    assert_eq!(Header::cost(Duration::from_millis(2)), 2000);
    assert_eq!(Header::cost(Duration::MAX), u32::MAX);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(String),
    Node(Vec<Tree>),
}

fn headers() -> impl Strategy<Value = Header> {
    let fields = (any::<u8>(), any::<u64>(), any::<Option<u64>>(), any::<u32>(), any::<Vec<Token>>());
    fields.prop_map(|(flags, created_ms, fresh_until_ms, cost_us, groups)| Header {
        flags,
        created_ms,
        fresh_until_ms: fresh_until_ms.filter(|&until| until != u64::MAX),
        cost_us,
        groups: groups.into(),
    })
}

proptest! {
    #[test]
    fn entries_open_as_what_they_were_sealed(header in headers(), key: Vec<u8>, shape: u64, codec: u8, payload: Vec<u8>) {
        let binding = Binding { key: &key, shape, codec };
        let bytes = sealed(&binding, &header, &payload);
        prop_assert_eq!(open(&binding, bytes.into()).unwrap(), (header, Bytes::from(payload)));
    }

    #[test]
    fn no_entry_opens_under_another_binding(
        key in "[ab]{0,3}", other in "[ab]{0,3}", shape in 0..3u64, other_shape in 0..3u64, payload: Vec<u8>,
    ) {
        let binding = Binding { key: key.as_bytes(), shape, codec: 1 };
        let foreign = Binding { key: other.as_bytes(), shape: other_shape, codec: 1 };
        let bytes = sealed(&binding, &header(), &payload);
        prop_assert_eq!(open(&foreign, bytes.into()).is_ok(), key == other && shape == other_shape);
    }

    #[test]
    fn arbitrary_bytes_do_not_open(bytes: Vec<u8>) {
        prop_assert!(refused(&BINDING, &bytes));
    }

    /// Who can compute the checksum still can't do worse than write a value of the type.
    #[test]
    fn forged_entries_are_survived(body: Vec<u8>, groups in 0..3u16, payload: Vec<u8>) {
        let mut forged = sealed(&BINDING, &Header::default(), &payload);
        forged[22..24].copy_from_slice(&groups.to_le_bytes());
        for body in [&forged[BODY..], &body] {
            let bytes = [&OPENING, checksum(&BINDING, body).as_slice(), body].concat();
            let _opened = open(&BINDING, bytes.into());
            #[cfg(feature = "bincode")]
            if let Ok((_, payload)) = _opened {
                let _ = crate::codec::decode::<crate::codec::Bincode, Tree>(&payload);
            }
        }
    }
}
