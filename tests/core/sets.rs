//! Sets in which keys of one limiter meet.

use std::time::Duration;

use tollgate::{Enforcer, Limit, Overflow, Policy, Quota, RateLimiter, Retry, VirtualClock, all};

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

#[test]
fn a_set_with_a_key_never_seen_charges_it_if_all_agree_and_else_leaves_no_trace() {
    let time = VirtualClock::new();
    let limiter = |count| RateLimiter::builder(Quota::per_hour(count)).clock(time.clock()).build();
    let (users, orgs, global) = (limiter(5), limiter(100), limiter(6));
    let decide = |user: u64| match user % 2 {
        0 => all((users.key(&user), orgs.key(&7), global.key(&()))).admit(1).map(|_| ()),
        _ => all([users.key(&user), orgs.key(&7), global.key(&())]).admit(1).map(|_| ()),
    };
    for user in 0..6 {
        decide(user).unwrap();
    }
    let memory = users.memory();
    for user in 0..5_000 {
        let refused = decide(user).unwrap_err();
        assert_eq!((refused.index(), users.len(), orgs.len()), (2, 6, 1));
    }
    assert_eq!(users.memory(), memory, "a refused key took a slot");
    let left = |user: u64| users.peek_n(&user, 0).unwrap().remaining();
    assert_eq!((left(5), left(6), left(4_999)), (4, 5, 5));
    assert_eq!(orgs.peek_n(&7, 0).unwrap().remaining(), 94);
}

#[test]
fn a_policy_refuses_a_key_never_seen_without_a_trace() {
    let time = VirtualClock::new();
    let policy = Policy::new()
        .limit(Limit::new("user", Quota::per_hour(5)).key(["user"]))
        .limit(Limit::new("all", Quota::per_hour(6)));
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
    let keys = |enforcer: &Enforcer| enforcer.limits()[0].keys;
    for user in 0..6_u64 {
        let permit = enforcer.admit(&[("user", user)], 1).unwrap();
        assert_eq!(permit.allowed().remaining(), 4.min(5 - user));
    }
    for user in 6..5_000_u64 {
        assert_eq!(enforcer.admit(&[("user", user)], 1).unwrap_err().limit(), "all");
        // Refused by both, the first is named.
        assert_eq!(enforcer.admit(&[("user", user)], 6).unwrap_err().limit(), "user");
    }
    assert_eq!(keys(&enforcer), 6);
}

#[test]
fn quotas_whose_ticks_are_cut_are_charged_in_sets_as_alone() {
    let time = VirtualClock::new();
    let limiter =
        |count| RateLimiter::builder(Quota::per_second(count)).clock(time.clock()).build();
    // Neither 333 nor 1,234,567 a second is a whole number of ticks a nanosecond.
    let pairs = || (limiter(333), limiter(1_234_567));
    let ((a, b), (c, d)) = (pairs(), pairs());
    for step in 0..2_000_u64 {
        time.advance(Duration::from_nanos(step * 7_919 % 3_000_000));
        let cost = 1 + step % 5;
        let set = match step % 2 {
            0 => all((a.key("k"), b.key("k"))).admit(cost).map(|permit| permit.allowed()),
            _ => all([a.key("k"), b.key("k")]).admit(cost).map(|permit| permit.allowed()),
        };
        // The second never denies.
        match c.check_n("k", cost) {
            Ok(allowed) => {
                d.check_n("k", cost).unwrap();
                assert_eq!(set, Ok(allowed));
            }
            Err(denied) => assert_eq!(set.map_err(|refused| refused.retry()), Err(denied.retry())),
        }
    }
    assert_eq!(b.peek_n("k", 0), d.peek_n("k", 0));
}
