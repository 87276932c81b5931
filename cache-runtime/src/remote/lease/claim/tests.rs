use super::*;
use crate::backend::SetOptions;
use crate::backend::memory::Memory;
use crate::flight::Claim as _;
use crate::remote::lease::LEASE;

fn key() -> ClaimKey {
    let service = Box::new(Memory::default());
    let connected = Connected::new(service, String::new(), None, Duration::from_secs(10));
    ClaimKey {
        connected: Arc::new(connected),
        text: Arc::from(&b"key"[..]),
        shape: 0,
        codec: 0,
        clock: Clock::system(),
    }
}

fn under(key: &ClaimKey) -> Under {
    let soon = Instant::now() + Duration::from_secs(10);
    block_on(pin!(key.connected.get(&key.text, soon, Caller::Blocking))).unwrap()
}

/// The claim of a run whose look-up began at `at`, and saw what is there now.
fn claim(key: &ClaimKey, at: Instant) -> Claim {
    Claim::new(key.clone(), Seen { at, under: under(key) }, [1; 16], false)
}

fn put(claim: &Claim, bytes: &'static str) -> bool {
    let soon = Instant::now() + Duration::from_secs(10);
    claim.put(bytes.into(), None, soon, Caller::Blocking).wait().unwrap()
}

fn overwrite(key: &ClaimKey, bytes: &'static str) {
    let soon = Instant::now() + Duration::from_secs(10);
    let set = key.connected.set(
        &key.text,
        bytes.into(),
        SetOptions::new(),
        Condition::Always,
        soon,
        Caller::Blocking,
    );
    block_on(pin!(set)).unwrap();
}

#[test]
fn a_result_is_stored_only_over_what_the_look_up_saw() {
    let (key, now) = (key(), Instant::now());
    let (first, second) = (claim(&key, now), claim(&key, now));
    assert!(put(&first, "first"));
    assert!(!put(&second, "second"));
    let (late, overtaken) = (claim(&key, now), claim(&key, now));
    assert!(put(&late, "late"));
    overwrite(&key, "first");
    assert!(put(&overtaken, "nothing has changed"));
}

#[test]
fn a_late_result_needs_a_mark() {
    let key = key();
    let long_ago = Instant::now() - VOID_FOR;
    assert!(!put(&claim(&key, long_ago), "an invalidation may have come and gone"));
    assert_eq!(under(&key), None);
    let slow = claim(&key, Instant::now());
    slow.secure();
    assert_eq!(slow.0.proof_ends(), None);
    assert!(put(&slow, "value"));
    assert_eq!(under(&key).unwrap().bytes, "value");
}

#[test]
fn a_mark_that_another_run_holds_is_left_alone() {
    let key = key();
    let first = claim(&key, Instant::now());
    first.secure();
    let mark = under(&key);
    claim(&key, Instant::now()).secure();
    assert_eq!(under(&key), mark);
    assert!(put(&first, "value"));
}

#[test]
fn a_run_is_outdated_once_others_have_changed_the_key() {
    let key = key();
    let before = Instant::now();
    let (own, other) = (claim(&key, before), claim(&key, before));
    let is_outdated = |claim: &Claim| {
        let found = under(&key);
        claim.is_outdated(Instant::now(), found.as_ref().map(|found| &*found.bytes))
    };
    assert!(!is_outdated(&own));
    own.secure();
    assert!(!is_outdated(&own), "its own mark");
    assert!(is_outdated(&other), "the mark may have replaced that of an invalidation");
    let later = claim(&key, Instant::now());
    assert!(block_on(pin!(own.0.send_heartbeat())));
    assert!(!is_outdated(&later), "the same run is under way elsewhere");
    assert!(!later.is_outdated(before, None), "an older look-up tells nothing");
    overwrite(&key, "void");
    assert!(is_outdated(&own) && is_outdated(&later));
}

#[test]
fn an_entry_with_a_mark_stays_for_its_own_time() {
    let clock = Clock::manual();
    let stale_window = Duration::from_secs(60);
    let ends = |in_ms| Header { fresh_until_ms: Some(clock.unix_ms() + in_ms), ..Header::default() };
    let ttl = |header| Carrier::entry(header, Bytes::new(), stale_window).ttl(LEASE, &clock);
    assert_eq!(ttl(Header::default()), None);
    assert_eq!(ttl(ends(5_000)), Some(Duration::from_secs(65)));
    let stale = ends(0);
    clock.advance(Duration::from_secs(20));
    assert_eq!(ttl(stale.clone()), Some(Duration::from_secs(40)));
    clock.advance(Duration::from_secs(39));
    assert_eq!(ttl(stale), Some(LEASE), "the mark must be seen");
}
