//! Values of 4 KiB on their way to a server and back, without the server: on `memory://`, which takes what a server takes.
//!
//! Bytes that are copied as bytes cost what their number costs. So a call with 4 KiB is compared with the same call with
//! 8 bytes and a bare copy of 4 KiB beside it: keys, digests, headers and the store are in both, and what is left between
//! them is encoding, checksum and decoding. One by one, 4,096 bytes cost some 40 copies.

use std::sync::Arc;

use bytes::Bytes;
use cache_benches::{Case, Goal, Part, Settings};

/// So few that everything is at hand: what is measured is the copying.
const KEYS: u64 = 8;

#[cache_runtime::cached(backend = "copies", ttl = 3600)]
fn eight_bytes(n: u64) -> u64 {
    n
}

#[cache_runtime::cached(backend = "copies", ttl = 3600)]
fn vector(n: u64) -> Vec<u8> {
    bytes(n)
}

#[cache_runtime::cached(backend = "copies", ttl = 3600)]
fn text(n: u64) -> String {
    format!("{n:>4096}")
}

#[cache_runtime::cached(backend = "copies", ttl = 3600)]
fn shared_slice(n: u64) -> Arc<[u8]> {
    bytes(n).into()
}

#[cache_runtime::cached(backend = "copies", ttl = 3600)]
fn shared_bytes(n: u64) -> Bytes {
    bytes(n).into()
}

fn bytes(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(512)
}

/// Reading and writing.
pub fn compare(part: &mut Part) {
    let values: Vec<Vec<u8>> = (0..KEYS).map(bytes).collect();
    let texts: Vec<String> = (0..KEYS).map(text::uncached).collect();
    let copy = |index: u64| values[(index % KEYS) as usize].clone();
    let bare = "8 bytes, and a copy of 4 KiB";
    let goals = [Goal::time(bare, 1.3)];
    let mut cases = vec![
        Case::each("Vec<u8> of 4 KiB", |index| vector(index % KEYS)),
        Case::each(bare, |index| (eight_bytes(index % KEYS), copy(index))),
        Case::each("String of 4 KiB", |index| text(index % KEYS)),
        Case::each("Arc<[u8]> of 4 KiB", |index| shared_slice(index % KEYS)),
        Case::each("Bytes of 4 KiB", |index| shared_bytes(index % KEYS)),
        Case::each("8 bytes", |index| eight_bytes(index % KEYS)),
        Case::each("a copy of 4 KiB", copy),
    ];
    cases.iter_mut().for_each(|case| case.warm(KEYS));
    part.compare("remote hit without the server", &Settings::busy(1), &goals, cases);

    let cases = vec![
        Case::each("Vec<u8> of 4 KiB", |index| vector::insert(index % KEYS, copy(index))),
        Case::each(bare, |index| (eight_bytes::insert(index % KEYS, index), copy(index), copy(index))),
        Case::each("String of 4 KiB", |index| {
            text::insert(index % KEYS, texts[(index % KEYS) as usize].clone())
        }),
        Case::each("Arc<[u8]> of 4 KiB", |index| shared_slice::insert(index % KEYS, copy(index).into())),
        Case::each("Bytes of 4 KiB", |index| shared_bytes::insert(index % KEYS, copy(index).into())),
        Case::each("8 bytes", |index| eight_bytes::insert(index % KEYS, index)),
    ];
    part.compare("remote insert without the server", &Settings::busy(1), &goals, cases);
}
