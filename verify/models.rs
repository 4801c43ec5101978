//! Loom models of the public methods of rate limiters. Each states what must hold for every
//! interleaving of the threads, and `models.sh` seeds a bug with which it must fail.
//!
//! Tables have two slots a line and one line a group. The hash of a key is the key, so that a model
//! chooses its place: the low bits are the group, bit 30 the slot.
#![cfg(tollgate_loom)]

mod identity;
#[macro_use]
mod race;

use std::sync::Arc;
use std::time::Duration;

use tollgate::algorithm::Gcra;
use tollgate::{
    Allowed, Overflow, Quota, RateLimiter, RateLimiterBuilder, Retry, Timestamp, VirtualClock, all,
};

use identity::Identity;
use race::{long_model, model, race, wide_model};

type Limiter = Arc<RateLimiter<Gcra, Identity>>;

const NANO: Duration = Duration::from_nanos(1);
/// Two keys of one group with different preferred slots, and a key with the same slot as the first.
const KEY: u64 = 1 << 32;
const OTHER: u64 = KEY | 1 << 30;
const NEXT: u64 = 2 << 32;

/// One unit each 10 ns, `burst` at once.
fn quota(burst: u64) -> Quota {
    Quota::new(1, 10 * NANO).and_then(|quota| quota.with_burst(burst)).unwrap()
}

fn builder(burst: u64, time: &VirtualClock) -> RateLimiterBuilder<Gcra, Identity> {
    RateLimiter::builder(quota(burst)).clock(time.clock()).hasher(Identity::default()).max_keys(2)
}

/// A limiter that has seen a timestamp: its time origin is set and its first group is allocated.
fn limiter(burst: u64, time: &VirtualClock) -> Limiter {
    let limiter = builder(burst, time).build();
    let _ = limiter.peek(&KEY);
    Arc::new(limiter)
}

fn left(limiter: &RateLimiter<Gcra, Identity>, key: u64) -> u64 {
    limiter.peek_n(&key, 0).unwrap().remaining()
}

fn admits(sets: &[(&RateLimiter<Gcra, Identity>, u64)]) -> bool {
    let keys: Vec<_> = sets.iter().map(|(limiter, key)| limiter.key(key)).collect();
    match *keys {
        [a, b] => all((a, b)).admit(1).is_ok(),
        [a, b, c] => all((a, b, c)).admit(1).is_ok(),
        _ => panic!("a set of {} limits", keys.len()),
    }
}

#[test]
fn two_meet_a_new_key() {
    model(2, |first| {
        let limiter = limiter(3, &VirtualClock::new());
        let check = || thread!(limiter; limiter.check(&KEY).is_ok());
        assert_eq!(race(first, [check(), check()]), [true; 2]);
        assert_eq!(left(&limiter, KEY), 1, "a charge is lost");
        assert_eq!(limiter.len(), 1, "two cells for one key");
    });
}

#[test]
fn three_meet_a_new_key_for_its_last_two_units() {
    model(3, |first| {
        let limiter = limiter(2, &VirtualClock::new());
        let check = || thread!(limiter; u64::from(limiter.check(&KEY).is_ok()));
        let admitted = race(first, [check(), check(), check()]);
        assert_eq!(admitted.iter().sum::<u64>(), 2, "over or under the burst");
        assert_eq!(limiter.len(), 1, "two cells for one key");
    });
}

#[test]
fn two_race_for_the_last_unit() {
    model(2, |first| {
        let limiter = limiter(2, &VirtualClock::new());
        limiter.check(&KEY).unwrap();
        let check = || thread!(limiter; limiter.check(&KEY).is_ok());
        let [a, b] = race(first, [check(), check()]);
        assert!(a != b, "not one of the two was allowed");
    });
}

/// The clock stands still, so the slot has the same tick before and after it changes hands.
#[test]
fn a_check_stalls_while_its_slot_goes_to_another_key() {
    model(2, |first| {
        let time = VirtualClock::starting_at(Timestamp::from_nanos(100));
        let limiter = limiter(3, &time);
        limiter.check(&OTHER).unwrap();
        limiter.check(&KEY).unwrap();
        limiter.reset(&KEY);
        let stalled = thread!(limiter; limiter.check(&KEY).unwrap());
        let taker = thread!(limiter; {
            let allowed = limiter.check(&NEXT).unwrap();
            limiter.reset(&NEXT);
            allowed
        });
        race(first, [stalled, taker]);
        // Otherwise one of the keys was counted in the shared pool.
        if limiter.overflows() == 0 {
            assert_eq!(left(&limiter, NEXT), 3, "the wrong key was charged");
            assert_eq!(left(&limiter, KEY), 2, "a charge is lost");
        }
    });
}

