//! What must hold for any bytes that lie under a key.

use super::*;

const BINDING: Binding<'static> = Binding { key: b"key", shape: 7, codec: 1 };

/// Bytes with the right checksum are an entry if they are long enough for what they announce. Then they are what its header
/// and payload are sealed to, and no entry under another binding or with any bit changed.
pub(crate) fn envelopes(body: &[u8]) {
    assert!(open(&BINDING, Bytes::copy_from_slice(body)).is_err(), "without a checksum");
    let sealed = [&OPENING[..], &checksum(&BINDING, body), body].concat();
    let opened = open(&BINDING, sealed.clone().into());
    let [codec, _, low, high, ..] = *body else { return assert!(opened.is_err()) };
    let head = HEAD - BODY + size_of::<Token>() * usize::from(u16::from_le_bytes([low, high]));
    assert_eq!(opened.is_ok(), codec == BINDING.codec && body.len() >= head);
    let Ok((header, payload)) = opened else { return };

    assert_eq!(payload, body[head..]);
    let write = |out: &mut Vec<u8>| {
        out.extend_from_slice(&payload);
        Ok(())
    };
    assert_eq!(seal(&BINDING, &header, 0, write).ok().as_ref(), Some(&sealed));
    for other in
        [Binding { key: b"kez", ..BINDING }, Binding { shape: 8, ..BINDING }, Binding { codec: 2, ..BINDING }]
    {
        assert!(open(&other, sealed.clone().into()).is_err(), "{other:?}");
    }
    for at in (0..sealed.len()).step_by(1 + sealed.len() / 64) {
        let mut changed = sealed.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(open(&BINDING, changed.into()).is_err(), "byte {at}");
        assert!(open(&BINDING, sealed[..at].to_vec().into()).is_err(), "cut at {at}");
    }
}
