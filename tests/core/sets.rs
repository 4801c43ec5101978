//! Sets in which keys of one limiter meet.

use std::time::Duration;

use tollgate::{Overflow, Quota, RateLimiter, Retry, VirtualClock, all};

#[test]
fn two_keys_of_one_limiter_that_share_a_pool_cell_are_charged_together() {
    let time = VirtualClock::new();
    let l = RateLimiter::builder(Quota::per_hour(4)).clock(time.clock()).max_keys(1).build();
    for key in 0..4_u64 {
        l.check_n(&key, 4).unwrap();
    }
    // All others overflow into 64 cells: among 200 keys some share one.
    let mut admitted = 0;
    for key in 100..300_u64 {
        admitted += u32::from(all((l.key(&key), l.key(&(key + 1000)))).admit(1).is_ok());
        admitted += u32::from(all((l.key(&key), l.key(&key))).admit(1).is_ok());
    }
    assert!(admitted > 0 && admitted <= 64 * 4 / 2, "{admitted}");
}

#[test]
fn two_new_keys_of_one_limiter_do_not_take_one_slot_from_each_other() {
    let time = VirtualClock::new();
    time.advance(Duration::from_secs(1));
    // Four slots, three of them in debt: one is free.
    let l = RateLimiter::builder(Quota::per_hour(4)).clock(time.clock()).max_keys(1).build();
    for key in 0..3_u64 {
        l.check_n(&key, 4).unwrap();
    }
    assert!(all((l.key(&10_u64), l.key(&11_u64))).admit(1).is_ok());
    assert_eq!(l.overflows(), 1);
}

#[test]
fn a_set_that_needs_two_slots_of_a_table_with_one_waits_for_the_second() {
    let time = VirtualClock::new();
    time.advance(Duration::from_secs(1));
    let builder = RateLimiter::builder(Quota::per_hour(4)).clock(time.clock()).max_keys(1);
    let l = builder.overflow(Overflow::Deny).build();
    for key in 0..3_u64 {
        l.check_n(&key, 1).unwrap();
    }
    let set = all((l.key(&10_u64), l.key(&11_u64)));
    let Retry::After(wait) = set.admit(1).unwrap_err().retry() else { panic!() };
    time.advance(wait - Duration::from_nanos(1));
    assert!(set.admit(1).is_err());
    time.advance(Duration::from_nanos(1));
    assert!(set.admit(1).is_ok());
}