#[test]
fn a_slot_is_reused_once_its_key_is_idle() {
    model(2, |first| {
        let time = VirtualClock::starting_at(Timestamp::from_nanos(100));
        let limiter = limiter(3, &time);
        limiter.check_n(&OTHER, 3).unwrap();
        limiter.check(&KEY).unwrap();
        time.advance(11 * NANO);
        let stalled = thread!(limiter; limiter.check_n(&KEY, 2).unwrap());
        let taker = thread!(limiter; limiter.check(&NEXT).unwrap());
        race(first, [stalled, taker]);
        if limiter.overflows() == 0 {
            assert_eq!((left(&limiter, KEY), left(&limiter, NEXT)), (1, 2), "a charge is lost");
        }
        assert!(limiter.check_n(&OTHER, 3).is_err(), "a key in debt was forgotten");
    });
}

/// Two limiters whose key has been charged one of `burst` units.
fn pair(burst: u64) -> [Limiter; 2] {
    let time = VirtualClock::new();
    [(); 2].map(|()| {
        let limiter = limiter(burst, &time);
        limiter.check(&KEY).unwrap();
        limiter
    })
}

#[test]
fn a_check_meets_a_hold() {
    model(2, |first| {
        let [a, b] = pair(3);
        let set = thread!(a, b; admits(&[(&a, KEY), (&b, KEY)]));
        let check = thread!(a; a.check(&KEY).is_ok());
        assert_eq!(race(first, [set, check]), [true; 2]);
        assert_eq!((left(&a, KEY), left(&b, KEY)), (0, 1), "a charge is lost");
    });
}

#[test]
fn a_set_refused_by_its_last_limit_charges_none() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (a, b) = (limiter(3, &time), limiter(1, &time));
        let set = thread!(a, b; admits(&[(&a, KEY), (&b, KEY)]));
        let check = thread!(b; b.check(&KEY).is_ok());
        let [admitted, allowed] = race(first, [set, check]);
        assert!(admitted != allowed, "not one of the two was allowed");
        assert_eq!(left(&a, KEY), if admitted { 2 } else { 3 }, "refused and charged");
    });
}

#[test]
fn sets_in_opposite_orders() {
    model(2, |first| {
        let [a, b] = pair(2);
        let forward = thread!(a, b; admits(&[(&a, KEY), (&b, KEY)]));
        let back = thread!(a, b; admits(&[(&b, KEY), (&a, KEY)]));
        let [forward, back] = race(first, [forward, back]);
        assert!(forward != back, "not one of the two was admitted");
        assert_eq!((left(&a, KEY), left(&b, KEY)), (0, 0), "a charge is lost");
    });
}

#[test]
fn sets_of_three_limits_in_opposite_orders() {
    model(2, |first| {
        let ([a, b], [c, _]) = (pair(2), pair(2));
        let forward = thread!(a, b, c; admits(&[(&a, KEY), (&b, KEY), (&c, KEY)]));
        let back = thread!(a, b, c; admits(&[(&c, KEY), (&b, KEY), (&a, KEY)]));
        let [forward, back] = race(first, [forward, back]);
        assert!(forward != back, "not one of the two was admitted");
        for limiter in [&a, &b, &c] {
            assert_eq!(left(limiter, KEY), 0, "a charge is lost");
        }
    });
}

#[test]
fn three_sets_of_two_limits() {
    model(3, |first| {
        let [a, b] = pair(3);
        let forward = || thread!(a, b; u64::from(admits(&[(&a, KEY), (&b, KEY)])));
        let back = thread!(a, b; u64::from(admits(&[(&b, KEY), (&a, KEY)])));
        let admitted = race(first, [forward(), back, forward()]);
        assert_eq!(admitted.iter().sum::<u64>(), 2, "over or under the burst");
        assert_eq!((left(&a, KEY), left(&b, KEY)), (0, 0), "a charge is lost");
    });
}

