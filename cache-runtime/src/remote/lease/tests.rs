use super::*;

fn mark(holder: u8, heartbeat: u128) -> Mark {
    Mark { holder: [holder; 16], heartbeat, ended: NOBODY }
}

fn ended(holder: u8, before: u8) -> Mark {
    Mark { ended: [before; 16], ..mark(holder, 0) }
}

const CLAIM: Step = Step::Claim { ended: NOBODY };

fn waits(next: &Step) -> bool {
    matches!(next, Step::Wait(_))
}

#[test]
fn a_key_that_nobody_holds_is_claimed() {
    let now = Instant::now();
    let mut watch = Watch::new(now, None);
    assert_eq!(watch.step(None, now), CLAIM);
    assert_eq!(watch.step(Some(mark(0, 7)), now), CLAIM);
    assert_eq!(watch.step(Some(ended(0, 1)), now), Step::Claim { ended: [1; 16] }, "it waited for nobody");
}

#[test]
fn a_holder_with_a_heartbeat_is_waited_for_and_a_silent_one_is_not() {
    let start = Instant::now();
    let mut watch = Watch::new(start, None);
    for beat in 0..100 {
        let now = start + HEARTBEAT * u32::try_from(beat).unwrap();
        assert!(waits(&watch.step(Some(mark(1, beat)), now)));
    }
    let last = start + HEARTBEAT * 99;
    assert!(waits(&watch.step(Some(mark(1, 99)), last + LEASE - Duration::from_millis(1))));
    assert_eq!(watch.step(Some(mark(1, 99)), last + LEASE), CLAIM);
    assert!(waits(&watch.step(Some(mark(2, 0)), last + LEASE)), "another process was faster");
}

#[test]
fn when_a_run_has_no_result_its_waiters_run_at_the_same_time() {
    let now = Instant::now();
    for seen in [ended(0, 1), ended(2, 1)] {
        let mut watch = Watch::new(now, None);
        assert!(waits(&watch.step(Some(mark(1, 0)), now)));
        assert_eq!(watch.step(Some(seen), now), Step::Alone);
        let mut other = Watch::new(now, None);
        assert!(waits(&other.step(Some(mark(3, 0)), now)));
        assert_ne!(other.step(Some(seen), now), Step::Alone);
    }
}

#[test]
fn waiting_ends_at_its_limit() {
    let start = Instant::now();
    let until = start + Duration::from_secs(1);
    let mut watch = Watch::new(start, Some(until));
    assert!(waits(&watch.step(Some(mark(1, 0)), start)));
    let just_before = until - Duration::from_millis(3);
    assert_eq!(watch.step(Some(mark(1, 1)), just_before), Step::Wait(Duration::from_millis(3)));
    assert_eq!(watch.step(Some(mark(1, 1)), until), Step::Leave);
    assert_eq!(watch.step(None, until), CLAIM, "no need to leave");
}

#[test]
fn pauses_grow() {
    let start = Instant::now();
    let mut watch = Watch::new(start, None);
    for (beat, (waited, pause)) in (0..).zip([(0, 2), (80, 10), (400, 50), (100_000, 50)]) {
        let now = start + Duration::from_millis(waited);
        assert_eq!(watch.step(Some(mark(1, beat)), now), Step::Wait(Duration::from_millis(pause)));
    }
}

#[test]
fn claims_are_not_retried_forever() {
    let now = Instant::now();
    let mut watch = Watch::new(now, None);
    let waited = (0..100).take_while(|_| waits(&watch.claim_lost(now))).count();
    assert_eq!(waited, 19);
}

#[test]
fn a_mark_is_read_as_it_was_written() {
    let mark = Mark { holder: [1; 16], heartbeat: 5, ended: [2; 16] };
    let header = Header { groups: mark.groups([9; 16]).into_iter().collect(), ..Header::default() };
    assert_eq!(Mark::of(&header), Some(mark));
    assert_eq!(Mark::of(&Header { groups: [[9; 16]].into_iter().collect(), ..header }), None);
}
