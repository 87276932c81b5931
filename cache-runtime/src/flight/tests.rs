use super::*;
use crate::value::Packed;

fn packed(number: u8) -> Shared {
    Shared::Value(Packed::Encoded(vec![number].into()))
}

fn lead(flights: &Flights, key: &[u8]) -> Leader {
    match flights.join(key, 0) {
        Role::Lead(leader) => leader,
        Role::Wait(_) | Role::Alone => panic!("another call leads"),
    }
}

fn wait(flights: &Flights, key: &[u8]) -> Waiter {
    match flights.join(key, 0) {
        Role::Wait(waiter) => waiter,
        Role::Lead(_) | Role::Alone => panic!("nobody leads"),
    }
}

fn under_way(flights: &Flights) -> usize {
    lock(&flights.0.by_key).flights.len()
}

#[test]
fn nothing_is_left_when_nothing_runs() {
    let flights = Flights::default();
    lead(&flights, b"completed").complete(None);
    drop(lead(&flights, b"abandoned"));
    let (leader, waiter) = (lead(&flights, b"both gone"), wait(&flights, b"both gone"));
    drop(leader);
    assert_eq!(under_way(&flights), 1, "the waiter may still take over");
    drop(waiter);
    assert_eq!(under_way(&flights), 0);
}

#[test]
fn one_waiter_takes_over_and_the_others_wait_for_it() {
    let flights = Flights::default();
    let leader = lead(&flights, b"key");
    let (first, second) = (wait(&flights, b"key"), wait(&flights, b"key"));
    assert!(first.check().is_err());
    drop(leader);
    let Ok(Turn::Lead(leader)) = first.check() else { panic!("vacant") };
    assert!(second.check().is_err());
    drop(first);
    leader.complete(Some(packed(1)));
    assert!(
        matches!(second.check(), Ok(Turn::Shared(Shared::Value(Packed::Encoded(bytes)))) if bytes[..] == [1])
    );
    assert_eq!(under_way(&flights), 0);
}

#[test]
fn an_invalidated_run_may_not_store_and_leaves_its_key_alone() {
    let flights = Flights::default();
    let old = lead(&flights, b"key");
    assert!(flights.invalidate(b"key").is_empty(), "nothing is being stored");
    let new = lead(&flights, b"key");
    assert!(!old.may_store() && new.may_store());
    old.complete(None);
    assert_eq!(under_way(&flights), 1, "the new run goes on");
    assert_eq!(flights.invalidate(b"key").len(), 1, "it is being stored");
    drop(new);
}

#[test]
fn no_run_waits_for_itself() {
    let flights = Flights::default();
    let (outer, inner) = (lead(&flights, b"outer"), lead(&flights, b"inner"));
    {
        let _inside = outer.enter();
        assert!(matches!(flights.join(b"outer", 0), Role::Alone));
        // The outer run waits for the inner one, so the inner one can't wait for it.
        let _waiter = wait(&flights, b"inner");
        let _inside = inner.enter();
        assert!(matches!(flights.join(b"outer", 0), Role::Alone));
    }
    let _inside = inner.enter();
    drop(wait(&flights, b"outer"));
}

#[test]
fn a_refresh_takes_only_the_result_of_a_run_that_began_later() {
    let flights = Flights::default();
    let old = lead(&flights, b"key");
    let since = next_run();
    let Role::Wait(refresh) = flights.join(b"key", since) else { panic!("a run is under way") };
    old.complete(Some(packed(1)));
    assert!(matches!(refresh.check(), Ok(Turn::Again)));
    let new = lead(&flights, b"key");
    let Role::Wait(refresh) = flights.join(b"key", since) else { panic!("a run is under way") };
    new.complete(Some(packed(2)));
    assert!(matches!(refresh.check(), Ok(Turn::Shared(_))));
}