/// A reader that sees one of two limits charged also sees the other charged, in either order.
#[test]
fn nobody_reads_through_a_set() {
    for swapped in [false, true] {
        let body = move |first| {
            let [a, b] = pair(3);
            let set = thread!(a, b; {
                assert!(admits(&[(&a, KEY), (&b, KEY)]));
                (1_u64, 1_u64)
            });
            let reader = thread!(a, b; {
                let (one, two) = if swapped { (&b, &a) } else { (&a, &b) };
                (left(one, KEY), left(two, KEY))
            });
            let [_, (one, two)]: [(u64, u64); 2] = race(first, [set, reader]);
            assert!(two <= one, "half of a set was seen");
        };
        model(2, body);
    }
}

/// A set that is admitted at no cost answers from one moment.
#[test]
fn a_set_is_seen_at_one_moment() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (a, b) = (limiter(4, &time), limiter(3, &time));
        for limiter in [&a, &b] {
            limiter.check(&KEY).unwrap();
        }
        // What is left goes from (3, 2) through (0, 2) to (0, 1), so the least is never 1.
        let charges = thread!(a, b; {
            a.check_n(&KEY, 3).unwrap();
            b.check_n(&KEY, 1).unwrap()
        });
        let seen = thread!(a, b; all((a.key(&KEY), b.key(&KEY))).admit(0).unwrap().allowed());
        let [_, seen]: [Allowed; 2] = race(first, [charges, seen]);
        assert!(seen.remaining() != 1, "two moments in one answer");
    });
}

#[test]
fn two_keys_never_seen_are_seen_at_one_moment() {
    wide_model(2, |first| {
        let time = VirtualClock::starting_at(Timestamp::from_nanos(100));
        let (a, b, c) = (limiter(1, &time), limiter(1, &time), limiter(1, &time));
        b.check(&OTHER).unwrap();
        // After the charge of `c`, at first `b` refuses and then `a` does.
        let charges = thread!(a, b, c; {
            let is_first = b.check(&KEY).is_ok() && c.check(&KEY).is_ok();
            // On a thread of its own, so that this uses no preemption of the thread that charged
            // the two.
            let then = move || {
                if is_first && a.check(&KEY).is_ok() {
                    b.reset(&KEY);
                    // Takes the slot.
                    b.check(&NEXT).unwrap();
                }
            };
            loom::thread::spawn(then).join().unwrap();
            None::<usize>
        });
        let refused = thread!(a, b, c; {
            let keys = (a.key(&KEY), b.key(&KEY), c.key(&KEY));
            all(keys).admit(1).err().map(|refused| refused.index())
        });
        let [_, refused]: [Option<usize>; 2] = race(first, [charges, refused]);
        assert_ne!(refused, Some(2), "two moments in one answer");
    });
}

#[test]
fn a_quota_changes_under_a_check() {
    model(2, |first| {
        let limiter = limiter(3, &VirtualClock::new());
        limiter.check(&KEY).unwrap();
        // Changes the size of a unit and the size of the burst in such units.
        let slower = Quota::new(1, 20 * NANO).and_then(|quota| quota.with_burst(30)).unwrap();
        let change = thread!(limiter; { limiter.set_quota(slower); None });
        let check = thread!(limiter; limiter.check(&KEY).ok());
        let [_, allowed]: [Option<Allowed>; 2] = race(first, [change, check]);
        assert!(
            allowed.is_some_and(|a| matches!((a.burst(), a.remaining()), (3, 1) | (30, 28))),
            "decided under a mix of quotas: {allowed:?}"
        );
        assert_eq!(left(&limiter, KEY), 28, "a charge is lost");
    });
}

/// Two changes of the quota. Each has another tick length, so both convert the ticks of all words.
fn change_twice(limiter: &RateLimiter<Gcra, Identity>) {
    limiter.set_quota(Quota::new(1, 20 * NANO).unwrap().burst(30));
    limiter.set_quota(Quota::new(1, 50 * NANO).unwrap().burst(40));
}

