//! What must hold for anything that a node or a sentinel says.

use super::super::reply::{check_role, parse_nested};
use super::*;
use crate::net::fuzz;

/// What is taken for a place is one, and replies don't depend on how the stream is cut.
pub(crate) fn topology(stream: &[u8]) {
    assert!(slot_of(stream) < SLOTS);
    let asked = Address::Tcp { host: "asked".to_owned(), port: 1 };
    for (reply, _) in fuzz::replies(stream, parse_nested) {
        for SlotRange { slots, address } in slot_ranges(reply.clone(), &asked).unwrap_or_default() {
            assert!(slots.start() <= slots.end() && *slots.end() < SLOTS);
            check_host(&address);
        }
        if let Ok(address) = primary_address(reply.clone(), "main") {
            check_host(&address);
        }
        let _ = check_role(reply.clone());
        if let Err(error) = reply.extract_error()
            && let Some(redirect) = redirect(&of_redis(error), &asked)
        {
            assert!(redirect.slot < SLOTS);
            check_host(&redirect.address);
        }
    }
}

fn check_host(address: &Address) {
    assert!(matches!(address, Address::Tcp { host, .. } if !host.is_empty()), "{address}");
}
