//! `SlotsById`.

use tollgate::compat::{SlotsById, Started};

use crate::compat::{NANO, at, secs, time};

fn started(current: u64, exceeded: bool, cleaned: u64) -> Started {
    Started { current, exceeded, cleaned }
}

#[test]
fn the_limit_is_that_of_the_call() {
    let slots = SlotsById::new(secs(30), time().clock());
    assert_eq!(slots.start("k", "a", 2), started(1, false, 0));
    assert_eq!(slots.start("k", "b", 1), started(1, true, 0));
    assert_eq!(slots.start("k", "b", 2), started(2, false, 0));
    assert_eq!(slots.start("k", "c", 1), started(2, true, 0));
    assert_eq!(slots.start("other", "a", 1), started(1, false, 0));
}

#[test]
fn an_id_used_again_is_one_request_that_begins_anew() {
    let time = time();
    let slots = SlotsById::new(secs(30), time.clock());
    slots.start("k", "a", 2);
    time.advance(secs(20));
    assert_eq!(slots.start("k", "a", 2), started(1, false, 0));
    assert_eq!(slots.start("k", "a", 1), started(1, true, 0), "turned away like any other");
    time.advance(secs(30) - NANO);
    assert_eq!(slots.start("k", "b", 1), started(1, true, 0));
    time.advance(NANO);
    assert_eq!(slots.start("k", "b", 1), started(1, false, 1));
    slots.finish("k", "b");
    slots.finish("k", "b");
    assert_eq!(slots.count("k"), 0);
}

#[test]
fn what_is_finished_late_or_elsewhere_frees_nothing() {
    let time = time();
    let slots = SlotsById::new(secs(30), time.clock());
    slots.start("k", "a", 1);
    slots.finish("other", "a");
    slots.finish("k", "b");
    assert_eq!(slots.count("k"), 1);
    time.advance(secs(30));
    assert_eq!(slots.start("k", "b", 1), started(1, false, 1));
    slots.finish("k", "a");
    assert_eq!(slots.start("k", "c", 1), started(1, true, 0));
    // Over, but not taken away yet: its finish takes it away.
    time.advance(secs(40));
    assert_eq!(slots.count("k"), 1);
    slots.finish("k", "b");
    assert_eq!(slots.start("k", "c", 1), started(1, false, 0));
}

#[test]
fn an_earlier_start_is_held_as_long_as_the_latest() {
    let slots = SlotsById::new(secs(30), time().clock());
    assert_eq!(slots.start_at("k", "a", 9, at(100)), started(1, false, 0));
    assert_eq!(slots.start_at("k", "b", 9, at(50)), started(2, false, 0));
    assert_eq!(slots.start_at("k", "c", 9, at(130) - NANO), started(3, false, 0));
    assert_eq!(slots.start_at("k", "d", 9, at(130)), started(2, false, 2));
    assert_eq!(slots.start_at("k", "e", 9, at(0)), started(3, false, 0));
}