#[test]
fn a_quota_changes_under_the_first_check_of_a_key() {
    long_model(|first| {
        let limiter = limiter(3, &VirtualClock::new());
        let change = thread!(limiter; { change_twice(&limiter); None });
        let check = thread!(limiter; limiter.check(&KEY).ok());
        let [_, allowed]: [Option<Allowed>; 2] = race(first, [change, check]);
        assert!(
            allowed.is_some_and(|allowed| allowed.remaining() + 1 == allowed.burst()),
            "decided under a mix of quotas: {allowed:?}"
        );
        assert_eq!(left(&limiter, KEY), 39, "a charge is lost");
    });
}

/// A word with tick 0 has tick 0 under every quota, so a conversion does not change it.
#[test]
fn a_quota_changes_twice_under_a_stalled_check() {
    long_model(|first| {
        let limiter = limiter(3, &VirtualClock::new());
        limiter.check(&KEY).unwrap();
        limiter.reset(&KEY);
        let change = thread!(limiter; change_twice(&limiter));
        let check = thread!(limiter; { limiter.check_n(&KEY, 3).unwrap(); });
        race(first, [change, check]);
        assert_eq!(left(&limiter, KEY), 37, "a charge is lost");
    });
}

#[test]
fn a_quota_changes_before_the_first_group_is_there() {
    long_model(|first| {
        let limiter = Arc::new(builder(3, &VirtualClock::new()).build());
        let change = thread!(limiter; change_twice(&limiter));
        let check = thread!(limiter; { limiter.check(&KEY).unwrap(); });
        race(first, [change, check]);
        assert_eq!(left(&limiter, KEY), 39, "a charge is lost");
    });
}

/// Once a caller has an answer under the new quota, no charge under the old one may follow.
#[test]
fn answers_under_the_new_quota_end_those_under_the_old() {
    // Exploring this many schedules with stale values would take hours.
    wide_model(3, |first| {
        let limiter = limiter(3, &VirtualClock::new());
        limiter.check(&KEY).unwrap();
        // Changes the size of a unit and the size of the burst in such units.
        let slower = Quota::new(1, 20 * NANO).and_then(|quota| quota.with_burst(30)).unwrap();
        let change = thread!(limiter; { limiter.set_quota(slower); None });
        let check = thread!(limiter; limiter.check(&KEY).ok());
        let peek = thread!(limiter; limiter.peek_n(&KEY, 0).ok());
        let answers: [Option<Allowed>; 3] = race(first, [change, check, peek]);
        let [_, checked, seen] = answers.map(|answer| answer.map(|a| (a.burst(), a.remaining())));
        assert!(
            (checked, seen) != (Some((3, 1)), Some((30, 29))),
            "charged under the old quota after an answer under the new"
        );
    });
}

#[test]
fn a_check_is_decided_by_the_numbers_of_one_quota() {
    long_model(|first| {
        let limiter = limiter(3, &VirtualClock::new());
        limiter.check(&KEY).unwrap();
        // Changes the size of a unit and the size of the burst in such units.
        let slower = Quota::new(1, 20 * NANO).and_then(|quota| quota.with_burst(30)).unwrap();
        let change = thread!(limiter; { limiter.set_quota(slower); None });
        let check = thread!(limiter; limiter.check(&KEY).ok());
        let [_, allowed]: [Option<Allowed>; 2] = race(first, [change, check]);
        assert!(
            allowed.is_some_and(|a| matches!((a.burst(), a.remaining()), (3, 1) | (30, 28))),
            "numbers of two quotas in one answer: {allowed:?}"
        );
    });
}

#[test]
fn two_keys_of_a_limiter_are_decided_under_one_quota() {
    model(2, |first| {
        let limiter = limiter(3, &VirtualClock::new());
        limiter.check_n(&KEY, 2).unwrap();
        limiter.check(&OTHER).unwrap();
        let change = thread!(limiter; { limiter.set_quota(quota(30)); None });
        let set = thread!(limiter; {
            // The change reaches the second key first.
            let set = all((limiter.key(&OTHER), limiter.key(&KEY)));
            set.admit(1).ok().map(|permit| permit.allowed())
        });
        let [_, allowed]: [Option<Allowed>; 2] = race(first, [change, set]);
        // The answer is about the second key. If it was decided under the new quota and the first
        // under the old: (3, 1).
        assert!(
            allowed.is_some_and(|a| matches!((a.burst(), a.remaining()), (3, 0) | (30, 27))),
            "decided under two quotas: {allowed:?}"
        );
    });
}

