//! `DualLimiter`.

use std::time::Duration;

use tollgate::compat::{DualLimit, DualLimiter, Load, Overloaded};
use tollgate::{Timestamp, VirtualClock};

use crate::compat::{NANO, at, secs, time};

fn dual(time: &VirtualClock) -> DualLimiter {
    DualLimiter::new(secs(30), secs(60), time.clock())
}

fn concurrent(limit: u64) -> DualLimit {
    DualLimit { concurrent: Some(limit), per_second: None }
}

fn per_second(limit: u64) -> DualLimit {
    DualLimit { concurrent: None, per_second: Some(limit) }
}

/// The state of the bucket, without counting a request.
fn load(dual: &DualLimiter) -> (u64, u64) {
    let Overloaded { load } = dual.start("k", concurrent(0)).unwrap_err();
    (load.concurrent - 1, load.recent)
}

#[test]
fn a_query_is_in_progress_then_recent_from_its_start_then_forgotten() {
    let time = time();
    let dual = dual(&time);
    let running = dual.start("k", DualLimit::default()).unwrap();
    assert_eq!(running.load(), Load { concurrent: 1, recent: 0 });
    time.advance(secs(20));
    assert_eq!(load(&dual), (1, 0));
    drop(running);
    assert_eq!(load(&dual), (0, 1));
    // Both ends of the lookback are in it.
    time.set(at(1_060));
    assert_eq!(load(&dual), (0, 1));
    time.advance(NANO);
    assert_eq!(load(&dual), (0, 0));
}

#[test]
fn one_that_does_not_finish_is_recent_from_its_deadline() {
    let time = time();
    let dual = dual(&time);
    let running = dual.start("k", concurrent(1)).unwrap();
    time.set(at(1_030) - NANO);
    assert_eq!(load(&dual), (1, 0));
    time.set(at(1_030));
    assert_eq!(load(&dual), (0, 1));
    let other = dual.start("k", concurrent(1)).unwrap();
    // Late: it is recent from its start then, and its place is not given back twice.
    drop(running);
    assert_eq!(load(&dual), (1, 1));
    time.set(at(1_060) + NANO);
    assert_eq!(load(&dual), (0, 1), "the other's deadline has passed");
    time.set(at(2_000));
    assert_eq!(load(&dual), (0, 0));
    // Forgotten by now.
    drop(other);
    assert_eq!(load(&dual), (0, 0));
}

#[test]
fn more_than_the_rate_allows_in_the_lookback_are_turned_away() {
    let time = time();
    let dual = dual(&time);
    let mut started = 0;
    while dual.start("k", per_second(2)).is_ok() {
        started += 1;
    }
    // As many as the rate allows are not too many: one more.
    assert_eq!(started, 121);
    assert!(dual.start("k", per_second(3)).is_ok() && dual.start("k", per_second(0)).is_err());
    time.advance(secs(60) + NANO);
    assert!(dual.start("k", per_second(0)).is_ok());
}

/// Peer bug 30.
#[test]
fn row_30_a_query_finishes_in_the_bucket_it_started_in_whatever_the_limits_are_then() {
    let time = time();
    let dual = dual(&time);
    let a: Vec<_> = (0..3).map(|_| dual.start("a", concurrent(3)).unwrap()).collect();
    let b = dual.start("b", concurrent(1)).unwrap();
    assert!(dual.start("a", concurrent(1)).is_err());
    drop(a);
    assert!(dual.start("b", concurrent(1)).is_err(), "freed by a stranger");
    let again = dual.start("a", concurrent(1)).unwrap();
    assert_eq!(again.load(), Load { concurrent: 1, recent: 3 });
    drop(b);
    assert!(dual.start("b", concurrent(1)).is_ok());
}

#[test]
fn an_earlier_time_is_that_of_the_latest_query() {
    let time = time();
    let dual = dual(&time);
    drop(dual.start("k", DualLimit::default()).unwrap());
    time.set(at(10));
    let early = dual.start("k", concurrent(1)).unwrap();
    assert_eq!(early.load(), Load { concurrent: 1, recent: 1 });
    time.set(at(1_030) - NANO);
    assert_eq!(load(&dual), (1, 1), "in progress as if it had begun then");
    time.set(at(1_030));
    assert_eq!(load(&dual), (0, 2));
}

#[test]
fn at_the_end_of_time_nothing_ends() {
    let time = VirtualClock::starting_at(Timestamp::MAX);
    let dual = DualLimiter::new(Duration::MAX, Duration::MAX, time.clock());
    let limit = DualLimit { concurrent: Some(1), per_second: Some(u64::MAX) };
    let running = dual.start("k", limit).unwrap();
    assert!(dual.start("k", limit).is_err());
    drop(running);
    // A moment that lies ahead for ever: its start and its deadline are one.
    assert!(dual.start("k", limit).is_err());
}