#[test]
fn two_keys_of_a_limiter_are_refused_under_one_quota() {
    wide_model(2, |first| {
        let limiter = limiter(3, &VirtualClock::new());
        limiter.check_n(&KEY, 3).unwrap();
        limiter.check(&OTHER).unwrap();
        let change = thread!(limiter; { limiter.set_quota(quota(2)); None });
        let set = thread!(limiter; {
            // The change reaches the second key first.
            let set = all((limiter.key(&OTHER), limiter.key(&KEY)));
            set.admit(2).err().map(|refused| (refused.index(), refused.denied().burst()))
        });
        let [_, refused]: [Option<(usize, u64)>; 2] = race(first, [change, set]);
        // The first key has two units left of three, and one of two.
        assert!(
            refused.is_some_and(|refused| matches!(refused, (1, 3) | (0, 2))),
            "refused under two quotas: {refused:?}"
        );
    });
}

#[test]
fn a_quota_changes_under_a_set() {
    model(2, |first| {
        let [a, b] = pair(3);
        let change = thread!(a; { a.set_quota(quota(30)); true });
        let set = thread!(a, b; admits(&[(&a, KEY), (&b, KEY)]));
        assert_eq!(race(first, [change, set]), [true; 2]);
        assert_eq!((left(&a, KEY), left(&b, KEY)), (28, 1), "a charge is lost");
    });
}

/// A key is charged beyond the range of ticks for the first time, while a check charges it in the
/// table.
#[test]
fn a_key_leaves_under_a_check() {
    model(2, |first| {
        const YEAR: u64 = 365 * 86_400 * 1_000_000_000;
        let time = VirtualClock::starting_at(Timestamp::from_nanos(YEAR));
        let limiter = limiter(3, &time);
        limiter.set_quota(
            Quota::new(1, Duration::from_nanos(20 * YEAR)).unwrap().with_burst(3).unwrap(),
        );
        limiter.check(&KEY).unwrap();
        let far = Timestamp::from_nanos(12 * YEAR);
        let leave = thread!(limiter; limiter.check_at(&KEY, 1, far).is_ok());
        let check = thread!(limiter; limiter.check(&KEY).is_ok());
        let answers: [bool; 2] = race(first, [leave, check]);
        assert!(answers[0], "denied the second unit of three");
        let charged = 1 + answers.into_iter().filter(|is_ok| *is_ok).count() as u64;
        let left = limiter.peek_at(&KEY, 0, far).unwrap().remaining();
        assert_eq!(left, 3 - charged, "a charge is lost");
    });
}

#[test]
fn a_quota_changes_while_the_pool_is_made() {
    long_model(|first| {
        let limiter = limiter(3, &VirtualClock::new());
        for key in [KEY, OTHER] {
            limiter.check(&key).unwrap();
        }
        let change = thread!(limiter; change_twice(&limiter));
        let check = thread!(limiter; { limiter.check(&NEXT).unwrap(); });
        race(first, [change, check]);
        assert_eq!(limiter.check(&NEXT).unwrap().remaining(), 38, "a charge is lost");
    });
}

/// A limiter that is about to grow from one group to two, with a key that will move and one that
/// will stay.
fn growing() -> (Limiter, [u64; 3]) {
    let limiter = Arc::new(builder(3, &VirtualClock::new()).max_keys(4).build());
    let [moving, staying, fresh] = [KEY | 1, OTHER, NEXT | 1];
    for key in [moving, staying] {
        limiter.check(&key).unwrap();
    }
    (limiter, [moving, staying, fresh])
}

/// The check of a third key splits the group during a check of the first.
#[test]
fn a_group_is_split_under_a_check() {
    model(2, |first| {
        let (limiter, keys @ [moving, _, fresh]) = growing();
        let grow = thread!(limiter; limiter.check(&fresh).is_ok());
        let check = thread!(limiter; limiter.check(&moving).is_ok());
        assert_eq!(race(first, [grow, check]), [true; 2]);
        assert_eq!(keys.map(|key| left(&limiter, key)), [1, 2, 2], "a charge is lost");
        assert_eq!((limiter.len(), limiter.overflows()), (3, 0), "two cells for one key");
    });
}

#[test]
fn a_group_is_split_under_a_peek() {
    model(2, |first| {
        let (limiter, [moving, _, fresh]) = growing();
        let grow = thread!(limiter; { limiter.check(&fresh).unwrap(); 2_u64 });
        let peek = thread!(limiter; left(&limiter, moving));
        assert_eq!(race(first, [grow, peek]), [2_u64; 2], "a key in debt was not seen");
    });
}

#[test]
fn a_group_is_split_under_a_set() {
    wide_model(2, |first| {
        let (limiter, keys @ [moving, staying, fresh]) = growing();
        let grow = thread!(limiter; limiter.check(&fresh).is_ok());
        let set = thread!(limiter; admits(&[(&limiter, moving), (&limiter, staying)]));
        assert_eq!(race(first, [grow, set]), [true; 2]);
        assert_eq!(keys.map(|key| left(&limiter, key)), [1, 1, 2], "a charge is lost");
    });
}

/// Both keys are idle. The table still grows for the third key, and forgets neither.
#[test]
fn a_table_grows_under_a_check_of_an_idle_key() {
    wide_model(2, |first| {
        let time = VirtualClock::starting_at(Timestamp::from_nanos(100));
        let limiter = Arc::new(builder(3, &time).max_keys(4).build());
        let keys @ [moving, staying, fresh] = [KEY | 1, OTHER, NEXT | 1];
        for key in [moving, staying] {
            limiter.check(&key).unwrap();
        }
        time.advance(20 * NANO);
        let grow = thread!(limiter; limiter.check(&fresh).is_ok());
        let check = thread!(limiter; limiter.check(&moving).is_ok());
        assert_eq!(race(first, [grow, check]), [true; 2]);
        assert_eq!(keys.map(|key| left(&limiter, key)), [2, 3, 2], "a charge is lost");
        // At a time before they were idle, a key never seen has its whole burst, unless a key was
        // forgotten.
        let earlier = limiter.peek_at(&(NEXT | 2), 3, Timestamp::from_nanos(100));
        assert!(earlier.is_ok(), "a key was forgotten");
    });
}

/// A unit charged at 0 has come back by 10. To cancel its reservation then must not give back more.
#[test]
fn a_check_moves_time_under_a_settle() {
    model(2, |first| {
        let time = VirtualClock::new();
        let limiter = limiter(1, &time);
        // A loom thread needs `'static` data, so the limiter that the reservation borrows is
        // leaked.
        let borrowed: &'static Limiter = Box::leak(Box::new(limiter.clone()));
        let reserved = borrowed.reserve(&KEY, 1).unwrap();
        let settle: Box<dyn FnOnce() -> bool> = Box::new(move || {
            reserved.cancel();
            true
        });
        let check = thread!(limiter, time; {
            time.advance(10 * NANO);
            limiter.check(&KEY).is_ok()
        });
        assert_eq!(race(first, [settle, check]), [true; 2], "what time paid back is denied");
        assert!(limiter.check(&KEY).is_err(), "given back by time and by settling");
    });
}

#[test]
fn two_settle_what_they_reserved() {
    model(2, |first| {
        let limiter = limiter(9, &VirtualClock::new());
        let settle = |cost| thread!(limiter; limiter.reserve(&KEY, cost).unwrap().settle(cost - 2));
        race(first, [settle(3), settle(4)]);
        assert_eq!(left(&limiter, KEY), 6, "settled more or less than was reserved");
    });
}

#[test]
fn two_newcomers_race_for_the_last_slot() {
    model(2, |first| {
        let time = VirtualClock::new();
        let limiter = Arc::new(builder(3, &time).overflow(Overflow::Deny).build());
        limiter.check(&KEY).unwrap();
        let check = |key| thread!(limiter; limiter.check(&key).map_err(|denied| denied.retry()));
        let [a, b]: [Result<Allowed, Retry>; 2] = race(first, [check(OTHER), check(NEXT)]);
        assert!(a.is_ok() != b.is_ok(), "not one of the two got the slot");
        assert_eq!(a.and(b).err(), Some(Retry::After(11 * NANO)), "the wait for a slot");
    });
}
